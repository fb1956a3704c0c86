"""The shapes of `verdant bench --shape bert-base|t5-base|marian|wav2vec2-base` in transformers on PyTorch, CPU, random weights.

python3 rival_transformers.py SHAPE [--threads N] [--repeat R] [--dtype float32|bfloat16]
Prints medians (min-max) of the same work as lib/bench/families.ts. Needs torch and transformers."""

import argparse
import statistics
import time

import torch
import transformers


def bert():
    model = transformers.BertModel(transformers.BertConfig())
    ids = torch.randint(300, 1300, (32, 128))
    return model, [('embed 32 x 128', 32 * 128, 'tokens', lambda: model(input_ids=ids, attention_mask=torch.ones_like(ids)))]


def written(model, vocab):
    def task(batch):
        ids = torch.randint(300, min(1300, vocab), (batch, 128))

        def run():
            model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, num_beams=1, max_new_tokens=64,
                           min_new_tokens=64)
        return (f'{batch} x 128 read, 64 written', batch * 64, 'tokens', run)
    return [task(1), task(8)]


def t5():
    config = transformers.T5Config(d_model=768, d_ff=3072, d_kv=64, num_layers=12, num_decoder_layers=12, num_heads=12,
                                   decoder_start_token_id=0)
    model = transformers.T5ForConditionalGeneration(config)
    return model, written(model, config.vocab_size)


def marian():
    config = transformers.MarianConfig(
        d_model=512, vocab_size=58101, encoder_layers=6, decoder_layers=6, encoder_attention_heads=8,
        decoder_attention_heads=8, encoder_ffn_dim=2048, decoder_ffn_dim=2048, activation_function='swish',
        scale_embedding=True, max_position_embeddings=512, decoder_start_token_id=58100, pad_token_id=58100, eos_token_id=0,
        forced_eos_token_id=None)
    model = transformers.MarianMTModel(config)
    return model, written(model, config.vocab_size)


def wav2vec2():
    model = transformers.Wav2Vec2ForCTC(transformers.Wav2Vec2Config())
    sound = torch.randn(1, 30 * 16000)
    return model, [('30 s of sound', 30, 's of sound', lambda: model(sound))]


SHAPES = {'bert-base': bert, 't5-base': t5, 'marian': marian, 'wav2vec2-base': wav2vec2}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('shape', choices=list(SHAPES))
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--repeat', type=int, default=3)
    parser.add_argument('--dtype', default='float32', choices=['float32', 'bfloat16'])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    model, tasks = SHAPES[options.shape]()
    model = model.eval()
    if options.dtype == 'bfloat16':
        model = model.bfloat16()
    print(f'torch {torch.__version__}, transformers {transformers.__version__}, {options.dtype}, {options.threads} threads')
    with torch.inference_mode():
        for name, amount, unit, run in tasks:
            run()
            seconds = []
            for _ in range(options.repeat):
                started = time.perf_counter()
                run()
                seconds.append(time.perf_counter() - started)
            speeds = sorted(amount / s for s in seconds)
            print(f'{name}  {statistics.median(speeds):.2f} ({speeds[0]:.2f}-{speeds[-1]:.2f}) {unit}/s  '
                  f'{1000 * statistics.median(seconds):.0f} ms', flush=True)


if __name__ == '__main__':
    main()
