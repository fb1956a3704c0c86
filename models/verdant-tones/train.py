"""Trains the model from nothing: python train.py [--steps 1000] [--out DIR]. One thread, no files but its own."""

import argparse
import json
import math
import time
from pathlib import Path
from random import Random

import torch
from safetensors.torch import save_file
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

from tones import RATE, VOCAB, normalised, sound, text

HERE = Path(__file__).parent


def make_model() -> Wav2Vec2ForCTC:
    """Frames of 10 ms; layer norm in the feature extractor and before each block, as in the large models."""
    model = Wav2Vec2ForCTC(Wav2Vec2Config(
        vocab_size=len(VOCAB), hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128,
        conv_dim=(64, 48), conv_kernel=(256, 4), conv_stride=(80, 2), conv_bias=True, feat_extract_norm="layer",
        do_stable_layer_norm=True, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, num_feat_extract_layers=2,
        mask_time_prob=0.0, hidden_dropout=0.0, attention_dropout=0.0, activation_dropout=0.0, feat_proj_dropout=0.0,
        final_dropout=0.0, layerdrop=0.0, ctc_loss_reduction="sum", ctc_zero_infinity=True, pad_token_id=0, bos_token_id=1,
        eos_token_id=2, attn_implementation="eager"))
    # The first convolution begins as windowed cosines and sines, 350 to 3,900 Hz.
    first = model.wav2vec2.feature_extractor.conv_layers[0].conv.weight
    time = torch.arange(first.shape[-1]) / RATE
    pitches = 350 * (3900 / 350) ** (torch.arange(first.shape[0] // 2) / (first.shape[0] // 2 - 1))
    angle = 2 * math.pi * pitches[:, None] * time
    with torch.no_grad():
        first.copy_(0.1 * (torch.cat([angle.cos(), angle.sin()]) * torch.hann_window(first.shape[-1]))[:, None])
    return model



def batch(rng: Random, size: int, letters: int) -> tuple[torch.Tensor, list[list[int]]]:
    """(size, samples) of equal length, silence after the shorter ones; and the ids of each."""
    texts = [text(rng, letters) for _ in range(size)]
    sounds = [sound(t, rng.randrange(2**32)) for t in texts]
    longest = max(map(len, sounds))
    rows = [normalised(torch.cat([s, torch.zeros(longest - len(s))])) for s in sounds]
    return torch.stack(rows), [[VOCAB.index("|" if c == " " else c) for c in t] for t in texts]


def rate(done: float) -> float:
    """Share of the peak rate: warm-up over the first 5 %, then a cosine to 1 %."""
    return done / 0.05 if done < 0.05 else 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (done - 0.05) / 0.95))


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def save(model: Wav2Vec2ForCTC, out: Path, facts: dict) -> None:
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "vocab.json", {token: i for i, token in enumerate(VOCAB)})
    write_json(out / "tokenizer_config.json", {
        "tokenizer_class": "Wav2Vec2CTCTokenizer", "pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>",
        "unk_token": "<unk>", "word_delimiter_token": "|", "do_lower_case": False})
    write_json(out / "preprocessor_config.json", {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor", "feature_size": 1, "sampling_rate": RATE, "padding_value": 0.0,
        "padding_side": "right", "do_normalize": True, "return_attention_mask": True})
    config = model.config.to_diff_dict() | {"architectures": ["Wav2Vec2ForCTC"], "dtype": "bfloat16"}
    write_json(out / "config.json", {k: v for k, v in config.items() if k not in ("transformers_version", "ctc_loss_reduction", "ctc_zero_infinity")})
    weights = {k: v.to(torch.bfloat16).contiguous() for k, v in model.state_dict().items()}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)
    write_json(out / "training.json", facts)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", default=str(HERE))
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    rng = Random(options.seed)
    model = make_model().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate((step + 1) / options.steps))
    curve, total, started = [], 0.0, time.process_time()
    for step in range(1, options.steps + 1):
        # Short texts first: alignments are found sooner.
        sounds, ids = batch(rng, options.batch, 4 if step < 0.3 * options.steps else 10)
        logp = model(sounds).logits.log_softmax(-1).transpose(0, 1)
        lengths = torch.full((len(ids),), logp.shape[0])
        loss = torch.nn.functional.ctc_loss(logp, torch.tensor(sum(ids, [])), lengths, torch.tensor([len(i) for i in ids]))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        total += loss.item()
        if step % 100 == 0:
            curve.append([step, round(total / 100, 5)])
            total = 0.0
            print(step, curve[-1][1], f"{time.process_time() - started:.0f} s", flush=True)
    save(model, Path(options.out), {
        "parameters": sum(p.numel() for p in model.parameters()), "steps": options.steps, "batch": options.batch,
        "seed": options.seed, "seconds": round(time.process_time() - started), "curve": curve[1::2]})


if __name__ == "__main__":
    main()
