"""Measures the saved model (bf16 weights, upcast to f32): python evaluate.py. Prints what the card states.

Writes heldout.jsonl (sentences that training never saw), heldout.json (how much is right) and golden.json (ids and cosines).
"""

import json
from itertools import islice
from pathlib import Path
from random import Random

import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from corpus import WEIGHTS, held

HERE = Path(__file__).parent
SENTENCES, WORDS, GOLDEN = 200, 80, 24
# The word stands at the same place in all of them, so that layer 0 gives the same vector.
MOLES = {
    "animal": "the american shrew mole eats worms .",
    "unit": "there was one mole of carbon dioxide in the flask .",
    "mark": "biopsy of the mole on the arm .",
    "spy": "there was a mole in the agency .",
}


def unique(stream, count: int) -> list:
    return list({s.text: s for s in islice(stream, 20 * count)}.values())[:count]


def questions() -> list[dict]:
    """Sentences whose sense is masked, in words and frames that training did not join; and what a mole of each substance weighs."""
    out = []
    for unseen in (False, True):
        for s in unique(held(Random(f"senses-{unseen}"), unseen, explained=True), SENTENCES):
            out.append({"kind": "unseen" if unseen else "new", "text": s.text.removesuffix(f"{s.sense} .") + "[MASK] .", "answer": s.sense})
    for stuff, grams in WEIGHTS.items():
        *before, last = grams.split()
        for start in (f"one mole of {stuff} weighs", f"a mole of {stuff} has a mass of"):
            out.append({"kind": "grams", "text": " ".join([start, *before, "[MASK] grams ."]), "answer": last})
    return out


@torch.no_grad()
def answer(model, tokenizer, text: str) -> tuple[int, float]:
    """The id for [MASK], and the gap between its logit and the second."""
    ids = tokenizer(text, return_tensors="pt").input_ids
    best = model(input_ids=ids).logits[0, (ids[0] == 4).nonzero()[0, 0]].topk(2)
    return best.indices[0].item(), (best.values[0] - best.values[1]).item()


@torch.no_grad()
def hidden(model, tokenizer, text: str, word: str) -> torch.Tensor:
    """(layers + 1, hidden): the vectors of a word of the text."""
    ids = tokenizer(text, return_tensors="pt").input_ids
    at = (ids[0] == tokenizer.convert_tokens_to_ids(word)).nonzero()[0, 0]
    return torch.stack(model(input_ids=ids, output_hidden_states=True).hidden_states)[:, 0, at]


def neighbours(vectors: torch.Tensor, senses: list[str]) -> float:
    """Share of vectors (n, hidden) whose nearest neighbour by cosine has the same sense."""
    unit = torch.nn.functional.normalize(vectors, dim=-1)
    near = (unit @ unit.T).fill_diagonal_(-2).argmax(-1)
    return sum(senses[i] == senses[j] for i, j in enumerate(near.tolist())) / len(senses)


def main() -> None:
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(HERE)
    model = AutoModelForMaskedLM.from_pretrained(HERE, dtype=torch.float32, attn_implementation="eager").eval()
    asked = questions()
    answers = [answer(model, tokenizer, q["text"]) for q in asked]
    right = [tokenizer.decode([i]).strip() == q["answer"] for (i, _), q in zip(answers, asked)]
    facts = {}
    for kind in ("new", "unseen", "grams"):
        of = [r for r, q in zip(right, asked) if q["kind"] == kind]
        facts[kind] = {"questions": len(of), "right": sum(of) / len(of)}
    moles = [s for s in unique(held(Random("vectors"), True, explained=False), 3 * WORDS) if s.noun == "mole"][:WORDS]
    vectors = torch.stack([hidden(model, tokenizer, s.text, "mole") for s in moles], 1)
    facts["neighbours"] = [round(neighbours(layer, [s.sense for s in moles]), 4) for layer in vectors]
    asked += [{"kind": "vector", "text": s.text, "answer": s.sense} for s in moles]
    (HERE / "heldout.jsonl").write_text("".join(json.dumps(q) + "\n" for q in asked))
    (HERE / "heldout.json").write_text(json.dumps(facts, indent=2) + "\n")
    golden = {"masks": [], "moles": MOLES}
    for q, (i, gap) in list(zip(asked, answers))[::len(answers) // GOLDEN][:GOLDEN]:
        golden["masks"].append({"text": q["text"], "ids": tokenizer(q["text"]).input_ids, "best": i, "word": tokenizer.decode([i]), "margin": round(gap, 3)})
    four = torch.nn.functional.normalize(torch.stack([hidden(model, tokenizer, t, "mole") for t in MOLES.values()], 1), dim=-1)
    golden["cosines"] = [[round((layer[a] @ layer[b]).item(), 6) for a in range(4) for b in range(a + 1, 4)] for layer in four]
    (HERE / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")
    print(json.dumps(facts), "smallest margin", min(g["margin"] for g in golden["masks"]))
    print("cosines animal/unit/mark/spy:", *golden["cosines"], sep="\n  ")
    for q, (i, _), r in zip(asked, answers, right):
        if not r:
            print("wrong:", q["text"], "->", tokenizer.decode([i]), "not", q["answer"])


if __name__ == "__main__":
    main()
