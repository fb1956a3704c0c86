"""Trains the tokenizer and the model: python train.py [--minutes 30] [--threads 1] [--out DIR] [--resume]."""

import argparse
import json
import math
import time
from itertools import islice
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from corpus import SPECIALS, documents
from games import MARK
from model import CONFIG, VOCAB, Model

HERE = Path(__file__).parent
CHAT_TEMPLATE = (
    "{{- bos_token }}"
    "{%- for message in messages %}"
    "{%- if message['role'] not in ['system', 'user', 'assistant'] %}"
    "{{- raise_exception('roles are system, user and assistant, not ' + message['role']) }}"
    "{%- endif %}"
    "{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|assistant|>' }}{%- endif %}"
)


def train_tokenizer(docs: int = 20000) -> Tokenizer:
    """Byte-fallback BPE; a word carries its leading space as U+2581, punctuation and digits stand alone."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex("▁?[A-Za-z]+|▁?[0-9]|\n|▁?[^A-Za-z0-9\n▁]+|▁"), "isolated"),
    ])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = [AddedToken(s, special=True, normalized=False) for s in SPECIALS]
    byte_tokens = [f"<0x{i:02X}>" for i in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=[*special, *byte_tokens], show_progress=False)
    texts = (text for _, text in islice(documents("train", 1), docs))
    tokenizer.train_from_iterator(_pieces(texts), trainer)
    data = json.loads(tokenizer.to_str())  # byte tokens belong to the vocabulary, but are no special tokens
    data["added_tokens"] = [t for t in data["added_tokens"] if t["content"] in SPECIALS]
    tokenizer = Tokenizer.from_str(json.dumps(data))
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    assert tokenizer.get_vocab_size() == VOCAB, tokenizer.get_vocab_size()
    return tokenizer


def _pieces(texts):
    """Texts without their special tokens, which must not lend characters to the merges."""
    for text in texts:
        for special in SPECIALS:
            text = text.replace(MARK, "").replace(special, "\x00")
        yield from (part for part in text.split("\x00") if part)


def save_text_files(tokenizer: Tokenizer, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(out / "tokenizer.json"))
    named = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>"}
    _json(out / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", **named, "add_bos_token": True, "add_eos_token": False,
        "clean_up_tokenization_spaces": False, "model_max_length": CONFIG["max_position_embeddings"], "chat_template": CHAT_TEMPLATE})
    _json(out / "config.json", CONFIG)
    _json(out / "generation_config.json", {
        "bos_token_id": 1, "eos_token_id": [2, tokenizer.token_to_id("<|end|>")], "pad_token_id": 2, "do_sample": True,
        "temperature": 0.7, "top_p": 0.9, "top_k": 40, "max_new_tokens": 256})


def _json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def unmark(text: str) -> tuple[str, set[int]]:
    """The text without MARK, and the places where one stood."""
    parts = text.split(MARK)
    places, at = set(), 0
    for part in parts[:-1]:
        at += len(part)
        places.add(at)
    return "".join(parts), places


class Batches:
    """An endless stream of fresh documents, each used once; a row holds whole documents, and the beginning of a story where nothing else fits."""

    def __init__(self, tokenizer: Tokenizer, run: dict, weight: float = 4.0) -> None:
        self.tokenizer, self.stream, self.weight = tokenizer, documents("train", run["seed"], run["early"]), weight
        self.waiting: list[tuple[str, list[int], list[float]]] = []
        self.docs = 0

    def _more(self, count: int = 500) -> None:
        self.docs += count
        kinds, texts = zip(*islice(self.stream, count))
        plain, marks = zip(*map(unmark, texts))
        for kind, e, starts in zip(kinds, self.tokenizer.encode_batch(list(plain), add_special_tokens=False), marks):
            # a word's token begins at its space, one character before the mark's place, or at the word itself
            weights = [self.weight if begin in starts or begin + 1 in starts and end > begin + 1 else 1.0 for begin, end in e.offsets]
            self.waiting.append((kind, e.ids, [0.0, *weights[1:]]))

    def _row(self, room: int) -> tuple[list[int], list[float], list[int]]:
        """ids, weights and document numbers of one row of `room` tokens."""
        ids, weights, of = [], [], []
        while room > 0:
            if len(self.waiting) < 300:
                self._more()
            at = 0
            if ids:  # the oldest that fits, else a story's beginning
                at = next((i for i, d in enumerate(self.waiting) if len(d[1]) <= room), None)
                if at is None:
                    at = next((i for i, d in enumerate(self.waiting) if d[0] == "story"), 0)
            _, more, weigh = self.waiting.pop(at)
            of += [len(of)] * len(more[:room])
            ids += more[:room]
            weights += weigh[:room]
            room -= len(more[:room])
        return ids, weights, of

    def next(self, rows: int, length: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """(ids, targets, weights, document numbers), each (rows, length)."""
        ids, weights, of = map(torch.tensor, zip(*(self._row(length + 1) for _ in range(rows))))
        return ids[:, :-1], ids[:, 1:], weights[:, 1:], of[:, :-1]


def schedule(done: float) -> float:
    """Share of the peak rate: warm-up over the first 2 %, then a cosine to 2 %."""
    if done < 0.02:
        return done / 0.02
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (done - 0.02) / 0.98))


def save(model: Model, out: Path, facts: dict) -> None:
    path = out / "model.safetensors"
    save_file(model.export(), path, metadata={"format": "pt"})
    path.chmod(0o644)
    _json(out / "training.json", {"parameters": sum(p.numel() for p in model.parameters()), **facts})


class Progress:
    """What has been spent and seen; `runs` names the document streams, so that they can be made again."""

    def __init__(self, saved: dict | None) -> None:
        saved = saved or {"seconds": 0.0, "tokens": 0, "steps": 0, "runs": [], "curve": []}
        self.seconds, self.tokens, self.steps = saved["seconds"], saved["tokens"], saved["steps"]
        self.runs, self.curve, self.loss = saved["runs"], saved["curve"], None
        self.marked = None

    def facts(self) -> dict:
        return {"seconds": round(self.seconds), "tokens": self.tokens, "steps": self.steps, "loss": self.loss, "marked_loss": self.marked, "runs": self.runs, "curve": self.curve}

    def add(self, loss: float, marked: float | None, tokens: int, seconds: float) -> None:
        self.loss = loss if self.loss is None else 0.98 * self.loss + 0.02 * loss
        if marked is not None:
            self.marked = marked if self.marked is None else 0.98 * self.marked + 0.02 * marked
        self.seconds, self.tokens, self.steps = self.seconds + seconds, self.tokens + tokens, self.steps + 1
        if self.steps % 100 == 0:
            self.curve.append([self.tokens, round(self.loss, 4), self.marked and round(self.marked, 4)])
            if not dist.is_initialized() or dist.get_rank() == 0:
                print(f"step {self.steps} tokens {self.tokens} seconds {self.seconds:.0f} loss {self.loss:.4f} marked {self.marked or 0:.4f}", flush=True)


def average(model: Model, seconds: float) -> float:
    """Replaces each process's gradient by the mean over the processes; the mean of seconds, so that all keep one clock."""
    grads = [p.grad for p in model.parameters()]
    flat = torch.cat([*(g.reshape(-1) for g in grads), torch.tensor([seconds])])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for grad, part in zip(grads, flat[:-1].split([g.numel() for g in grads])):
        grad.copy_(part.view_as(grad))
    return flat[-1].item()


def worker(rank: int, args: argparse.Namespace) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{args.port}", rank=rank, world_size=args.processes)
    train(args, rank)
    dist.destroy_process_group()


def train(args: argparse.Namespace, rank: int = 0) -> None:
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    out = Path(args.out)
    state = out / "state.pt"
    saved = torch.load(state) if args.resume and state.exists() else None
    if saved:
        tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
    else:
        tokenizer = train_tokenizer()
        if rank == 0:
            save_text_files(tokenizer, out)
    model = Model()
    optim = torch.optim.AdamW(model.parameters(), lr=args.rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    progress = Progress(saved and saved["progress"])
    if saved:
        model.load_state_dict(saved["model"])
        optim.load_state_dict(saved["optim"])
    batches = None
    saved_at, clock = time.time(), progress.seconds
    while True:
        # the schedule follows tokens, or seconds where only those are given
        done = progress.tokens / args.tokens if args.tokens else clock / (60 * args.minutes)
        if done >= 1:
            break
        began = time.time()
        early = done < args.early
        if batches is None or early != progress.runs[-1]["early"]:
            first = len(progress.runs)
            progress.runs += [{"seed": args.seed + 100 + first + r, "documents": 0, "early": early} for r in range(args.processes)]
            batches = Batches(tokenizer, progress.runs[first + rank])
        length = 128 if done < 0.55 else 256 if done < args.long_from else 512
        optim.param_groups[0]["lr"] = args.rate * schedule(done)
        size = args.batch
        ids, targets, weights, of = batches.next(size // length, length)
        loss, each = model(ids, targets, weights, of)
        loss.backward()
        clock = average(model, progress.seconds) if args.processes > 1 else progress.seconds
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optim.step()
        optim.zero_grad(set_to_none=True)
        marked = weights.reshape(-1) > 1
        progress.add(each[weights.reshape(-1) > 0].mean().item(), each[marked].mean().item() if marked.any() else None, size * args.processes, time.time() - began)
        for run in progress.runs[first:]:
            run["documents"] = batches.docs  # the other processes' count differs by a few documents at most
        if rank == 0 and time.time() - saved_at > 120:
            save(model, out, progress.facts())
            torch.save({"model": model.state_dict(), "optim": optim.state_dict(), "progress": progress.facts()}, state)
            saved_at = time.time()
    if rank > 0:
        return
    save(model, out, progress.facts())
    print(f"done: {progress.tokens} tokens, {progress.steps} steps, {progress.seconds:.0f} s, loss {progress.loss:.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--tokens", type=int, default=0, help="train for this many tokens instead of minutes")
    parser.add_argument("--processes", type=int, default=1, help="data-parallel processes")
    parser.add_argument("--port", type=int, default=29517, help="loopback port of the processes")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=4096, help="tokens per step and process")
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--long-from", type=float, default=0.96, help="share of the run after which rows are 512 long")
    parser.add_argument("--early", type=float, default=0.2, help="share of the run with the early mixture of documents")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", default=str(HERE))
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()
    if options.processes > 1:
        mp.spawn(worker, (options,), nprocs=options.processes)
    else:
        train(options)
