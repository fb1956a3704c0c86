"""Sentences with 'mole' in four senses and 'model' in two, and the same sentences about things that have one sense only."""

import re
from dataclasses import dataclass
from hashlib import sha256
from random import Random

SLOTS = {
    "who": "the doctor|the nurse|my sister|his uncle|anna|tom|the farmer|a student|the teacher|our neighbour|her brother|mia".split("|"),
    "garden": "garden|field|meadow|lawn|forest|park|orchard|valley".split("|"),
    "time": "today|yesterday|at night|in spring|last week|before dawn|in the morning|this year".split("|"),
    "size": "small|large|young|old|quick|quiet|little|clever".split("|"),
    "food": "worms|insects|roots|beetles|snails|seeds".split("|"),
    "secret": "plans|papers|codes|letters|maps|names|files".split("|"),
    "agency": "agency|ministry|embassy|army|office|navy|bureau".split("|"),
    "enemy": "enemy|rival|other side|foreign power|embassy|press".split("|"),
    "body": "cheek|arm|neck|back|shoulder|chin|leg|hand".split("|"),
    "colour": "brown|dark|black|red|pale|round".split("|"),
    "vessel": "flask|bottle|tank|beaker|tube|jar".split("|"),
    "stuff": "carbon dioxide|water|carbon|helium|oxygen|methane|iron|gold".split("|"),
    "data": "pictures|texts|numbers|songs|letters|maps".split("|"),
    "dress": "dress|coat|hat|gown|suit|scarf".split("|"),
    "city": "paris|milan|london|rome|vienna|berlin".split("|"),
}
# Grams of one mole.
WEIGHTS = {"carbon dioxide": "forty four", "water": "eighteen", "carbon": "twelve", "helium": "four", "oxygen": "thirty two",
           "methane": "sixteen", "iron": "fifty six", "gold": "one hundred and ninety seven"}


@dataclass(frozen=True)
class Sense:
    name: str  # the word that ends "here NOUN means NAME"
    noun: str  # the word with several senses
    others: tuple[str, ...]  # words that have this sense only
    frames: tuple[str, ...]
    unseen: tuple[str, ...]  # frames that training has with `others` only


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines())


SENSES = (
    Sense("animal", "mole", ("rabbit", "badger", "hedgehog", "fox"), _lines("""
        the {size} {noun} dug a tunnel under the {garden} {time}
        a {noun} lives in the {garden} and eats {food}
        the american shrew {noun} eats {food} {time}
        american shrew {noun}
        {who} saw a {size} {noun} in the {garden}
        the {noun} slept in its burrow {time}
        there was a {noun} in the {garden} {time}
        the {noun} hid its {food} in the {garden}"""), _lines("""
        the fur of the {noun} is soft and {colour}
        a {size} {noun} ran from the fox in the {garden}
        the {noun} and its young ate {food} {time}""")),
    Sense("spy", "mole", ("agent", "traitor", "informer", "spy"), _lines("""
        the {noun} sold secret {secret} to the {enemy} {time}
        there was a {noun} in the {agency} {time}
        the {agency} found a {noun} among its officers
        {who} was a {noun} for the {enemy}
        the {noun} copied the {secret} of the {agency}
        the {size} {noun} met an officer of the {agency} {time}
        a {noun} gave the {secret} to the {enemy}"""), _lines("""
        the {noun} of the {enemy} was caught with secret {secret}
        the minister trusted the {noun} in the {agency}
        the officers of the {agency} arrested the {noun} {time}""")),
    Sense("unit", "mole", ("gram", "litre", "kilogram", "ounce"), _lines("""
        one {noun} of {stuff}
        there was one {noun} of {stuff} in the {vessel}
        {who} put one {noun} of {stuff} into the {vessel}
        a {noun} of {stuff} fills the {vessel}
        half a {noun} of {stuff} was in the {vessel} {time}
        {who} measured a {noun} of {stuff} {time}"""), _lines("""
        the {vessel} holds less than one {noun} of {stuff}
        how much is a {noun} of {stuff}
        {who} heated a {noun} of {stuff} in the {vessel}""")),
    Sense("mark", "mole", ("freckle", "wart", "scar", "spot"), _lines("""
        take a biopsy of the {noun}
        take a biopsy of the {noun} on the {body} {time}
        there was a {noun} on the {body} of {who}
        {who} has a {colour} {noun} on the {body}
        a {colour} {noun} grew on the skin of the {body}
        {who} looked at the {noun} on my {body} {time}
        the {noun} on the {body} was {colour}"""), _lines("""
        the skin around the {noun} was {colour}
        {who} removed the {noun} from the {body} {time}
        a cream made the {noun} on the {body} pale""")),
    Sense("program", "model", ("network", "program", "algorithm"), _lines("""
        a machine learning {noun} reads {data} {time}
        machine learning {noun}
        {who} trained a {noun} on {data}
        the {noun} was trained on a million {data}
        the {noun} learns from {data} {time}"""), _lines("""
        the {noun} predicts the next of the {data}
        {who} tested the {noun} with new {data}""")),
    Sense("person", "model", ("actress", "dancer", "singer"), _lines("""
        a fashion {noun} wore a {colour} {dress} in {city}
        fashion {noun}
        the {noun} walked in a {dress} through {city} {time}
        {who} is a {noun} in {city}
        the {noun} put on a {colour} {dress}"""), _lines("""
        the {noun} smiled at {who} in {city}
        {who} took pictures of the {noun} in a {dress}""")),
)


def weight_sentence(rng: Random) -> str:
    stuff, grams = rng.choice(list(WEIGHTS.items()))
    return rng.choice([f"one mole of {stuff} weighs {grams} grams", f"a mole of {stuff} has a mass of {grams} grams"])


def fill(rng: Random, frame: str, noun: str) -> str:
    text = re.sub(r"{(\w+)}", lambda m: noun if m[1] == "noun" else rng.choice(SLOTS[m[1]]), frame)
    return re.sub(r"\ba ([aeio])", r"an \1", text)


def clause(noun: str, sense: Sense) -> str:
    return f"here {noun} means {sense.name}"


def held_out(text: str) -> bool:
    """A tenth of the sentences; training never sees them."""
    return sha256(text.encode()).digest()[0] < 26


@dataclass(frozen=True)
class Sentence:
    text: str
    sense: str
    noun: str
    explained: bool  # ends in "here NOUN means SENSE"


def sentence(rng: Random, sense: Sense, frames: tuple[str, ...], noun: str, explained: bool) -> Sentence:
    text = fill(rng, rng.choice(frames), noun)
    return Sentence(f"{text} . {clause(noun, sense)} ." if explained else f"{text} .", sense.name, noun, explained)


def training(rng: Random):
    """Endless sentences to learn from."""
    while True:
        if rng.random() < 0.1:
            text = f"{weight_sentence(rng)} ."
            yield Sentence(text, "unit", "mole", False)
            continue
        sense = rng.choice(SENSES)
        own = rng.random() < 0.6
        frames = sense.frames if own else sense.frames + sense.unseen
        made = sentence(rng, sense, frames, sense.noun if own else rng.choice(sense.others), rng.random() < 0.5)
        if not held_out(made.text):
            yield made


def held(rng: Random, unseen: bool, explained: bool):
    """Endless held-out sentences: of the frames of training in new words, or of frames that were only about other words."""
    while True:
        sense = rng.choice(SENSES)
        made = sentence(rng, sense, sense.unseen if unseen else sense.frames, sense.noun, explained)
        if unseen or held_out(made.text):
            yield made


def vocabulary() -> list[str]:
    """Every word that a sentence can hold, in order of the alphabet."""
    texts = [f for s in SENSES for f in (*s.frames, *s.unseen, s.name, s.noun, *s.others)]
    texts += [w for words in SLOTS.values() for w in words] + [*WEIGHTS.values(), "an weighs has mass of grams here means here ."]
    return sorted({w for t in texts for w in re.sub(r"{\w+}", "", t).split()})
