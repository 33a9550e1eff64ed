"""What captioned digits can look like, and the ways to say it. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Ink:
    """A colour to write with: sRGB, and words for it that read both as adjective and as noun."""

    name: str
    rgb: tuple[int, int, int]
    words: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What is written on: a colour, or a photograph of scikit-learn's; and the inks that stand out from it."""

    name: str
    words: tuple[str, ...]
    """Noun phrases."""
    inks: tuple[str, ...]
    rgb: tuple[int, int, int] | None = None
    photo: str | None = None
    box: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Part of the photograph that patches are cut from: left, top, right, bottom in pixels."""
    fade: float = 0.0
    """How far the photograph is bleached towards white."""


@dataclass(frozen=True, kw_only=True)
class Stroke:
    """A stroke weight: how wide the strokes are, in parts of the writing's height, and words for it."""

    name: str
    width: float
    adjectives: tuple[str, ...]
    nouns: tuple[str, ...]


DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

INKS = (
    Ink(name="black", rgb=(12, 12, 16), words=("black", "jet black", "ink black")),
    Ink(name="white", rgb=(248, 248, 248), words=("white", "snow white", "chalk white")),
    Ink(name="red", rgb=(214, 24, 36), words=("red", "crimson", "scarlet")),
    Ink(name="green", rgb=(16, 140, 48), words=("green", "emerald", "leaf green")),
    Ink(name="blue", rgb=(20, 76, 228), words=("blue", "royal blue", "cobalt")),
    Ink(name="yellow", rgb=(252, 216, 28), words=("yellow", "golden", "lemon yellow")),
    Ink(name="purple", rgb=(146, 28, 156), words=("purple", "violet", "plum")),
)

# fmt: off
GROUNDS = (
    Ground(name="black", rgb=(16, 16, 20), words=("black", "a black ground", "plain black"),
           inks=("white", "red", "green", "blue", "yellow", "purple")),
    Ground(name="white", rgb=(246, 246, 246), words=("white", "white paper", "a white page"),
           inks=("black", "red", "green", "blue", "yellow", "purple")),
    Ground(name="grey", rgb=(128, 128, 128), words=("grey", "gray", "a grey wall"),
           inks=("black", "red", "green", "blue", "yellow", "purple")),
    Ground(name="light blue", rgb=(160, 208, 242), words=("pale blue", "light blue", "a sky-blue background"),
           inks=("black", "red", "green", "blue", "yellow", "purple")),
    Ground(name="pink", rgb=(248, 184, 204), words=("pink", "pale pink", "a pink background"),
           inks=("black", "red", "green", "blue", "yellow", "purple")),
    Ground(name="brown", rgb=(104, 66, 38), words=("brown", "a brown ground", "brown cardboard"),
           inks=("white", "red", "green", "blue", "yellow", "purple")),
    Ground(name="flower", photo="flower.jpg", box=(201, 111, 411, 321),
           words=("a photograph of a flower", "dahlia petals", "an orange flower"),
           inks=("black", "white", "green", "blue", "purple")),
    Ground(name="temple", photo="china.jpg", box=(84, 100, 330, 390), fade=0.45,
           words=("a photograph of a temple", "a pagoda", "temple roofs"),
           inks=("black", "red", "green", "blue", "purple")),
)
# fmt: on

STROKES = (
    Stroke(
        name="thin",
        width=0.105,
        adjectives=("thin", "fine", "slender"),
        nouns=("thin strokes", "fine lines", "slender strokes"),
    ),
    Stroke(
        name="medium",
        width=0.15,
        adjectives=("medium", "regular", "medium-weight"),
        nouns=("medium strokes", "regular lines", "strokes of medium weight"),
    ),
    Stroke(
        name="thick",
        width=0.2,
        adjectives=("thick", "bold", "heavy"),
        nouns=("thick strokes", "bold lines", "heavy strokes"),
    ),
)

# s: stroke as adjective; S: as noun; i: ink; d: digit, as a word or a figure; g: ground
SEEN = (
    "a {s} {i} {d} on {g}",
    "a {s} {i} {d} on {g}",
    "{s} {i} {d} on {g}",
    "the digit {d}, {S}, {i}, against {g}",
    "a {i} {d} with {S} on {g}",
    "{d} in {i} with {S} on {g}",
    "on {g}, a {s} {i} {d}",
    "{g} behind a {s} {i} {d}",
    "the number {d}, {i} ink, {S}, over {g}",
    "a {s} {d} drawn in {i} on {g}",
    "{i} {d}, {S}, {g}",
    "a {d} written in {i} in {S}, background: {g}",
)
"""Sentences of the training captions."""

UNSEEN = (
    "somebody wrote a {s} {i} {d} across {g}",
    "a {d}, {s} and {i}, in front of {g}",
    "{S} make up this {i} {d} upon {g}",
    "handwritten {d}: {i}, {S}; ground: {g}",
    "this is {g} with a {s} {i} {d} on it",
)
"""Sentences that stand only in held-out captions."""


def caption(
    digit: int, ink: int, ground: int, stroke: int, *, templates: Sequence[str], pick: Callable[[int], int]
) -> str:
    """A sentence that says all four attributes. `pick(n)` draws a number below n."""

    def one(words: Sequence[str]) -> str:
        return words[pick(len(words))]

    text = one(templates).format(
        s=one(STROKES[stroke].adjectives),
        S=one(STROKES[stroke].nouns),
        i=one(INKS[ink].words),
        d=one((DIGITS[digit], DIGITS[digit], str(digit))),
        g=one(GROUNDS[ground].words),
    )
    return re.sub(r"\ba (?=8|[aeiou](?!ne\b))", "an ", text)


def allowed() -> list[tuple[int, int]]:
    """(ink, ground) pairs in which the ink stands out."""
    names = [ink.name for ink in INKS]
    return [(names.index(ink), index) for index, ground in enumerate(GROUNDS) for ink in ground.inks]


def held_out(digit: int, ink: int, ground: int) -> bool:
    """Whether this combination stands in no training sample: an eighth of all, of every digit, ink and ground."""
    return (3 * digit + 5 * ink + ground) % 8 == 0
