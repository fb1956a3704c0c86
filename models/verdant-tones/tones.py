"""Letters as tones: each letter has a pitch of its own, words are apart by a rest. A text and a seed give a sound."""

import math
from random import Random

import numpy
import torch

RATE = 16000
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
VOCAB = ["<pad>", "<s>", "</s>", "<unk>", "|", *LETTERS]
STEP, MASK = 0x6D2B79F5, 0xFFFFFFFF


def mulberry(state: numpy.ndarray) -> numpy.ndarray:
    """Uniform in [0, 1) from counters (mulberry32)."""
    s = state.astype(numpy.uint64) & MASK
    t = (s ^ (s >> 15)) * (s | 1) & MASK
    t ^= (t + ((t ^ (t >> 7)) * (t | 61) & MASK)) & MASK
    return (t ^ (t >> 14)) / 2.0**32


class Draws:
    """Uniform numbers one after another."""

    def __init__(self, seed: int) -> None:
        self.state = seed

    def uniform(self, least: float, most: float) -> float:
        self.state = (self.state + STEP) & MASK
        return least + (most - least) * float(mulberry(numpy.array(self.state)))


def pitch(letter: str) -> float:
    """A is 400 Hz; every eighth letter is an octave higher."""
    return 400 * 2 ** (LETTERS.index(letter) / 8)


def tone(draws: Draws, letter: str) -> numpy.ndarray:
    """70 to 130 ms of a pitch within 0.5 %, with a little of its octave, faded in and out over 8 ms."""
    samples = int(RATE * draws.uniform(0.07, 0.13))
    turns = pitch(letter) * draws.uniform(0.995, 1.005) / RATE
    phase, gain, octave = draws.uniform(0, 2 * math.pi), draws.uniform(0.3, 1), draws.uniform(0, 0.2)
    at = numpy.arange(samples)
    angle = 2 * math.pi * turns * at + phase
    fade = numpy.minimum(1, at / (0.008 * RATE)) * numpy.minimum(1, (samples - 1 - at) / (0.008 * RATE))
    return gain * fade * (numpy.sin(angle) + octave * numpy.sin(2 * angle))


def rest(draws: Draws, least: float, most: float) -> numpy.ndarray:
    return numpy.zeros(int(RATE * draws.uniform(least, most)))


def sound(text: str, seed: int) -> torch.Tensor:
    """Samples in (-1, 1): 15 to 40 ms between letters, 180 to 250 ms between words, noise over all."""
    draws = Draws(seed)
    parts = [rest(draws, 0.02, 0.1)]
    for letter in text:
        parts += [rest(draws, 0.165, 0.21)] if letter == " " else [tone(draws, letter), rest(draws, 0.015, 0.04)]
    clean = numpy.concatenate([*parts, rest(draws, 0.02, 0.1)])
    level = draws.uniform(0.005, 0.05)
    noise = 2 * mulberry(draws.state + STEP * numpy.arange(1, len(clean) + 1, dtype=numpy.uint64)) - 1
    return torch.from_numpy((0.5 * (clean + level * noise)).astype(numpy.float32))


def text(rng: Random, letters: int) -> str:
    """Random words of up to six letters, between half of `letters` and all of them."""
    left, words = rng.randint(max(1, letters // 2), letters), []
    while left > 0:
        word = min(left, rng.randint(1, 6))
        words.append("".join(rng.choice(LETTERS) for _ in range(word)))
        left -= word
    return " ".join(words)


def normalised(samples: torch.Tensor) -> torch.Tensor:
    """Zero mean and unit variance, as the feature extractor does it."""
    return (samples - samples.mean()) / torch.sqrt(samples.var(unbiased=False) + 1e-7)
