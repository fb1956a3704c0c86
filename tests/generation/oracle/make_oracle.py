"""Writes processors.json: what Hugging Face's logits processors leave of random logits.

    pip install torch transformers
    python make_oracle.py

Each case: options by their Hugging Face names, a history, the surviving ids and their probabilities after `generate`'s own
list of processors (order included: it comes from GenerationMixin._get_logits_processor). Logits are float32, base64.
"""

import base64
import json
import pathlib

import numpy as np
import torch
import transformers
from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel, LogitsProcessorList

VOCAB = 331
EOS = [3, 117]
PROMPT_LENGTH = 40

BAD_WORDS = [[5], [21, 22], [30, 31, 32], [60, 7], [3]]  # [3] is an EOS id: Hugging Face drops it from the list
CASES = {
    "plain": {},
    "temperature-low": {"temperature": 0.5},
    "temperature-high": {"temperature": 1.7},
    "top-k": {"top_k": 17},
    "top-k-ties": {"top_k": 9, "logits": "ties"},
    "top-k-above-vocab": {"top_k": 1000},
    "top-k-one": {"top_k": 1},
    "top-p": {"top_p": 0.8},
    "top-p-tiny": {"top_p": 0.01},
    "top-p-high": {"top_p": 0.997},
    "min-p": {"min_p": 0.05},
    "min-p-one": {"min_p": 1.0},
    "min-p-tiny": {"min_p": 1e-9, "logits": "wide"},
    "typical-p": {"typical_p": 0.6},
    "typical-p-peaked": {"typical_p": 0.3, "logits": "wide"},
    "repetition": {"repetition_penalty": 1.4, "top_k": 60},
    "repetition-below-one": {"repetition_penalty": 0.7, "top_p": 0.9},
    "no-repeat-1": {"no_repeat_ngram_size": 1, "top_k": 80},
    "no-repeat-2": {"no_repeat_ngram_size": 2},
    "no-repeat-4": {"no_repeat_ngram_size": 4},
    "bad-words": {"bad_words_ids": BAD_WORDS, "top_k": 100},
    "min-new": {"min_new_tokens": 31},
    "min-new-reached": {"min_new_tokens": 30},
    "bias": {"sequence_bias": [[[11], -3.5], [[12], 4.25], [[200], -100.0]], "top_p": 0.95},
    "temperature-top-k-top-p": {"temperature": 0.8, "top_k": 40, "top_p": 0.9},
    "k-p-min-typical": {"temperature": 1.3, "top_k": 120, "top_p": 0.95, "min_p": 0.01, "typical_p": 0.9},
    "wide-top-p": {"top_p": 0.9999, "logits": "wide"},
    "all": {
        "sequence_bias": [[[11], 2.0]],
        "repetition_penalty": 1.2,
        "no_repeat_ngram_size": 3,
        "bad_words_ids": BAD_WORDS,
        "min_new_tokens": 40,
        "temperature": 0.9,
        "top_k": 90,
        "top_p": 0.93,
        "min_p": 0.004,
    },
}


def make_logits(rng):
    ties = np.round(rng.normal(0, 1.5, VOCAB) * 2) / 2
    return {
        "normal": rng.normal(0, 2.2, VOCAB).astype(np.float32),
        "ties": ties.astype(np.float32),
        "wide": rng.normal(0, 9, VOCAB).astype(np.float32),
    }


def make_history(rng):
    """70 ids: a loop of period 4 at the end, and before it ids that bad words and n-grams meet."""
    body = rng.integers(0, 60, 50).tolist()
    loop = [30, 31, 60, 21] * 5
    return body + loop


def expected(model, options, logits, history):
    config = GenerationConfig(do_sample=True, eos_token_id=EOS, pad_token_id=0, top_k=0)
    config.update(**{key: value for key, value in options.items() if key != "logits"})
    model._prepare_special_tokens(config, kwargs_has_attention_mask=True)
    processors = model._get_logits_processor(config, PROMPT_LENGTH, None, None, LogitsProcessorList(), device="cpu")
    scores = processors(torch.tensor([history]), torch.tensor(logits[options.get("logits", "normal")])[None])
    probabilities = torch.softmax(scores[0].double(), dim=-1).numpy()
    ids = np.nonzero(np.isfinite(scores[0].numpy()))[0]
    return ids.tolist(), [float(f"{p:.9g}") for p in probabilities[ids]]


def main():
    rng = np.random.default_rng(20)
    logits, history = make_logits(rng), make_history(rng)
    model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=1, vocab_size=VOCAB, n_positions=128))
    cases = []
    for name, options in CASES.items():
        ids, probabilities = expected(model, options, logits, history)
        row = options.get("logits", "normal")
        kept = {key: value for key, value in options.items() if key != "logits"}
        case = {"name": name, "logits": row, "options": kept, "probabilities": probabilities}
        cases.append(case | ({} if len(ids) == VOCAB else {"ids": ids}))
    body = {
        "transformers": transformers.__version__,
        "vocab": VOCAB,
        "eos": EOS,
        "promptLength": PROMPT_LENGTH,
        "history": history,
        "logits": {name: base64.b64encode(row.tobytes()).decode() for name, row in logits.items()},
    }
    head = json.dumps(body)[:-1]
    lines = ",\n".join(json.dumps(case) for case in cases)
    path = pathlib.Path(__file__).with_name("processors.json")
    path.write_text(f'{head}, "cases": [\n{lines}\n]}}\n')
    print(f"{path.name}: {len(cases)} cases, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
