"""Measures the saved model (bf16 weights, upcast to f32): python evaluate.py. Prints what the card states.

Writes heldout.jsonl (pairs that training never saw), heldout.json (how many are right) and golden.json (greedy ids of some).
"""

import json
from itertools import islice
from pathlib import Path
from random import Random

import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from number_words import digits, pairs

HERE = Path(__file__).parent
PAIRS, GOLDEN = 600, 40


@torch.no_grad()
def greedy(model, tokenizer, sources: list[str]) -> list[list[int]]:
    """Greedy ids up to and without </s>; each batch padded and masked."""
    out = []
    for at in range(0, len(sources), 50):
        batch = tokenizer(sources[at:at + 50], return_tensors="pt", padding=True)
        made = model.generate(input_ids=batch.input_ids, attention_mask=batch.attention_mask, do_sample=False, num_beams=1)
        for row in made[:, 1:].tolist():
            out.append(row[:row.index(1)] if 1 in row else row)
    return out


@torch.no_grad()
def margin(model, tokenizer, source: str, ids: list[int]) -> float:
    """The smallest gap between the best and the second logit on the way to `ids` and </s>."""
    encoded = tokenizer(source, return_tensors="pt")
    logits = model(input_ids=encoded.input_ids, attention_mask=encoded.attention_mask,
                   decoder_input_ids=torch.tensor([[0, *ids]])).logits[0]
    best = logits.topk(2).values
    return (best[:, 0] - best[:, 1]).min().item()


def main() -> None:
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(HERE)
    model = AutoModelForSeq2SeqLM.from_pretrained(HERE, dtype=torch.float32, attn_implementation="eager").eval()
    unique = dict.fromkeys(islice(pairs(Random(2026), held=True), 3 * PAIRS))
    lines = [{"source": s, "target": t} for s, t in list(unique)[:PAIRS]]
    (HERE / "heldout.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    made = greedy(model, tokenizer, [line["source"] for line in lines])
    right = [tokenizer.decode(ids) == line["target"] for ids, line in zip(made, lines)]
    to_words = [r for r, line in zip(right, lines) if line["source"][0].isdigit()]
    to_digits = [r for r, line in zip(right, lines) if not line["source"][0].isdigit()]
    held = {"pairs": len(lines), "right": sum(right) / len(right), "to_words": sum(to_words) / len(to_words),
            "to_digits": sum(to_digits) / len(to_digits)}
    (HERE / "heldout.json").write_text(json.dumps(held, indent=2) + "\n")
    golden = []
    for source in ["12 407", "twelve thousand four hundred and seven", digits(999999), "zero", *[line["source"] for line in lines[:GOLDEN - 4]]]:
        [ids] = greedy(model, tokenizer, [source])
        golden.append({"source": source, "source_ids": tokenizer(source).input_ids, "ids": ids, "text": tokenizer.decode(ids),
                       "margin": round(margin(model, tokenizer, source, ids), 3)})
    (HERE / "golden.json").write_text("[\n" + ",\n".join(json.dumps(g) for g in golden) + "\n]\n")
    print(json.dumps(held), "smallest margin", min(g["margin"] for g in golden))
    for line, ids in zip(lines, made):
        if tokenizer.decode(ids) != line["target"]:
            print("wrong:", line["source"], "->", tokenizer.decode(ids))
    for g in golden[:4]:
        print(g["source"], "->", g["text"])


if __name__ == "__main__":
    main()
