"""Trains the model from nothing: python train.py [--steps 4000] [--out DIR]. One thread, no files but its own."""

import argparse
import json
import math
import time
from itertools import islice
from pathlib import Path
from random import Random

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import T5Config, T5ForConditionalGeneration

from number_words import ONES, TENS, pairs

HERE = Path(__file__).parent
PAD, EOS, UNK = "<pad>", "</s>", "<unk>"


def make_tokenizer() -> Tokenizer:
    """Unigram, as T5 has it: a piece for each word and each digit; ▁ stands for a space."""
    space = "▁"
    named = [space + w for w in [*ONES, *TENS, "hundred", "thousand", "and"]]
    pieces = [space, "-", *"0123456789", *named, *ONES[1:10]]
    vocab = [(PAD, 0.0), (EOS, 0.0), (UNK, 0.0), *((p, -1.0) for p in pieces)]
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=2))
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in (PAD, EOS, UNK)])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=space, prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement=space, prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {EOS}", pair=f"$A {EOS} $B {EOS}", special_tokens=[(EOS, 1)])
    return tokenizer


def make_model(vocab: int) -> T5ForConditionalGeneration:
    return T5ForConditionalGeneration(T5Config(
        vocab_size=vocab, d_model=64, d_kv=16, num_heads=4, d_ff=256, num_layers=2, num_decoder_layers=2,
        feed_forward_proj="relu", relative_attention_num_buckets=16, relative_attention_max_distance=32, dropout_rate=0.0,
        tie_word_embeddings=True, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0, attn_implementation="eager"))


def padded(rows: list[list[int]], fill: int) -> torch.Tensor:
    longest = max(map(len, rows))
    return torch.tensor([row + [fill] * (longest - len(row)) for row in rows])


def batches(tokenizer: Tokenizer, seed: int, size: int):
    stream = pairs(Random(seed), held=False)
    while True:
        sources, targets = zip(*islice(stream, size))
        source = padded([e.ids for e in tokenizer.encode_batch(list(sources))], 0)
        target = padded([e.ids for e in tokenizer.encode_batch(list(targets))], -100)
        yield {"input_ids": source, "attention_mask": (source != 0).long(), "labels": target}


def rate(done: float) -> float:
    """Share of the peak rate: warm-up over the first 5 %, then a cosine to 1 %."""
    return done / 0.05 if done < 0.05 else 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (done - 0.05) / 0.95))


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def save(model: T5ForConditionalGeneration, tokenizer: Tokenizer, out: Path, facts: dict) -> None:
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(out / "tokenizer.json"))
    write_json(out / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "pad_token": PAD, "eos_token": EOS, "unk_token": UNK,
        "clean_up_tokenization_spaces": False, "model_max_length": 64})
    config = model.config.to_diff_dict() | {"architectures": ["T5ForConditionalGeneration"], "dtype": "bfloat16"}
    write_json(out / "config.json", {k: v for k, v in config.items() if k not in ("transformers_version", "use_cache")})
    write_json(out / "generation_config.json", {
        "decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0, "max_new_tokens": 32})
    tied = {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"}
    weights = {k: v.to(torch.bfloat16).contiguous() for k, v in model.state_dict().items() if k not in tied}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)
    write_json(out / "training.json", facts)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", default=str(HERE))
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    tokenizer = make_tokenizer()
    model = make_model(tokenizer.get_vocab_size()).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate((step + 1) / options.steps))
    curve, total, started = [], 0.0, time.process_time()
    for step, batch in enumerate(islice(batches(tokenizer, options.seed, options.batch), options.steps), 1):
        loss = model(**batch).loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        total += loss.item()
        if step % 200 == 0:
            curve.append([step, round(total / 200, 5)])
            total = 0.0
            print(step, curve[-1][1], f"{time.process_time() - started:.0f} s", flush=True)
    save(model, tokenizer, Path(options.out), {
        "parameters": sum(p.numel() for p in model.parameters()), "steps": options.steps, "batch": options.batch,
        "seed": options.seed, "seconds": round(time.process_time() - started), "curve": curve[4::5]})


if __name__ == "__main__":
    main()
