"""The corpus of verdant-tiny: documents by split and seed, each a list of (text, is_special) segments of the chat template."""

import random
from collections.abc import Iterator

import chat
import facts
import heldout
import stories
from games import MARK, game
from mysteries import FRAMES, mystery
from scenes import scene
from words import LEX, expand, person, tidy

USER, ASSISTANT, SYSTEM, END, BOS, EOS = "<|user|>", "<|assistant|>", "<|system|>", "<|end|>", "<s>", "</s>"
SPECIALS = ["<unk>", BOS, EOS, SYSTEM, USER, ASSISTANT, END]
SHARES = {"story": 28, "chat": 17, "tale": 6, "mystery": 30, "sense": 3, "game": 16}
EARLY = {"game": 45, "mystery": 35, "story": 12, "chat": 8}  # the first part of training: learn to look back


def story(rng: random.Random, split: str, hero: dict | None = None) -> str:
    """Opening, plot beats with a little scenery, ending; sometimes in paragraphs."""
    source = stories if split == "train" else heldout
    ctx = scene(rng, hero)
    name = rng.choice(list(source.PLOTS))
    beats = [rng.choice(frames) for frames in source.PLOTS[name]]
    parts = [rng.choice(source.OPENINGS)]
    if name == "blue" and hero is None and rng.random() < 0.6:
        parts = []  # starts with the creature; the hero is introduced by the next sentence
        beats[0] = rng.choice([f for f in source.PLOTS[name][0] if "{N}" not in f])
        beats.insert(1, rng.choice(stories.BLUE_HERO))
    for i, beat in enumerate(beats):
        if rng.random() < 0.28 and i and parts:
            parts.append(rng.choice(source.SCENERY))
        parts.append(beat)
    parts.append(rng.choice(source.ENDINGS))
    said = [tidy(expand(p, _vary(ctx, rng), rng)) for p in parts]
    return _paragraphs(said, rng)


def _vary(ctx: dict, rng: random.Random) -> dict:
    """Traits and places fixed by the scene in four sentences of five, free in the others."""
    if rng.random() < 0.8:
        return ctx
    return {**ctx, **{k: rng.choice(LEX[k.rstrip("2")]) for k in ("trait", "trait2", "happy", "happy2")}}


def _paragraphs(sentences: list[str], rng: random.Random) -> str:
    if rng.random() < 0.6:
        return " ".join(sentences)
    cut = rng.randrange(1, len(sentences))
    return " ".join(sentences[:cut]) + "\n" + " ".join(sentences[cut:])


def sense(rng: random.Random, split: str) -> str:
    """Two to four sentences with "mole" or "model", each in one sense (training only)."""
    assert split == "train"
    hero = person(rng)
    which = rng.choice(["animal", "unit", "skin", "machine", "fashion"])
    frames = rng.sample(facts.SENSES[which], min(len(facts.SENSES[which]), rng.randint(2, 3)))
    return " ".join(tidy(expand(f, hero, rng)) for f in frames)


def dialogue(rng: random.Random, split: str) -> list[tuple[str, str]]:
    """Turns (role, text): sometimes a system turn, then one to three exchanges."""
    turns = [(SYSTEM, rng.choice(chat.SYSTEM[split]))] if rng.random() < 0.2 else []
    for _ in range(rng.choice([1, 1, 2, 3, 4])):
        user, reply = chat.question(rng, split)
        turns += [(USER, user), (ASSISTANT, reply)]
    return turns


def tale(rng: random.Random, split: str) -> list[tuple[str, str]]:
    """A dialogue whose (last) request is a story."""
    turns = []
    if rng.random() < 0.3:
        user, reply = chat.question(rng, split)
        turns = [(USER, user), (ASSISTANT, reply)]
    user, hero = chat.story_request(rng, split)
    return [*turns, (USER, user), (ASSISTANT, story(rng, split, hero))]


def render(turns: list[tuple[str, str]]) -> str:
    """The chat template, without BOS."""
    return "".join(f"{role}{text}{END}" for role, text in turns)


def document(rng: random.Random, split: str, early: bool = False) -> tuple[str, str]:
    """(kind, text) of one document with its BOS and EOS; MARK stands before words that deserve more weight."""
    shares = EARLY if early else SHARES if split == "train" else {k: v for k, v in SHARES.items() if k not in ("sense", "game")}
    kind = rng.choices(list(shares), list(shares.values()))[0]
    if kind == "story":
        return kind, BOS + story(rng, split) + EOS
    if kind == "chat":
        return kind, BOS + render(dialogue(rng, split)) + EOS
    if kind == "tale":
        return kind, BOS + render(tale(rng, split)) + EOS
    if kind == "sense":
        return kind, BOS + sense(rng, split) + EOS
    if kind == "game":
        return kind, BOS + game(rng) + EOS
    prompt, answer, after = mystery(rng, split)
    return kind, BOS + prompt + " " + MARK + answer.strip() + after + EOS


def documents(split: str, seed: int, early: bool = False) -> Iterator[tuple[str, str]]:
    """An endless, reproducible stream; split is "train" or "held"."""
    rng = random.Random(f"{split}-{seed}")
    while True:
        yield document(rng, split, early)


def all_frames(split: str) -> set[str]:
    """Every sentence frame of a split, for the test that the two share none."""
    source = stories if split == "train" else heldout
    frames = {*source.OPENINGS, *source.SCENERY, *source.ENDINGS}
    frames.update(f for beats in source.PLOTS.values() for beat in beats for f in beat)
    frames.update(f for slot in FRAMES[split].values() for f in slot if f)
    offset = 0 if split == "train" else 2
    for t in chat.TOPICS.values():
        frames.update(t[offset] + t[offset + 1])
    for pair in chat.TALK.values():
        frames.update(pair[0 if split == "train" else 1][0] + pair[0 if split == "train" else 1][1])
    return frames | {*chat.SYSTEM[split], *chat.STORY_ASK[split], *chat.STORY_ANY[split]}


if __name__ == "__main__":
    shared = all_frames("train") & all_frames("held")
    assert not shared, shared
    for split in ("train", "held"):
        stream = documents(split, 0)
        for _ in range(12):
            print(split, *next(stream), sep=" | ")
