"""The training form of the model: a Llama with fused projections, and its export to the Hugging Face layout."""

import torch
import torch.nn.functional as F
from torch import nn

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16",
    "vocab_size": 1536, "hidden_size": 192, "intermediate_size": 384, "num_hidden_layers": 4,
    "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 32, "hidden_act": "silu",
    "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "rope_scaling": None,
    "tie_word_embeddings": True, "attention_bias": False, "mlp_bias": False, "attention_dropout": 0.0,
    "initializer_range": 0.02, "use_cache": True, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2,
}
HIDDEN, FFN, LAYERS = CONFIG["hidden_size"], CONFIG["intermediate_size"], CONFIG["num_hidden_layers"]
HEADS, KV, DIM = CONFIG["num_attention_heads"], CONFIG["num_key_value_heads"], CONFIG["head_dim"]
VOCAB, EPS = CONFIG["vocab_size"], CONFIG["rms_norm_eps"]


class Normalise(torch.autograd.Function):
    """x / sqrt(mean(x^2) + eps) over the last dim; its weight is folded into the matrix behind it."""

    @staticmethod
    def forward(ctx, x: torch.Tensor) -> torch.Tensor:
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        scale = (norm.square() / x.shape[-1] + EPS).rsqrt().to(x.dtype)
        out = x * scale
        ctx.save_for_backward(out, scale)
        return out

    @staticmethod
    def backward(ctx, grad: torch.Tensor) -> torch.Tensor:
        out, scale = ctx.saved_tensors
        along = (grad * out).mean(-1, keepdim=True)
        return torch.addcmul(grad, out, along, value=-1).mul_(scale)


def half_turn(weight: torch.Tensor) -> torch.Tensor:
    """Rows of (heads * dim, hidden) such that its product is rope's rotated half: [-second, first] of each head."""
    first, second = weight.view(-1, 2, DIM // 2, weight.shape[-1]).unbind(1)
    return torch.stack([-second, first], 1).reshape(weight.shape)


def block(x: torch.Tensor, w: list[torch.Tensor], cos: torch.Tensor, sin: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """One layer; x (batch, time, hidden), w from Model.layers(), mask (batch, 1, time, time) added to the scores."""
    b, t, _ = x.shape
    inward, out, gate_up, down = w
    qk, turned, v = F.linear(Normalise.apply(x), inward).split([(HEADS + KV) * DIM, (HEADS + KV) * DIM, KV * DIM], -1)
    qk = (qk * cos + turned * sin).view(b, t, HEADS + KV, DIM)  # cos and sin of the q part carry 1 / sqrt(dim)
    q, k = qk.split([HEADS, KV], 2)
    q = q.transpose(1, 2).reshape(b * KV, HEADS // KV * t, DIM)  # the query heads of one kv head, one after another
    k, v = (z.reshape(b, t, KV, DIM).transpose(1, 2).reshape(b * KV, t, DIM) for z in (k, v))
    scores = torch.bmm(q, k.transpose(1, 2)).view(b, HEADS, t, t) + mask
    mixed = torch.bmm(scores.softmax(-1).view(b * KV, -1, t), v).view(b, HEADS, t, DIM)
    x = x + F.linear(mixed.transpose(1, 2).reshape(b, t, HEADS * DIM), out)
    gate, up = F.linear(Normalise.apply(x), gate_up).chunk(2, -1)
    return x + F.linear(F.silu(gate) * up, down)


class Model(nn.Module):
    """Parameters of all layers stacked: (layers, rows, columns)."""

    def __init__(self) -> None:
        super().__init__()
        # Mimetic start: k equals the q of its group, so that like tokens find each other, and o is the transpose of v, so that
        # a head writes what it reads. Looking back and copying are there at step 0; training shapes them.
        q = torch.randn(LAYERS, KV, HEADS // KV, DIM, HIDDEN) * 0.05
        v = torch.randn(LAYERS, KV, 1, DIM, HIDDEN) * 0.05
        flat = [w.reshape(LAYERS, -1, HIDDEN) for w in (q, q[:, :, 0], v)]
        self.qkv = nn.Parameter(torch.cat(flat, 1))
        self.o = nn.Parameter(v.expand_as(q).reshape(LAYERS, HEADS * DIM, HIDDEN).transpose(1, 2).contiguous() * 0.3)
        self.gate_up = nn.Parameter(torch.randn(LAYERS, 2 * FFN, HIDDEN) * 0.05)
        self.down = nn.Parameter(torch.randn(LAYERS, HIDDEN, FFN) * 0.01)
        self.norm1, self.norm2 = nn.Parameter(torch.ones(LAYERS, HIDDEN)), nn.Parameter(torch.ones(LAYERS, HIDDEN))
        self.embed = nn.Parameter(torch.randn(VOCAB, HIDDEN) * 0.1)
        self.norm = nn.Parameter(torch.ones(HIDDEN))
        freq = CONFIG["rope_theta"] ** (-torch.arange(0, DIM, 2) / DIM)
        angle = torch.outer(torch.arange(CONFIG["max_position_embeddings"]).float(), freq)
        scale = torch.ones((HEADS + KV) * DIM)
        scale[:HEADS * DIM] = DIM**-0.5
        self.register_buffer("cos", angle.cos().repeat(1, 2 * (HEADS + KV)) * scale, persistent=False)
        self.register_buffer("sin", angle.sin().repeat(1, 2 * (HEADS + KV)) * scale, persistent=False)

    def layers(self, dtype: torch.dtype) -> list[tuple[torch.Tensor, ...]]:
        """Per layer the four matrices, norms folded in, rope's turned rows appended."""
        qkv = self.qkv * self.norm1[:, None]
        qk, v = qkv.split([(HEADS + KV) * DIM, KV * DIM], 1)
        inward = torch.cat([qk, half_turn(qk.reshape(-1, HIDDEN)).view(qk.shape), v], 1)
        stacks = inward, self.o, self.gate_up * self.norm2[:, None], self.down
        return list(zip(*(w.to(dtype).unbind(0) for w in stacks)))

    def forward(self, ids: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, of: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(weighted mean cross-entropy, cross-entropy of each token) of (batch, time) ids, computed in bf16; a token sees
        those of its own document, whose number `of` holds."""
        t, c = ids.shape[1], torch.bfloat16
        x = F.embedding(ids, self.embed).to(c)
        cos, sin = self.cos[:t].to(c), self.sin[:t].to(c)
        hidden = (of[:, :, None] != of[:, None]) | torch.ones(t, t, dtype=torch.bool).triu(1)
        mask = torch.zeros(hidden.shape, dtype=c).masked_fill_(hidden, float("-inf"))[:, None]
        for w in self.layers(c):
            x = block(x, w, cos, sin, mask)
        logits = F.linear(Normalise.apply(x), (self.embed * self.norm).to(c))
        nll = F.cross_entropy(logits.float().view(-1, VOCAB), targets.reshape(-1), reduction="none")
        return (nll * weights.reshape(-1)).sum() / weights.sum(), nll.detach()

    def export(self) -> dict[str, torch.Tensor]:
        """bf16 tensors under Hugging Face's names."""
        out = {"model.embed_tokens.weight": self.embed, "model.norm.weight": self.norm}
        for i in range(LAYERS):
            q, k, v = self.qkv[i].split([HEADS * DIM, KV * DIM, KV * DIM])
            gate, up = self.gate_up[i].chunk(2)
            at = f"model.layers.{i}."
            out |= {at + "input_layernorm.weight": self.norm1[i], at + "post_attention_layernorm.weight": self.norm2[i],
                    at + "self_attn.q_proj.weight": q, at + "self_attn.k_proj.weight": k, at + "self_attn.v_proj.weight": v,
                    at + "self_attn.o_proj.weight": self.o[i], at + "mlp.gate_proj.weight": gate, at + "mlp.up_proj.weight": up,
                    at + "mlp.down_proj.weight": self.down[i]}
        return {k: v.detach().to(torch.bfloat16).contiguous().clone() for k, v in out.items()}
