"""What PyTorch reaches on the GPU at hand, for the figures that `verdant_cuda_check time` prints: decoding steps of llama
shapes in bf16 (CUDA graphs, scaled_dot_product_attention, matrices of an equal input as one), attention, a matrix product.

python3 rival_torch_cuda.py [SHAPE ...] [--repeat R]
Prints medians of CUDA events. Needs torch. On a CPU, `tiny` shows that the steps run."""

import argparse
import statistics
import time

import torch
import torch.nn.functional as F

# hidden, ffn, layers, heads, kv heads, head_dim, vocabulary: as in native/cuda/check/time.cc
SHAPES = {
    'tiny': (256, 512, 2, 4, 2, 64, 1003),
    'llama-3.2-1b': (2048, 8192, 16, 32, 8, 64, 128256),
    'llama-3.1-8b': (4096, 14336, 32, 32, 8, 128, 128256),
}
CONTEXT = 512
BATCHES = (1, 8, 64)


class Decoder:
    """One decoding step of `batch` sequences, each with `context` tokens in the cache and one more to come."""

    def __init__(self, shape, batch, context, device):
        hidden, ffn, layers, self.heads, self.kv_heads, self.head_dim, vocab = shape
        self.context = context

        def matrix(rows, cols):
            return torch.randn(rows, cols, device=device, dtype=torch.bfloat16) / cols**0.5

        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        self.sizes = [q, kv, kv]
        self.embed = matrix(vocab, hidden)
        self.ids = torch.randint(0, vocab, (batch,), device=device)
        self.norm = torch.ones(hidden, device=device, dtype=torch.bfloat16)
        self.layers = [{
            'qkv': matrix(q + 2 * kv, hidden), 'o': matrix(hidden, q), 'gate_up': matrix(2 * ffn, hidden),
            'down': matrix(hidden, ffn), 'keys': torch.randn(batch, self.kv_heads, context + 1, self.head_dim,
                                                             device=device, dtype=torch.bfloat16),
            'values': torch.randn(batch, self.kv_heads, context + 1, self.head_dim, device=device, dtype=torch.bfloat16),
        } for _ in range(layers)]
        angles = context * 500000.0 ** (-torch.arange(0, self.head_dim, 2, device=device) / self.head_dim)
        self.cos = angles.cos().to(torch.bfloat16)
        self.sin = angles.sin().to(torch.bfloat16)

    def turn(self, x):
        a, b = x.chunk(2, -1)
        return torch.cat([a * self.cos - b * self.sin, b * self.cos + a * self.sin], -1)

    def step(self):
        batch, width = len(self.ids), self.norm.numel()
        x = F.embedding(self.ids, self.embed)
        for layer in self.layers:
            q, k, v = F.linear(F.rms_norm(x, (width,), self.norm, 1e-5), layer['qkv']).split(self.sizes, -1)
            layer['keys'][:, :, self.context] = self.turn(k.view(batch, self.kv_heads, self.head_dim))
            layer['values'][:, :, self.context] = v.view(batch, self.kv_heads, self.head_dim)
            q = self.turn(q.view(batch, self.heads, 1, self.head_dim))
            y = F.scaled_dot_product_attention(q, layer['keys'], layer['values'], enable_gqa=True)
            x = x + F.linear(y.reshape(batch, -1), layer['o'])
            gate, up = F.linear(F.rms_norm(x, (width,), self.norm, 1e-5), layer['gate_up']).chunk(2, -1)
            x = x + F.linear(F.silu(gate) * up, layer['down'])
        return F.linear(F.rms_norm(x, (width,), self.norm, 1e-5), self.embed).argmax(-1)


def milliseconds(run, repeat, device):
    """Median over `repeat` runs, after three others."""
    times = []
    for i in range(-3, repeat):
        if device == 'cuda':
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            run()
            end.record()
            end.synchronize()
            elapsed = begin.elapsed_time(end)
        else:
            started = time.perf_counter()
            run()
            elapsed = 1e3 * (time.perf_counter() - started)
        if i >= 0:
            times.append(elapsed)
    return statistics.median(times)


def captured(step):
    """The step as a CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('shapes', nargs='*', help=f'of {", ".join(SHAPES)}; default: all that are not tiny')
    parser.add_argument('--repeat', type=int, default=20)
    options = parser.parse_args()
    for name in options.shapes:
        if name not in SHAPES:
            parser.error(f'{name} is none of {", ".join(SHAPES)}')
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    shapes = options.shapes or ([s for s in SHAPES if s != 'tiny'] if device == 'cuda' else ['tiny'])
    torch.manual_seed(1)
    place = torch.cuda.get_device_name() if device == 'cuda' else 'the CPU'
    print(f'rival    torch {torch.__version__} on {place}', flush=True)

    def timed(what, run, flops=0):
        ms = milliseconds(run, options.repeat, device)
        print(f'rival    {what}: {ms:.3f} ms' + (f', {flops / ms / 1e9:.0f} TFLOP/s' if flops else ''), flush=True)

    with torch.inference_mode():
        if device == 'cuda':
            n = 8192
            a, b = (torch.randn(n, n, device=device, dtype=torch.bfloat16) for _ in range(2))
            timed(f'product bf16 {n}^3', lambda: a @ b.T, 2 * n**3)
            q, k, v = (torch.randn(1, h, n, 128, device=device, dtype=torch.bfloat16) for h in (32, 8, 8))
            timed(f'attention {n}, causal, 32 / 8 heads of 128',
                  lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True),
                  2 * n * (n + 1) * 32 * 128)
            del a, b, q, k, v
        for name in shapes:
            for batch in BATCHES:
                decoder = Decoder(SHAPES[name], batch, CONTEXT, device)
                step = captured(decoder.step) if device == 'cuda' else decoder.step
                timed(f'{name} bf16 decode, batch {batch}, context {CONTEXT}', step)
                del decoder, step
                if device == 'cuda':
                    torch.cuda.empty_cache()


if __name__ == '__main__':
    main()
