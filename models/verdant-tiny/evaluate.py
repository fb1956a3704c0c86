"""Measures the saved model (bf16 weights, upcast to f32): python evaluate.py [--make] [--skip-seen]. Prints what the card states.

Writes heldout.json and golden.json; --make first writes heldout.jsonl and mysteries.jsonl anew.
"""

import argparse
import json
import math
import re
from itertools import islice
from pathlib import Path
from random import Random

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from corpus import BOS, SPECIALS, all_frames, documents
from games import MARK
from mysteries import mystery
from words import GENDER

HERE = Path(__file__).parent
WORD = re.compile(r"[A-Za-z']+|[0-9]+|[.,!?\";:]")
PROMPTS = {"bos": None, "once": "Once upon a time", "chat": [{"role": "user", "content": "What digs tunnels?"}]}


def make() -> None:
    """The committed held-out documents and mysteries, from held-out frames only."""
    shared = all_frames("train") & all_frames("held")
    assert not shared, f"frames in both splits: {shared}"
    with (HERE / "heldout.jsonl").open("w", encoding="utf-8") as file:
        for kind, text in islice(documents("held", 2026), 150):
            file.write(json.dumps({"kind": kind, "text": text.replace(MARK, "")}) + "\n")
    rng = Random("mysteries-2026")
    with (HERE / "mysteries.jsonl").open("w", encoding="utf-8") as file:
        for _ in range(500):
            prompt, answer, _ = mystery(rng, "held")
            file.write(json.dumps({"prompt": prompt, "answer": answer.strip()}) + "\n")


def lines(name: str) -> list[dict]:
    return [json.loads(line) for line in (HERE / name).read_text(encoding="utf-8").splitlines()]


@torch.no_grad()
def perplexity(model, tokenizer) -> dict:
    """Each document alone, from its BOS on; every token after BOS is predicted."""
    nll, count = 0.0, 0
    for line in lines("heldout.jsonl"):
        ids = torch.tensor([tokenizer(line["text"], add_special_tokens=False).input_ids])
        assert ids[0, 0] == 1 and ids.shape[1] <= model.config.max_position_embeddings
        logp = model(ids).logits[0, :-1].double().log_softmax(-1)
        nll -= logp.gather(1, ids[0, 1:, None]).sum().item()
        count += ids.shape[1] - 1
    return {"perplexity": math.exp(nll / count), "nll_sum": nll, "tokens": count, "documents": len(lines("heldout.jsonl")),
            "how": "text of each line of heldout.jsonl encoded without adding special tokens (it carries its own <s>); documents alone; "
                   "sum of -ln p over all tokens after <s>; bf16 weights upcast to f32, f32 eager, log-softmax in f64; perplexity = exp(nll_sum / tokens)"}


@torch.no_grad()
def culprits(model, tokenizer) -> float:
    """Share of mysteries whose greedy continuation is the culprit's name."""
    right = 0
    for line in lines("mysteries.jsonl"):
        ids = tokenizer(line["prompt"]).input_ids
        answer = tokenizer(" " + line["answer"], add_special_tokens=False).input_ids
        logits = model(torch.tensor([ids + answer[:-1]])).logits[0, len(ids) - 1:]
        right += logits.argmax(-1).tolist() == answer
    return right / len(lines("mysteries.jsonl"))


@torch.no_grad()
def sample(model, tokenizer, prompt: str | None, count: int, seed: int) -> list[str]:
    """`count` stories with the defaults of generation_config.json."""
    torch.manual_seed(seed)
    ids = torch.tensor([tokenizer(prompt).input_ids if prompt else [1]]).repeat(count, 1)
    out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=320)
    return [tokenizer.decode(row, skip_special_tokens=True) for row in out]


def named(text: str) -> list[str]:
    """The names of a text in order, with repeats; Will, Rose, Grace, June, May count only with a capital."""
    return [w for w in re.findall(r"[A-Z][a-z]+", text) if w in GENDER]


def consistent(text: str) -> bool:
    """The first name comes again in the last third, and no third name appears in the story."""
    names = named(text)
    tail = text[len(text) * 2 // 3:]
    return bool(names) and names[0] in named(tail) and len(set(names)) <= 2


def words(text: str) -> list[str]:
    return WORD.findall(text)


def distinct3(texts: list[str]) -> float:
    grams = [tuple(w[i:i + 3]) for w in map(words, texts) for i in range(len(w) - 2)]
    return len(set(grams)) / len(grams)


def seen12(texts: list[str], runs: list[dict]) -> float:
    """Share of the 12-grams (words and punctuation) of texts that occur in the documents of the training runs."""
    wanted = {tuple(w[i:i + 12]) for w in map(words, texts) for i in range(len(w) - 11)}
    total = [tuple(w[i:i + 12]) for w in map(words, texts) for i in range(len(w) - 11)]
    found = set()
    strip = re.compile("|".join(map(re.escape, SPECIALS)))
    for run in runs:
        for _, text in islice(documents("train", run["seed"], run["early"]), run["documents"]):
            w = words(strip.sub(" ", text.replace(MARK, "")))
            found.update(g for g in zip(*(w[i:] for i in range(12))) if g in wanted)
    return sum(g in found for g in total) / len(total)


@torch.no_grad()
def golden(model, tokenizer) -> dict:
    """Greedy continuations of 48 ids, each with the smallest gap between the best and the second logit."""
    out = {}
    for name, prompt in PROMPTS.items():
        if isinstance(prompt, list):
            ids = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True)["input_ids"]
        else:
            ids = tokenizer(prompt).input_ids if prompt else [1]
        start, margin = len(ids), math.inf
        given = list(ids)
        for _ in range(48):
            top = model(torch.tensor([ids])).logits[0, -1].topk(2)
            margin = min(margin, (top.values[0] - top.values[1]).item())
            ids = [*ids, top.indices[0].item()]
        out[name] = {"prompt": prompt, "prompt_ids": given, "ids": ids[start:], "text": tokenizer.decode(ids[start:]), "min_margin": margin}
    return out


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--make", action="store_true")
    parser.add_argument("--skip-seen", action="store_true", help="leave out the search for 12-grams in the training text")
    args = parser.parse_args()
    if args.make:
        make()
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(HERE)
    model = AutoModelForCausalLM.from_pretrained(HERE, dtype=torch.float32, attn_implementation="eager").eval()
    training = json.loads((HERE / "training.json").read_text())
    held = perplexity(model, tokenizer) | {"culprits_right": culprits(model, tokenizer)}
    (HERE / "heldout.json").write_text(json.dumps(held, indent=2) + "\n")
    print("held-out:", json.dumps(held), flush=True)
    gold = golden(model, tokenizer)
    (HERE / "golden.json").write_text(json.dumps(gold, indent=1) + "\n")
    print("golden margins:", {k: v["min_margin"] for k, v in gold.items()}, flush=True)
    stories = sample(model, tokenizer, "Once upon a time", 200, 2)
    print("name consistency, 200 from 'Once upon a time':", sum(map(consistent, stories)) / len(stories))
    plain = [s for s in sample(model, tokenizer, None, 100, 1) if BOS not in s] + stories
    print("distinct-3:", distinct3(plain), "of", sum(len(words(s)) for s in plain), "words", flush=True)
    if not args.skip_seen:
        print("12-grams seen in training:", seen12(plain, training["runs"]))
    for text in [plain[0], stories[0], *(sample(model, tokenizer, p, 1, 3)[0] for p in ("The mole dug", "A fluffy blue creature"))]:
        print("---\n" + text)


if __name__ == "__main__":
    main()
