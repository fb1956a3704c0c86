"""Small mysteries: three suspects, an alibi for two of them; the culprit is the one without."""

import random

import stories
from scenes import scene
from words import BOYS, GIRLS, KINDS, LEX, expand, person, tidy

LOOT = ("honey|cake|golden ring|silver bell|pie|old map|jam|cheese|magic lamp|jar of biscuits|picture|crown|key to the tower|last pear|"
        "teapot|old violin|letter|coin jar|blue vase|bread|pearl|music box|birthday cake|painting|clock|diary").split("|")
THINGS = ("scarf hat coat glove ribbon apron belt umbrella basket kite lantern drum flute bag book ball feather button blanket cup "
          "rope spoon bottle whistle").split()

TRAIN = {
    "crime": [
        "Who took the {loot}?", "Someone had stolen the {loot} from {place}.", "The {loot} was gone!", "One {daytime}, the {loot} was missing.",
        "On {weekday}, somebody took the {loot} from {place}.", "Whoever took the {loot} from {place} must bring it back.", "Why was the {loot} not there?",
        "\"Help! My {loot} is gone!\" cried the {kind}.", "There was a theft at {place}, and whoever did it took the {loot}.",
        "There was a thief at {place}. The {loot} was not there any more.", "At {place}, in the {weather} {daytime}, somebody hid the {loot}.",
        "The {old_helper} wanted to eat, but the {loot} had been stolen.", "It was a mystery: who had taken the {loot}?",
    ],
    "people": ["There were three suspects: {a}, {b} and {c}.", "Only {a}, {b} and {c} had been there.", "Three friends were near: {a}, {b} and {c}.",
               "It could be {a}, {b} or {c}.", "The thief was {a}, {b} or {c}.", "{a}, {b} and {c} lived near {place}.", "The {kind} asked {a}, {b} and {c}.",
               "{a} was there, {b} was there, and {c} was there.", "The three were {a}, {b} and {c}.",
               "{a}, {b} and {c} [wanted the {loot}|loved {food}|came to {place}|knew the {kind}|were hungry|had a key|liked the {loot}|had been alone].",
               "The {old_helper} [looked at|thought of|wrote to|called] {a}, {b} and {c}.", "First came {a}, then {b}, then {c}.", "Was it {a}, {b} or {c}?",
               "In [the room|the garden|the house|{place}] were {a}, {b} and {c}.", "Here are the suspects: {a}, {b}, {c}.", "{a} and {b} were there, and so was {c}.",
               "Someone had seen {a}, {b} and {c} near {furniture}."],
    "clear": ["{s} was asleep [all {daytime}|in bed|].", "{s} was at {place} with the {old_helper}.", "{s} had a broken leg and could not walk.", "{s} did not do it.",
              "It was not {s}.", "{s} was ill in bed.", "The {kind} had been with {s} all {daytime}.", "{s} had told the truth.",
              "{s} did not like {food} and went home early.", "Nobody thought that {s} did it.", "{s} was far away, at {place}.",
              "{s} played the {noun} at {place} the whole {daytime}.", "The {old_helper} saw {s} at {place}.", "\"{s} was with me,\" said the {kind}.",
              "{s} walked to {place} [that {daytime}|and ate some {food}|].", "It could not be {s}, who was in {place}.",
              "{s} {acts} near {place} all {daytime}.",
              "{s} {did} {spot} {span}.", "{s} {did} {span}.", "{s} {did} {spot}.", "{span2}, {s} {did} {spot}.", "{span2}, {s} {did}.",
              "{seer} [saw|met|helped|visited|followed|found|heard] {s} {spot}.", "{seer} [saw|met|helped|found] {s} {span}.",
              "{s} and {seer2} {did} {spot}.", "{seer} said that {s} {did} {spot}.", "{seer} knew that {s} {did}.", "{s}, who {did} {spot}, was free.",
              "{s} was [ill|asleep|busy|away|at home|too small|too slow|not there|tired] {span}.", "{seer} was sure that it was not {s}.",
              "{s} could [not walk|not see|show that it was not so|prove it].", "{s}? No, {s} {did} {spot}.", "A picture showed {s} {spot}.",
              "{s}'s [shoes|hands|bags|pockets] were clean.", "There was a letter from {s}, who {did} {spot}."],
    "both": ["{s} and {t} were at {place}.", "{s} was with {t} all {daytime}.", "Neither {s} nor {t} did it.", "{s} sat {under} {furniture}, and {t} slept.",
             "{s} ate {food} with {t} at {place}.", "{s} and {t} {did} {spot}.", "{s} and {t} {did} {span}.", "{seer} [saw|met|helped|visited] {s} and {t} {spot}.",
             "{seer} was with {s} and {t}.", "It was not {s}, and it was not {t}.", "{span2}, {s} {did} with {t}.", "{s} said that {t} {did}, and {t} said the same of {s}."],
    "aside": ["The window was open.", "It was a {weather} {daytime}.", "Near the door lay a {look} {noun}.", "Somebody had left {food} on the floor.", "", "", "", "", "", ""],
    "end": ["Only one was left, so the culprit was", "There was nobody else, so the culprit was", "That left only one name, so the culprit was",
            "The other two were free, so the culprit was", "Two could not have done it, so the culprit was", "The {kind} thought about it, so the culprit was",
            "Now it was clear, so the culprit was", "The third one was silent, so the culprit was"],
    "after": ["{w} said sorry and gave the {loot} back.", "\"I am sorry,\" said {w}. \"I was hungry.\"", "{w} turned red and told the truth.",
              "{w} cried, and everyone forgave {wo}.", "They all had tea, and {w} washed the cups.", "", ""],
}
DID = ("slept|sang|worked|played|read a book|swam|danced|waited|cooked {food}|painted|ate {food}|talked|drew a {noun}|washed a {noun}|built a {noun}|"
       "looked for {flower}|planted {flower}|bought {food}|carried a {noun}|told stories|counted stars").split("|")
SPOT = ["at {place}", "near {place}", "with the {kind}", "with the {old_helper}", "{under} {furniture}", "on the way to {place}", "behind {place}", "by the {tree} tree"]
SPAN = ["all {daytime}", "until the evening", "the whole {daytime}", "from {weekday} to {weekday}", "all the time", "in {season}", "since {weekday}"]
SPAN2 = ["All {daytime}", "The whole {daytime}", "On {weekday}", "At that time", "All the time", "In the {daytime}"]
SEER = ["The {kind}", "The {old_helper}", "Everybody", "A friend", "Somebody", "A {trait} {kind}", "My {old_helper}", "The {trait} {old_helper}"]
HELD = {
    "crime": ["Somebody has been to {place}, and the {loot} is not there now.", "Where did the {loot} go? Nobody at {place} knew.",
              "The {kind} looked for the {loot}, but a thief had it."],
    "people": ["Three were asked: {a}, {b} and {c}.", "{a}, {b} and {c} had all seen the {loot}.", "The names of the three were {a}, {b} and {c}."],
    "clear": ["That {daytime}, {s} was in bed, ill.", "They all knew that {s} was far away.", "{s} was in the old library for {count} hours.",
              "Everyone could hear {s} sing at {place}.", "The {kind} and {s} had some {food} at {place}."],
    "both": ["At {place}, {s} and {t} had some {food}.", "They all saw that {s} and {t} were asleep."],
    "aside": ["Under the table lay a {noun}.", "", ""],
    "end": ["One name was left over, so the culprit was", "Who else was there? Nobody, so the culprit was"],
    "after": [""],
}
FRAMES = {"train": TRAIN, "held": HELD}
# Sentences of the training stories serve as alibis too, so that the rule is learnt and not the wording.
_BEATS = [f for beats in stories.PLOTS.values() for beat in beats for f in beat] + stories.SCENERY
ALONE = [f for f in _BEATS if "{N}" in f and "{F}" not in f]
TOGETHER = [f for f in _BEATS if "{N}" in f and "{F}" in f]
NOBODY = [f for f in stories.SCENERY if not any(w in f for w in ("{N}", "{F}", "{he}", "{him}", "{his}", "{himself}"))]


def borrowed(rng: random.Random, first: str, second: str | None = None) -> str:
    """A sentence of a training story about one or two suspects."""
    hero = person(rng, name=first)
    friend = person(rng, name=second) if second else None
    return expand(rng.choice(TOGETHER if second else ALONE), scene(rng, hero, friend), rng)


def mystery(rng: random.Random, split: str) -> tuple[str, str, str]:
    """(text up to "so the culprit was", " NAME", closing text)."""
    frames = FRAMES[split]
    who = rng.sample(GIRLS + BOYS, 3)
    guilty = rng.randrange(3)
    acts = [a for _, acts, _ in KINDS.values() for a in acts if "its" not in a]
    base = {"loot": rng.choice(LOOT), "kind": list(KINDS), "acts": acts,
            "a": who[0], "b": who[1], "c": who[2], "w": who[guilty], "wo": "her" if who[guilty] in GIRLS else "him"}

    if split == "train":
        base |= {"did": DID, "spot": SPOT, "span": SPAN, "span2": SPAN2, "seer": SEER, "seer2": [w[0].lower() + w[1:] for w in SEER]}

    def say(key: str, **more: str) -> str:
        return expand(rng.choice(frames[key]), {**base, **more}, rng)

    free = [n for i, n in enumerate(who) if i != guilty]
    rng.shuffle(free)
    parts = [say("crime"), say("people"), say("aside")]
    lend = split == "train" and rng.random() < 0.4
    if rng.random() < 0.25:
        parts.append(borrowed(rng, *free) if lend else say("both", s=free[0], t=free[1]))
    else:
        parts += [borrowed(rng, n) if lend and rng.random() < 0.7 else say("clear", s=n) for n in free]
    if lend and rng.random() < 0.4:
        parts[rng.choice([0, 2])] = expand(rng.choice(NOBODY), base, rng)
    return tidy(" ".join([*parts, say("end")])), f" {who[guilty]}", (". " + tidy(say("after"))).rstrip()
