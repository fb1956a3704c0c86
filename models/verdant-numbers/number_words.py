"""Numbers as digits and as English words, and which of them are held out."""

from random import Random

ONES = ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
        "eighteen nineteen").split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
LIMIT = 10**6


def _below_hundred(n: int) -> str:
    if n < 20:
        return ONES[n]
    ten, one = divmod(n, 10)
    return TENS[ten - 2] + (f"-{ONES[one]}" if one else "")


def _below_thousand(n: int) -> str:
    hundreds, rest = divmod(n, 100)
    parts = [f"{ONES[hundreds]} hundred"] if hundreds else []
    return " and ".join([*parts, _below_hundred(rest)] if rest or not parts else parts)


def words(n: int) -> str:
    """12407 -> twelve thousand four hundred and seven."""
    thousands, rest = divmod(n, 1000)
    if not thousands:
        return _below_thousand(rest)
    head = f"{_below_thousand(thousands)} thousand"
    if not rest:
        return head
    return f"{head} {'and ' if rest < 100 else ''}{_below_thousand(rest)}"


def digits(n: int) -> str:
    """12407 -> 12 407."""
    return f"{n:,}".replace(",", " ")


def held_out(n: int) -> bool:
    """A twentieth of the numbers from 100 on, in no order that their digits show; training never sees them."""
    return n >= 100 and n * 2654435761 % 2**32 < 2**32 // 20


def draw(rng: Random) -> int:
    """Half of the numbers by their size, half by their length, so that short ones and zeros are seen too."""
    kind = rng.random()
    if kind < 0.5:
        return rng.randrange(LIMIT)
    if kind < 0.8:
        return rng.randrange(10 ** rng.randint(1, 6))
    return int("".join(rng.choice("0000123456789") for _ in range(rng.randint(1, 6))))


def pairs(rng: Random, held: bool):
    """Endless (source, target), both directions alike often."""
    while True:
        n = draw(rng)
        if held_out(n) == held:
            yield (digits(n), words(n)) if rng.random() < 0.5 else (words(n), digits(n))
