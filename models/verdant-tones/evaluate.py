"""Measures the saved model (bf16 weights, upcast to f32): python evaluate.py. Prints what the card states.

Writes heldout.jsonl (texts and seeds of sounds that training never heard), heldout.json (how many are right) and golden.json (ids).
"""

import json
from pathlib import Path
from random import Random

import torch
from transformers import AutoModelForCTC

from tones import VOCAB, normalised, sound, text

HERE = Path(__file__).parent
SOUNDS, GOLDEN = 200, 24
FIRST = ["MOLE", "HELLO WORLD", "A MOLE DIGS"]


def collapse(frames: list[int]) -> list[int]:
    """Greedy CTC: repeats become one, then blanks go."""
    return [v for i, v in enumerate(frames) if v != 0 and (i == 0 or frames[i - 1] != v)]


@torch.no_grad()
def hear(model, samples: torch.Tensor) -> tuple[list[int], float]:
    """The best id of each frame, and the smallest gap between the best and the second logit."""
    logits = model(normalised(samples)[None]).logits[0]
    best = logits.topk(2).values
    return logits.argmax(-1).tolist(), (best[:, 0] - best[:, 1]).min().item()


def spelled(ids: list[int]) -> str:
    return "".join(" " if VOCAB[i] == "|" else VOCAB[i] for i in ids)


def main() -> None:
    torch.set_num_threads(1)
    model = AutoModelForCTC.from_pretrained(HERE, dtype=torch.float32, attn_implementation="eager").eval()
    rng = Random("tones-2026")
    lines = [{"text": t, "seed": rng.randrange(2**32)} for t in [*FIRST, *(text(rng, 12) for _ in range(SOUNDS - len(FIRST)))]]
    heard = [hear(model, sound(**line)) for line in lines]
    right = [spelled(collapse(frames)) == line["text"] for (frames, _), line in zip(heard, lines)]
    letters = sum(len(line["text"]) for line in lines)
    held = {"sounds": len(lines), "letters": letters, "right": sum(right) / len(right)}
    (HERE / "heldout.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (HERE / "heldout.json").write_text(json.dumps(held, indent=2) + "\n")
    golden = [{**line, "frames": frames, "margin": round(margin, 4)} for line, (frames, margin) in zip(lines[:GOLDEN], heard)]
    (HERE / "golden.json").write_text("[\n" + ",\n".join(json.dumps(g) for g in golden) + "\n]\n")
    print(json.dumps(held), "smallest margin", min(g["margin"] for g in golden))
    for line, (frames, _), r in zip(lines, heard, right):
        if not r:
            print("wrong:", line["text"], "->", spelled(collapse(frames)))


if __name__ == "__main__":
    main()
