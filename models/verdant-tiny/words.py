"""Word lists and the template expander shared by every generator of the corpus."""

import random
import re

GIRLS = "Anna Clara Daisy Ella Fern Grace Ivy Lily Luna Mia Nora Poppy Ruby Tess Willa Zoe".split()
BOYS = "Arlo Ben Felix Finn George Hugo Jack Leo Max Milo Noah Oscar Rufus Sam Theo Toby".split()
GENDER = {**{n: "f" for n in GIRLS}, **{n: "m" for n in BOYS}}

# kind: (home, things it is seen doing, favourite food)
KINDS = {
    "mole": ("a burrow under the hill", ["dug a long tunnel", "dug a deep hole", "pushed up a heap of earth"], "worms"),
    "fox": ("a den in the woods", ["trotted along the hedge", "sniffed the air", "curled up in the sun"], "berries"),
    "rabbit": ("a burrow in the meadow", ["hopped over a log", "nibbled some clover", "twitched its nose"], "carrots"),
    "owl": ("an old oak tree", ["blinked in the light", "turned its round head", "sat on a branch"], "nuts"),
    "mouse": ("a hole in the wall", ["ran across the floor", "peeped out of a crack", "gnawed a crust"], "cheese"),
    "bear": ("a cave in the hills", ["rolled down the slope", "licked its paw", "yawned a huge yawn"], "honey"),
    "frog": ("a pond full of lilies", ["jumped from leaf to leaf", "sat on a wet stone", "splashed in the mud"], "flies"),
    "duck": ("a nest in the reeds", ["paddled around the pond", "shook its feathers", "waddled up the bank"], "bread"),
    "squirrel": ("a hollow in a tall tree", ["climbed a tall tree", "buried an acorn", "leapt between branches"], "acorns"),
    "hedgehog": ("a pile of dry leaves", ["rolled into a ball", "shuffled through the leaves", "sniffed a mushroom"], "apples"),
    "badger": ("a sett below the roots", ["swept the path", "scratched at the soil", "padded through the dark"], "roots"),
    "turtle": ("a shell by the lake", ["walked very slowly", "pulled in its head", "rested on a warm rock"], "lettuce"),
    "cat": ("a basket by the stove", ["washed its whiskers", "stretched on the rug", "chased a leaf"], "fish"),
    "dog": ("a kennel in the yard", ["wagged its tail", "dug up a bone", "barked at the moon"], "bones"),
    "goat": ("a barn on the mountain", ["jumped over a wall", "chewed some grass", "climbed on the roof"], "hay"),
    "otter": ("a bank near the river", ["slid down the bank", "floated on its back", "dived for a shell"], "fish"),
    "beaver": ("a lodge in the stream", ["carried a stick", "slapped its tail", "cut down a branch"], "bark"),
    "robin": ("a nest in the hedge", ["sang on the gate", "hopped in the snow", "flew over the garden"], "seeds"),
    "girl": ("a small house by the sea", ["drew a picture", "skipped down the lane", "hummed a tune"], "pancakes"),
    "boy": ("a cottage near the mill", ["kicked a ball", "ran down the hill", "whistled a tune"], "soup"),
}
ANIMALS = [k for k in KINDS if k not in ("girl", "boy")]
TRAITS = (
    "brave shy kind clever curious gentle cheerful quiet careful lively patient lazy proud friendly sleepy "
    "messy stubborn honest playful busy dreamy polite grumpy hopeful"
).split()
SIZES = "little small tiny young big tall round old".split()
PLACES = (
    "the river|the meadow|the old bridge|the market|the beach|the barn|the orchard|the pond|the mill|the hill|the garden|"
    "the village|the library|the windmill|the harbour|the forest|the waterfall|the school|the bakery|the park|the tower|"
    "the cave|the stream|the lighthouse|the farm|the field|the island|the castle|the station|the well"
).split("|")
COLOURS = "red blue green yellow white black brown pink orange purple grey silver golden".split()
NOUNS = (
    "kite ball drum bell lamp hat scarf key ribbon whistle boat button basket book map ring spoon cup coin "
    "flute mirror box umbrella blanket feather pebble shell lantern marble puppet teapot pencil rope bottle jar clock "
    "wagon doll pillow brush bucket"
).split()
LOOKS = "shiny|soft|wooden|tiny|old|pretty|heavy|striped|lovely|round|bright|smooth|dusty|new|strange|broken|painted".split("|")

LEX: dict[str, list[str]] = {
    "place": PLACES,
    "colour": COLOURS,
    "noun": NOUNS,
    "look": LOOKS,
    "trait": TRAITS,
    "size": SIZES,
    "daytime": "morning|afternoon|evening|day".split("|"),
    "weather": "sunny|windy|rainy|cloudy|cold|warm|foggy|snowy|bright|grey|quiet|hot|frosty|stormy|mild".split("|"),
    "season": "spring|summer|autumn|winter".split("|"),
    "happy": "happy|glad|proud|cheerful|delighted|pleased|joyful".split("|"),
    "sad": "sad|upset|worried|lonely|unhappy|gloomy".split("|"),
    "afraid": "afraid|scared|frightened|nervous".split("|"),
    "softly": "softly|quietly|gently|kindly|shyly|slowly|politely".split("|"),
    "loudly": "loudly|proudly|happily|cheerfully|quickly|merrily".split("|"),
    "food": "bread|soup|honey|cake|apples|berries|cheese|nuts|pancakes|plums|porridge|jam|pie|biscuits|pears|carrots".split("|"),
    "smell": "rain|roses|fresh bread|pine|salt|wet leaves|mint|smoke|apples|hay|honey|snow".split("|"),
    "sound": "an owl|a bell|the sea|a drum|the rain|a cricket|a dog|the wind|a song|a clock|a frog".split("|"),
    "flower": "roses|daisies|tulips|poppies|violets|bluebells|lilies|sunflowers".split("|"),
    "tree": "oak|pine|willow|apple|birch|cherry|maple|beech".split("|"),
    "under": "under|behind|beside|next to|near|inside".split("|"),
    "furniture": "the bed|a chair|the stove|a box|the door|the stairs|the bench|a big stone|the gate|the hedge|a bush|the table".split("|"),
    "count": "two|three|four|five|six|seven|ten".split("|"),
    "old_helper": "grandmother|grandfather|aunt|uncle|teacher|neighbour".split("|"),
    "weekday": "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday".split("|"),
}

PRONOUNS = {"m": ("he", "him", "his", "himself"), "f": ("she", "her", "her", "herself")}
_ALT = re.compile(r"\[([^\[\]{}]*(?:\{\w+\}[^\[\]{}]*)*)\]")
# a lower-case letter at the start, after a full stop, or after a quote that opens a sentence
_START = re.compile(r"(^\"?|[.!?] \"?|[.!?]\" \"|: \")([a-z])")
_SLOT = re.compile(r"\{(\w+)\}")


def expand(template: str, ctx: dict, rng: random.Random) -> str:
    """Chooses among `[a|b]`, innermost first, and fills `{slot}` from ctx, then from LEX."""
    text = template
    while "[" in text:
        text = _ALT.sub(lambda m: rng.choice(m.group(1).split("|")), text)
    while "{" in text:
        text = _SLOT.sub(lambda m: _fill(m.group(1), ctx, rng), text)
    return text


def _fill(key: str, ctx: dict, rng: random.Random) -> str:
    if key in ctx:
        value = ctx[key]
        return value if isinstance(value, str) else rng.choice(value)
    if key in LEX:
        return rng.choice(LEX[key])
    if key.lower() in ctx:
        return ctx[key.lower()].capitalize()
    raise KeyError(key)


def tidy(text: str) -> str:
    """a/an, single spaces, a capital at every sentence start and after an opening quote."""
    text = re.sub(r" (?=[.,!?])", "", re.sub(r"\s+", " ", text)).strip()
    text = re.sub(r"\b([Aa]) (?=(?!uni|use|one)[aeiouAEIOU]|honest|hour)", r"\1n ", text)
    text = _START.sub(lambda m: m.group(1) + m.group(2).upper(), text)
    return text


def person(rng: random.Random, prefix: str = "", kind: str | None = None, other: dict | None = None, name: str | None = None) -> dict:
    """Context of one character: N, he, him, his, himself, kind, home; with `prefix` for a second one, `name` for a known one."""
    kind = kind or rng.choice(ANIMALS if name else list(KINDS))
    if name:
        gender = GENDER[name]
    elif kind in ("girl", "boy"):
        gender = "f" if kind == "girl" else "m"
    elif other and rng.random() < 0.8:
        gender = "m" if other["gender"] == "f" else "f"
    else:
        gender = rng.choice("mf")
    names = [n for n in (GIRLS if gender == "f" else BOYS) if not other or n != other["N"]]
    he, him, his, himself = PRONOUNS[gender]
    home, acts, eats = KINDS[kind]
    own = {p: a for p, a in zip(("home", "act", "eats"), (home, [a.replace("its", his) for a in acts], eats))}
    fields = {"N": name or rng.choice(names), "he": he, "him": him, "his": his, "himself": himself, "kind": kind,
              "gender": gender, **own}
    return {prefix + k: v for k, v in fields.items()}
