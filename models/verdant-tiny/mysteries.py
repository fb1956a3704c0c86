"""Small mysteries: three suspects, each with one thing of their own, or a place; the clue repeats the culprit's."""

import random

from words import BOYS, GIRLS, KINDS, LEX, PLACES, expand, tidy

LOOT = ("honey|cake|golden ring|silver bell|pie|old map|jam|cheese|magic lamp|jar of biscuits|picture|crown|key to the tower|last pear|"
        "teapot|old violin|letter|coin jar|blue vase|bread|pearl|music box|birthday cake|painting|clock|diary").split("|")
THINGS = ("scarf hat coat glove ribbon apron belt umbrella basket kite lantern drum flute bag book ball feather button blanket cup "
          "rope spoon bottle whistle").split()
COLOURS = LEX["colour"]

TRAIN = {
    "crime": [
        "Who took the {loot}?", "Someone had stolen the {loot} from {place}.", "The {loot} was gone!", "One {daytime}, the {loot} was missing.",
        "On {weekday}, somebody took the {loot} from {place}.", "Whoever took the {loot} from {place} must bring it back.", "Why was the {loot} not there?", "\"Help! My {loot} is gone!\" cried the {kind}.",
        "There was a theft at {place}, and whoever did it took the {loot}.", "There was a thief at {place}. The {loot} was not there any more.", "At {place}, in the {weather} {daytime}, somebody hid the {loot}.",
        "The {old_helper} wanted to eat, but the {loot} had been stolen.", "It was a mystery: who had taken the {loot}?",
    ],
    "people": ["There were three suspects: {a}, {b} and {c}.", "Only {a}, {b} and {c} had been there.", "Three friends were near: {a}, {b} and {c}.",
               "It could be {a}, {b} or {c}.", "", "", "", "", ""],
    "has": [  # one sentence for each suspect
        "{s} [had|wore|owned|carried|liked|used|held|kept] a {x}.", "{s} the {kind} [had|carried|owned|brought|always wore] a {x}.",
        "{s} came with a {x} [that {daytime}|in the {daytime}|].", "{s} was proud of {sp} {x}.", "{s}, a {trait} {kind}, had a {x}.",
        "As always, {s} had a {x} and some {food}.", "{s} bought a {x} at {place}.", "Everybody knew {s}'s {x}.",
        "You could see {s} from far away with the {x}.", "{s} liked {food} and had a {x}.", "{s} never went out without a {x}.",
        "There was {s} with a {x}.", "{s} said, \"I love my {x}.\"", "Then came {s}, who held a {x} and smiled.",
    ],
    "list": ["{a} had a {x}, {b} had a {y}, and {c} had a {z}.", "{a} wore a {x}; {b} wore a {y}; {c} wore a {z}.",
             "{a} came with a {x}, {b} with a {y} and {c} with a {z}.", "{a} carried a {x} and {b} carried a {y}, but {c} carried a {z}."],
    "clue": ["A {w} [lay|was] [on the floor|near the door|under the table|in the grass|by the window].", "Near {place}, {helper} found a {w}.",
             "Beside the empty [box|plate|shelf] there was a {w}.", "\"I saw someone with a {w},\" said the {kind}.", "The thief had lost a {w}.",
             "The {old_helper} had seen a {w} in the [window|garden|dark].", "In the mud there was a {w}.", "A bird saw the thief run away with a {w}."],
    "end": ["That was the clue, so the culprit was", "Now it was clear, so the culprit was", "Everyone looked at it, so the culprit was",
            "{helper} thought about it, so the culprit was", "The clue was easy to read, so the culprit was", "Nobody else had one, so the culprit was"],
    "at": ["{s} was at {x}.", "{s} [spent|stayed] the whole {daytime} at {x}.", "{s} the {kind} was playing at {x}.", "The {kind} saw {s} at {x}.",
           "{s} went to {x} with some {food}.", "{s} slept at {x} [all night|all {daytime}].", "{s} walked to {x}."],
    "where": ["The {loot} had been at {w}.", "Someone took it from {w}.", "The thief had been at {w}.", "It was stolen at {w}.", "The empty box was found at {w}."],
    "after": ["{w} said sorry and gave the {loot} back.", "\"I am sorry,\" said {w}. \"I was hungry.\"", "{w} turned red and told the truth.",
              "{w} cried, and everyone forgave {wo}.", "They all had tea, and {w} washed the cups.", "", ""],
}
HELD = {
    "crime": ["Somebody has been to {place}, and there is no {loot} now.", "Where did the {loot} go? Nobody at {place} knew.",
              "The {kind} looked for the {loot}, but a thief had it."],
    "people": [""],
    "has": ["{s} [walked around|went home|was seen] with a {x}.", "That {daytime}, {s} had a {x} and a friend.", "{s} found a {x} and kept it."],
    "list": ["{a} brought a {x}, {b} a {y}, {c} a {z}."],
    "clue": ["By the wall, {helper} saw a {w}.", "Whoever took it had a {w}.", "There, where it had been, lay a {w}."],
    "end": ["All of them saw what that meant, so the culprit was", "\"I know it now!\" said {helper}, so the culprit was"],
    "at": ["{s} played at {x} that {daytime}.", "They saw {s} walk around at {x}.", "{s} had some {food} at {x}."],
    "where": ["At {w}, the thief took it.", "The place of the theft was {w}."],
    "after": [""],
}
FRAMES = {"train": TRAIN, "held": HELD}


def mystery(rng: random.Random, split: str) -> tuple[str, str, str]:
    """(text up to "so the culprit was", " NAME", closing text). Own thing, or own place."""
    frames = FRAMES[split]
    who = rng.sample(GIRLS + BOYS, 3)
    logic = rng.choice(["thing", "thing", "thing", "place"])
    guilty = rng.randrange(3)
    helper = rng.choice(LEX["old_helper"] if rng.random() < 0.3 else list(KINDS))
    base = {"loot": rng.choice(LOOT), "helper": f"the {helper}", "kind": list(KINDS),
            "a": who[0], "b": who[1], "c": who[2], "w": who[guilty],
            "wo": "her" if who[guilty] in GIRLS else "him"}

    own = _things(rng) if logic == "thing" else rng.sample(PLACES, 3)
    if logic == "place":
        base["place"] = own[guilty]  # where it was taken from is the clue itself

    def say(key: str, **more: str) -> str:
        return expand(rng.choice(frames[key]), {**base, **more}, rng)

    parts = [say("crime"), say("people")]
    if logic == "thing" and rng.random() < 0.25:
        parts.append(say("list", x=own[0], y=own[1], z=own[2]))
    else:
        order = rng.sample(range(3), 3)
        one_frame = rng.random() < 0.4
        frame = rng.choice(frames["has" if logic == "thing" else "at"])
        for i in order:
            template = frame if one_frame else rng.choice(frames["has" if logic == "thing" else "at"])
            more = {"s": who[i], "x": own[i], "sp": "her" if who[i] in GIRLS else "his"}
            parts.append(expand(template, {**base, **more}, rng))
    parts += [say("clue" if logic == "thing" else "where", w=own[guilty]), say("end")]
    return tidy(" ".join(parts)), f" {who[guilty]}", (". " + tidy(say("after"))).rstrip()


def _things(rng: random.Random) -> list[str]:
    """Three things, different in noun, and in colour where they have one."""
    nouns, colours = rng.sample(THINGS, 3), rng.sample(COLOURS, 3)
    return [f"{c} {n}" for c, n in zip(colours, nouns)] if rng.random() < 0.6 else nouns
