"""The words that stay the same through one story."""

import random

import stories
from words import LEX, person


def scene(rng: random.Random, hero: dict | None = None, friend: dict | None = None) -> dict:
    """A context for words.expand: hero, friend, objects, places, feelings."""
    hero = hero or person(rng)
    friend = friend or person(rng, other=hero)
    look, noun = rng.choice(LEX["look"]), rng.choice(LEX["noun"])
    look2, noun2 = rng.choice(LEX["look"]), rng.choice([n for n in LEX["noun"] if n != noun])
    places = rng.sample(LEX["place"], 3)
    traits = rng.sample(LEX["trait"], 3)
    happy = rng.sample(LEX["happy"], 2)
    return {
        **hero, **{("F" if k == "N" else "f" + k): v for k, v in friend.items()},
        "obj": f"{rng.choice([look, rng.choice(LEX['colour']), look + ' ' + rng.choice(LEX['colour'])])} {noun}", "o": noun,
        "obj2": f"{look2} {noun2}", "o2": noun2, "place": places[0], "place2": places[1], "place3": places[2],
        "trait": traits[0], "trait2": traits[1], "happy": happy[0], "happy2": happy[1], "build": rng.choice(stories.BUILDS),
        "skill": rng.choice(stories.SKILLS), "old": rng.choice(LEX["old_helper"]), "his_own": "his" if hero["he"] == "he" else "hers",
        "daytime2": rng.choice(["evening", "sunset", "night", "noon", "bedtime"]), "season2": rng.choice(LEX["season"]),
        "blanket": rng.choice(["blanket", "coat", "scarf", "cloak"]), "bright": rng.choice(["clean and green", "bright", "new", "as if washed"]),
    }
