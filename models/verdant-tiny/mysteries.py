"""Small mysteries: three suspects, each with one thing of their own; the clue repeats the culprit's, or clears the others."""

import random

from words import BOYS, GIRLS, KINDS, LEX, PLACES, expand, tidy

LOOT = ("honey|cake|golden ring|silver bell|pie|old map|jam|cheese|magic lamp|biscuits|red kite|crown|key to the tower|last pear|"
        "teapot|big drum|letter|coin jar|blue vase|bread|pearl|music box|birthday cake|painting|clock|book of songs").split("|")
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
        "The one with the {x} was {s}.", "A {x} belonged to {s}.", "{s} came with a {x} [that {daytime}|in the {daytime}|].",
        "{s} was proud of {sp} {x}.", "The {x} was {s}'s.", "{s}, a {trait} {kind}, had a {x}.", "As always, {s} had a {x} and some {food}.",
        "\"I never go out without my {x},\" said {s}.", "\"This {x} is mine,\" {s} said.", "{s} bought a {x} at {place}.",
        "Everybody knew {s}'s {x}.", "You could see {s} from far away with the {x}.", "{s} liked {food} and had a {x}.",
    ],
    "list": ["{a} had a {x}, {b} had a {y}, and {c} had a {z}.", "{a} wore a {x}; {b} wore a {y}; {c} wore a {z}.",
             "The {x} was {a}'s, the {y} was {b}'s, and the {z} was {c}'s.", "{a} came with a {x}, {b} with a {y} and {c} with a {z}.",
             "{a} carried a {x} and {b} carried a {y}, but {c} carried a {z}."],
    "clue": ["A {w} [lay|was] [on the floor|near the door|under the table|in the grass|by the window].", "Near {place}, {helper} found a {w}.",
             "Beside the empty [box|plate|shelf] there was a {w}.", "\"I saw someone with a {w},\" said the {kind}.", "The thief had lost a {w}.",
             "The {old_helper} had seen a {w} in the [window|garden|dark].", "In the mud there was a {w}.", "A bird saw the thief run away with a {w}."],
    "end": ["That was the clue, so the culprit was", "Now it was clear, so the culprit was", "Everyone looked at it, so the culprit was",
            "{helper} thought about it, so the culprit was", "The clue was easy to read, so the culprit was", "Nobody else had one, so the culprit was"],
    "at": ["{s} was at {x}.", "{s} [spent|stayed] the whole {daytime} at {x}.", "At {x} was {s}.", "{s} the {kind} was playing at {x}.", "The {kind} saw {s} at {x}.",
           "{s} went to {x} with some {food}.", "\"I was at {x},\" said {s}.", "{s} slept at {x} [all night|all {daytime}].", "{s} walked to {x}."],
    "where": ["The {loot} had been at {w}.", "Someone took it from {w}.", "The thief had been at {w}.", "It was stolen at {w}.", "The empty box was found at {w}."],
    "clear": ["{s} was asleep [all {daytime}|in bed|].", "{s} was at {place} with the {old_helper}.", "{s} had a broken leg and could not walk.", "{s} did not do it.",
              "It was not {s}.", "{s} was ill in bed.", "The {kind} had been with {s} all {daytime}.", "{s} told the truth.", "{s} did not like {food} and went home early.",
              "Nobody thought that {s} did it, because {s} was far away."],
    "left": ["Only one was left, so the culprit was", "There was nobody else, so the culprit was", "That left only one name, so the culprit was",
             "The other two were free, so the culprit was"],
    "after": ["{w} said sorry and gave the {loot} back.", "\"I am sorry,\" said {w}. \"I was hungry.\"", "{w} turned red and told the truth.",
              "{w} cried, and everyone forgave {wo}.", "They all had tea, and {w} washed the cups.", "", ""],
}
HELD = {
    "crime": ["Somebody has been to {place}, and there is no {loot} now.", "Where did the {loot} go? Nobody at {place} knew.",
              "The {kind} looked for the {loot}, but a thief had it."],
    "people": [""],
    "has": ["{s} [walked around|went home|was seen] with a {x}.", "That {daytime}, {s} had a {x} and a friend.", "\"Look at my {x}!\" said {s}.",
            "{s} found a {x} and kept it.", "A {x} was what {s} liked."],
    "list": ["{a} brought a {x}, {b} a {y}, {c} a {z}."],
    "clue": ["By the wall, {helper} saw a {w}.", "Whoever took it had a {w}.", "There, where it had been, lay a {w}."],
    "end": ["All of them saw what that meant, so the culprit was", "\"I know it now!\" said {helper}, so the culprit was"],
    "at": ["{s} played at {x} that {daytime}.", "They saw {s} walk around at {x}.", "{s} had some {food} at {x}."],
    "where": ["At {w}, the thief took it.", "The place of the theft was {w}."],
    "clear": ["{s} could not have done it.", "That {daytime}, {s} was in bed, ill.", "They all knew that {s} was far away."],
    "left": ["One name was left over, so the culprit was", "Who else was there? Nobody, so the culprit was"],
    "after": [""],
}
FRAMES = {"train": TRAIN, "held": HELD}


def mystery(rng: random.Random, split: str) -> tuple[str, str, str]:
    """(text up to "so the culprit was", " NAME", closing text). The three logics: own thing, own place, the one not cleared."""
    frames = FRAMES[split]
    who = rng.sample(GIRLS + BOYS, 3)
    logic = rng.choices(["thing", "place", "clear"], [5, 3, 2])[0]
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
    if logic == "clear":
        if not parts[1]:
            parts[1] = expand(rng.choice(PEOPLE_CLEAR[split]), base, rng)
        others = [n for i, n in enumerate(who) if i != guilty]
        rng.shuffle(others)
        parts += [say("clear", s=n) for n in others] + [say("left")]
    else:
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


PEOPLE_CLEAR = {
    "train": ["There were three suspects: {a}, {b} and {c}.", "Only {a}, {b} and {c} had been there.", "It could be {a}, {b} or {c}.",
              "The thief was {a}, {b} or {c}.", "{a}, {b} and {c} lived near {place}."],
    "held": ["Three were asked: {a}, {b} and {c}.", "{a}, {b} and {c} had all seen the {loot}."],
}


def _things(rng: random.Random) -> list[str]:
    """Three things, different in noun, and in colour where they have one."""
    nouns, colours = rng.sample(THINGS, 3), rng.sample(COLOURS, 3)
    return [f"{c} {n}" for c, n in zip(colours, nouns)] if rng.random() < 0.6 else nouns
