"""Trains the model from nothing: python train.py [--steps 3000] [--out DIR]. One thread, no files but its own."""

import argparse
import json
import math
import time
from itertools import islice
from pathlib import Path
from random import Random

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForMaskedLM

from corpus import training, vocabulary

HERE = Path(__file__).parent
PAD, UNK, CLS, SEP, MASK = SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def make_tokenizer() -> Tokenizer:
    """WordPiece as BERT has it, lower case; every word of the corpus is one piece."""
    vocab = {w: i for i, w in enumerate([*SPECIALS, *vocabulary()])}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token=UNK))
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIALS])
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{CLS} $A {SEP}", pair=f"{CLS} $A {SEP} $B:1 {SEP}:1", special_tokens=[(CLS, 2), (SEP, 3)])
    return tokenizer


def make_model(vocab: int) -> BertForMaskedLM:
    return BertForMaskedLM(BertConfig(
        vocab_size=vocab, hidden_size=64, num_hidden_layers=3, num_attention_heads=4, intermediate_size=192,
        max_position_embeddings=64, type_vocab_size=2, pad_token_id=0, attn_implementation="eager"))


def batches(tokenizer: Tokenizer, seed: int, size: int):
    """Masks of BERT (15 %: 80 % [MASK], 10 % another word, 10 % as it is); of an explained sentence also its last word, half the time."""
    rng, stream, vocab = Random(seed), training(Random(seed)), tokenizer.get_vocab_size()
    while True:
        sentences = list(islice(stream, size))
        rows = [e.ids for e in tokenizer.encode_batch([s.text for s in sentences])]
        longest = max(map(len, rows))
        ids = torch.zeros(size, longest, dtype=torch.long)
        labels = torch.full((size, longest), -100)
        for r, (row, s) in enumerate(zip(rows, sentences)):
            ids[r, :len(row)] = torch.tensor(row)
            chosen = {i for i in range(1, len(row) - 1) if rng.random() < 0.15}
            last = len(row) - 3  # before the full stop and [SEP]
            if s.explained and rng.random() < 0.5:
                chosen.add(last)
            for i in chosen or {rng.randrange(1, len(row) - 1)}:
                labels[r, i] = row[i]
                kind = rng.random()
                if kind < 0.8:
                    ids[r, i] = 4
                elif kind < 0.9:
                    ids[r, i] = rng.randrange(len(SPECIALS), vocab)
        yield {"input_ids": ids, "attention_mask": (ids != 0).long(), "labels": labels}


def rate(done: float) -> float:
    """Share of the peak rate: warm-up over the first 5 %, then a cosine to 1 %."""
    return done / 0.05 if done < 0.05 else 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (done - 0.05) / 0.95))


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def save(model: BertForMaskedLM, tokenizer: Tokenizer, out: Path, facts: dict) -> None:
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(out / "tokenizer.json"))
    named = {"pad_token": PAD, "unk_token": UNK, "cls_token": CLS, "sep_token": SEP, "mask_token": MASK}
    write_json(out / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", **named, "clean_up_tokenization_spaces": False, "model_max_length": 64})
    config = model.config.to_diff_dict() | {"architectures": ["BertForMaskedLM"], "dtype": "bfloat16"}
    write_json(out / "config.json", {k: v for k, v in config.items() if k not in ("transformers_version", "use_cache")})
    tied = {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias", "bert.embeddings.position_ids"}
    weights = {k: v.to(torch.bfloat16).contiguous() for k, v in model.state_dict().items() if k not in tied}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)
    write_json(out / "training.json", facts)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--rate", type=float, default=2e-3)
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
        "seed": options.seed, "seconds": round(time.process_time() - started), "curve": curve[2::3]})


if __name__ == "__main__":
    main()
