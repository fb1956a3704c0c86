"""Memory games, training only: lists said again and things found again, which teach the model to look back."""

import random

from mysteries import THINGS
from words import BOYS, GIRLS, LEX, PLACES, tidy

MARK = "\x01"  # stands before every word whose loss counts more; removed before tokenizing
PAIRS = ["{n} has the {x}.", "The {x} is for {n}.", "{n} took the {x}.", "The {x} went to {n}.", "{n}: {x}.", "{n} and the {x}."]
WHO = ["Who has the {x}?", "The {x}?", "And the {x}?", "Whose is the {x}?", "To whom does the {x} belong?"]
WHAT = ["What does {n} have?", "And {n}?", "{n}?"]


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
    """Who has what, in one frame or in several; then every thing, or every name, is asked for."""
    count = rng.randint(2, 5)
    names, nouns, colours = rng.sample(GIRLS + BOYS, count), rng.sample(THINGS, count), rng.sample(LEX["colour"], count)
    things = [f"{c} {n}" for c, n in zip(colours, nouns)] if rng.random() < 0.5 else nouns
    if rng.random() < 0.2:
        things = rng.sample([p.removeprefix("the ") for p in PLACES], count)
    one = rng.choice(PAIRS)
    said = [(one if rng.random() < 0.6 else rng.choice(PAIRS)).format(n=n, x=x) for n, x in zip(names, things)]
    ask, asked = rng.choice(WHO), list(zip(names, things))
    rng.shuffle(asked)
    if rng.random() < 0.7:
        answers = [f"{ask.format(x=x)} {MARK}{n}." for n, x in asked]
    else:
        ask = rng.choice(WHAT)
        answers = [f"{ask.format(n=n)} The " + " ".join(MARK + w for w in x.split()) + "." for n, x in asked]
    return " ".join(said + answers)


def game(rng: random.Random) -> str:
    text = roll_call(rng) if rng.random() < 0.4 else lookup(rng)
    return tidy(text)
