"""Memory games, training only: lists said again, things found again, names that are missing, which teach the model to look back."""

import random
import re

import facts
import stories
from mysteries import THINGS, TRAIN
from words import BOYS, GIRLS, LEX, PLACES, expand, tidy

MARK = "\x01"  # stands before every word whose loss counts more; removed before tokenizing
PAIRS = ["{n} has the {x}.", "{n} took the {x}.", "{n} had a {x}.", "{n}: {x}.", "{n} and the {x}.", "{n} with a {x}."]
WHO = ["Who has the {x}?", "The {x}?", "And the {x}?", "Whose is the {x}?", "There is the {x}, and here is", "I see the {x}, so it is", "It was the {x}, so the name was",
       "Here lay the {x}, so the one was"]


def roll_call(rng: random.Random) -> str:
    """Names or things in a row, then the same row again."""
    pool = rng.choice([GIRLS + BOYS, GIRLS + BOYS, THINGS, LEX["colour"], LEX["food"]])
    row = rng.sample(pool, rng.randint(3, min(9, len(pool) - 1)))
    times = rng.choice([1, 1, 2])
    first = ", ".join(row) + "."
    again = ", ".join(f"{MARK}{w}" for w in row) + "."
    lead = rng.choice(["Say it again:", "Once more:", "The same again:", "And again:"])
    return " ".join([first.capitalize() if row[0].islower() else first, *[f"{lead} {again}"] * times])


def lookup(rng: random.Random) -> str:
    """Who has what, in one frame or in several; then every thing is asked for."""
    count = rng.randint(2, 5)
    names, nouns, colours = rng.sample(GIRLS + BOYS, count), rng.sample(THINGS, count), rng.sample(LEX["colour"], count)
    things = [f"{c} {n}" for c, n in zip(colours, nouns)] if rng.random() < 0.5 else nouns
    if rng.random() < 0.2:
        things = rng.sample([p.removeprefix("the ") for p in PLACES], count)
    one = rng.choice(PAIRS)
    said = [(one if rng.random() < 0.6 else rng.choice(PAIRS)).format(n=n, x=x) for n, x in zip(names, things)]
    ask, asked = rng.choice(WHO), list(zip(names, things))
    rng.shuffle(asked)
    answers = [f"{ask.format(x=x)} {MARK}{n}." for n, x in asked]
    return " ".join(said + answers)


def missing(rng: random.Random) -> str:
    """A few names, then all but one of them again: who is missing?"""
    row = rng.sample(GIRLS + BOYS, rng.randint(2, 5))
    gone = rng.choice(row)
    here = [n for n in row if n != gone]
    rng.shuffle(here)
    said = ", ".join(row[:-1]) + f" and {row[-1]}"
    again = here[0] if len(here) == 1 else ", ".join(here[:-1]) + f" and {here[-1]}"
    first = rng.choice(["{x}.", "There were {x}.", "The names are {x}.", "{x} were there."]).format(x=said)
    second = rng.choice(["Now I see {x}.", "I see {x}.", "Not {x}.", "It was not {x}.", "{x} can go home.", "{x} did not do it."]).format(x=again)
    last = rng.choice(["Who is missing? {x}.", "Only one is left: {x}.", "So it was {x}.", "The last one is {x}.", "That leaves {x}."])
    return " ".join([first, second, last.format(x=MARK + gone)])


def _pool() -> list[str]:
    """All plain words of the training frames and word lists."""
    frames = [f for beats in stories.PLOTS.values() for beat in beats for f in beat] + stories.OPENINGS + stories.SCENERY + stories.ENDINGS
    frames += [f for slot in TRAIN.values() for f in slot] + [f for slot in facts.SENSES.values() for f in slot]
    lists = [w for words in LEX.values() for w in words]
    return sorted({w for text in [re.sub(r"\{\w+\}", " ", f) for f in frames] + lists for w in re.findall(r"\b[a-z]+\b", text)})


POOL = _pool()
COMMON = "the a and was in to of with had it that were they at by on for so not but saw all".split()


def _salad(rng: random.Random, low: int, high: int) -> list[str]:
    return [rng.choice(COMMON if rng.random() < 0.4 else POOL) for _ in range(rng.randint(low, high))]


def strewn(rng: random.Random) -> str:
    """`missing` among random words: names, then all but one of them again, and only the names matter."""
    row = rng.sample(GIRLS + BOYS, rng.choice([3, 3, 3, 2, 4]))
    here = row[:]
    gone = here.pop(rng.randrange(len(here)))
    rng.shuffle(here)
    parts = [" ".join(_salad(rng, 3, 9))] if rng.random() < 0.6 else []
    joined = ", ".join(row[:-1]) + f" and {row[-1]}" if rng.random() < 0.6 else " ".join(w for n in row for w in [n, *_salad(rng, 0, 2)])
    parts.append(" ".join([*_salad(rng, 0, 4), joined, *_salad(rng, 0, 5)]))
    while here:
        words = _salad(rng, 2, 9)
        for _ in range(2 if len(here) > 1 and rng.random() < 0.25 else 1):
            words.insert(rng.randint(0, len(words)), here.pop())
        parts.append(" ".join(words))
    text = ". ".join(p[0].upper() + p[1:] for p in parts)
    end = rng.choice(TRAIN["end"]) if rng.random() < 0.6 else " ".join([*_salad(rng, 1, 6), "so the culprit was"])
    return f"{text}. {expand(end[0].upper() + end[1:], {'kind': ['fox', 'owl', 'mole', 'cat']}, rng)} {MARK}{gone}."


def game(rng: random.Random) -> str:
    make = rng.choices([strewn, missing, roll_call, lookup], [5, 3, 1, 1])[0]
    return tidy(make(rng))
