"""What a run can be asked with, as controls of a page; and what a page sent, made sure of.

Whatever arrives may have been made up by somebody who never saw the page: each value is of the right type and within
bounds before anything is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import join
from typing import Any, Literal

from PIL import Image

from gankit.data.kinds import kind_of
from gankit.errors import UsageError
from gankit.options.spelling import shown
from gankit.plugin import DataSpec, Key, Variant
from gankit.sampling.conditions import asked_keys
from gankit.sampling.draw import defines
from gankit.sampling.interpolate import TEXT

How = Literal["classes", "texts", "sliders", "numbers", "box", "picture"]

MOST_SAMPLES = 64
MOST_ROWS = 8
MOST_FRAMES = 16
MOST_PIXELS = 2**24
"""Of an image that is translated: more takes minutes in tiles, and `gankit translate` does it."""
MOST_TEXTS = 8
MOST_LETTERS = 4096
SLIDERS = 8
"""Most numbers of a vector that get a slider each."""
REACH = 3.0
"""How far a slider goes to either side: codes are drawn from a normal distribution, or from [-1, 1]."""
LAST_SEED = 2**53 - 1
"""Beyond it a browser's numbers are not exact."""


@dataclass(frozen=True)
class Control:
    """What asks for the key `name`."""

    name: str
    key: Key
    how: How

    @property
    def count(self) -> int:
        """Numbers in a row."""
        return math.prod(self.key.shape)

    @property
    def words(self) -> str:
        """How a value is written."""
        return kind_of(self.key).written or f"{self.count} numbers"


def controls(variant: Variant[Any], spec: DataSpec, produces: str) -> list[Control]:
    """One for each key that `variant` can be asked with to draw `produces`."""
    return [Control(name, key, _how(key)) for name, key in asked_keys(variant, spec, produces).items()]


def _how(key: Key) -> How:
    match key.kind:
        case "class":
            return "classes"
        case "text":
            return "texts"
        case "image" | "mask":
            return "picture"
        case "box" if key.shape == (4,):
            return "box"
        case "vector" if math.prod(key.shape) <= SLIDERS:
            return "sliders"
    return "numbers"


@dataclass(frozen=True)
class Offers:
    """What a run can do beside drawing."""

    source: str
    """The key of the image that it translates; "" if it asks for none, or for several."""
    reconstructs: bool
    between: tuple[Literal["codes", "captions", "images"], ...]
    """What it can go between."""


def offers(variant: Variant[Any], spec: DataSpec, produces: str) -> Offers:
    """As the commands decide it: `gankit translate`, `reconstruct`, `interpolate`."""
    keys = asked_keys(variant, spec, produces)
    images = [name for name, key in keys.items() if key.kind == "image"]
    draws = produces in spec.images
    decodes = defines(variant, "decode")
    encodes = decodes and draws and defines(variant, "encode")
    between: list[Literal["codes", "captions", "images"]] = []
    if decodes and defines(variant, "codes"):
        between.append("codes")
    if TEXT in keys:
        between.append("captions")
    if encodes:
        between.append("images")
    return Offers(images[0] if draws and len(images) == 1 else "", encodes, tuple(between))


def given(controls: Sequence[Control], values: Sequence[Any]) -> dict[str, list[str]]:
    """What is asked for, as ``--given`` writes it, of the `values` of `controls`; what was left empty is left out.

    :class:`UsageError` for what no page sends. Whether a class is there, or a box is one, gankit itself says.
    """
    if len(controls) != len(values):
        raise UsageError("the page is not that of this run any more; load it anew.")
    found = {control.name: _written(control, value) for control, value in zip(controls, values, strict=True)}
    return {name: texts for name, texts in found.items() if texts}


def _written(control: Control, value: Any) -> list[str]:
    name = control.name
    if value is None or value == "" or value == []:
        return []
    if control.how == "sliders":
        return [",".join(f"{_real(name, one):.6g}" for one in _list(name, value, control.count))]
    if control.how == "classes":
        return [_text(name, one) for one in _list(name, value, MOST_SAMPLES)]
    if control.how == "picture":
        return [str(picture(name, value))]
    if control.how == "texts":
        return lines(name, value)
    return [_text(name, value).strip()]


def lines(name: str, value: Any) -> list[str]:
    """The texts in a box of text: one a line."""
    found = [line.strip() for line in _text(name, value).splitlines() if line.strip()]
    if len(found) > MOST_TEXTS:
        raise UsageError(f"{name}: {len(found)} lines; one a text, of {MOST_TEXTS} at most.")
    return found


def _list(name: str, value: Any, most: int) -> list[Any]:
    values = value if isinstance(value, list | tuple) else [value]
    if len(values) > most:
        raise UsageError(f"{name}: {len(values)} values, and it takes {most} at most.")
    return list(values)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{name} {shown(value)}: not a text.")
    if len(value) > MOST_LETTERS:
        raise UsageError(f"{name}: {len(value):,} characters; it takes {MOST_LETTERS:,} at most.")
    return value


def _real(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e6 <= value <= 1e6:  # NaN is in no range
        raise UsageError(f"{name} {shown(value)}: not a number that can be asked for.")
    return float(value)


def whole(name: str, value: Any, low: int, high: int) -> int:
    """`value`, a whole number from `low` to `high`, or a :class:`UsageError` that says so."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high or value != int(value):
        raise UsageError(f"{name} {shown(value)}: must be a whole number from {low:,} to {high:,}.")
    return int(value)


def chosen(name: str, value: Any, known: Sequence[str]) -> str:
    """`value`, one of the `known`."""
    if value not in known:
        raise UsageError(f"{name} {shown(value)}: must be one of {', '.join(known)}.")
    return str(value)


def picture(name: str, value: Any) -> Path:
    """The file of an upload, an image that is not too large. :class:`UsageError` if it is no image that can be read."""
    if not isinstance(value, str) or not value:
        raise UsageError(f"{name}: give an image.")
    path = Path(value)
    try:
        with Image.open(path) as image:
            wide, high = image.size
    except Image.DecompressionBombError:
        raise UsageError(f"{name}: {path.name} has too many pixels for this page.") from None
    except Exception:  # Pillow's readers raise a dozen kinds; what else gankit reads, TIFF of any depth, it says itself
        return path
    if wide * high > MOST_PIXELS:
        raise UsageError(
            f"{name}: {path.name} is {wide:,} x {high:,}; here images have {MOST_PIXELS:,} pixels at most. "
            "gankit translate takes larger ones."
        )
    return path


def command(what: str, run: Path, *arguments: str, **options: Any) -> str:
    """The command line that does the same: options that are None left out, those of a list repeated."""
    words = ["gankit", what, str(run), *arguments]
    for name, value in options.items():
        for one in value if isinstance(value, list) else [value]:
            if one is not None:
                words += [f"--{name.replace('_', '-')}", str(one)]
    return join(words)


def as_options(asked: Mapping[str, Sequence[str]], pictures: Sequence[str] = ()) -> list[str]:
    """Values of ``--given``; of uploaded `pictures` the file's name, since they lie elsewhere on the user's machine."""
    shown = {name: [Path(value).name for value in values] for name, values in asked.items() if name in pictures}
    return [f"{name}={value}" for name, values in {**asked, **shown}.items() for value in values]


__all__ = [
    "LAST_SEED",
    "MOST_FRAMES",
    "MOST_LETTERS",
    "MOST_ROWS",
    "MOST_SAMPLES",
    "REACH",
    "TEXT",
    "Control",
    "Offers",
    "as_options",
    "chosen",
    "command",
    "controls",
    "given",
    "lines",
    "offers",
    "picture",
    "whole",
]
