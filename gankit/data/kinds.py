"""The table of kinds of keys: what a dataset delivers, what a step gets, how it moves, and what may stand in for it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from gankit.data.images import to_float
from gankit.data.moves import Moves
from gankit.plugin import DataSpec, Key

__all__ = ["KINDS", "KeyKind", "describe", "kind_of"]


class KeyKind:
    """A row of the table. `gankit.dataset.Key` says what values of each kind are; texts returned are "" if all is well.

    Values are (N, *key.shape) throughout, as `dtype` from a dataset and as `step_dtype` inside a step.
    """

    dtype = torch.float32
    step_dtype = torch.float32
    written = ""
    """How a user writes a value."""
    pixels = False
    """Whether values are (N, C, H, W): pictures, which may stand in memory as channels_last."""
    usual: Key
    """A key of this kind as it often is, for made-up data."""
    lowest = -math.inf
    """Of pictures in a step: the least that a pixel may be; the most is 1."""
    moves = False
    """Whether values are places in an image, so that :meth:`move` changes them."""

    def shape_fault(self, key: Key) -> str:
        """What is wrong with the shape, or another field, of a key of this kind."""
        return ""

    def value_fault(self, key: Key, values: Tensor) -> str:
        """What is wrong with `values` of the right type and shape, on the CPU."""
        return "" if values.isfinite().all() else "is not finite"

    def describe(self, key: Key) -> str:
        """The key in words."""
        raise NotImplementedError

    def made_up(self, key: Key, number: int, generator: torch.Generator) -> Tensor:
        """`number` valid values as a dataset might deliver them, drawn from `generator` (on the CPU)."""
        raise NotImplementedError

    def to_step(self, values: Tensor) -> Tensor:
        """From what a dataset delivers to what a step gets, on any device."""
        return values

    def to_picture(self, values: Tensor) -> Tensor:
        """Of pictures: from what a step gets to images in [-1, 1]."""
        return values

    def unmoved(self, key: Key) -> bool:
        """Whether the key describes something in an image that gankit cannot move with it, by flip or shift."""
        return False

    def unflipped(self, key: Key) -> bool:
        """Whether it cannot be flipped, though it can be shifted."""
        return False

    def move(self, key: Key, values: Tensor, moves: Moves) -> Tensor:
        """`values`, before :meth:`to_step`, moved with their image."""
        return values


class _Image(KeyKind):
    written = "an image file or a directory of images"
    dtype = torch.uint8
    pixels = moves = True
    lowest = -1.0
    usual = Key(kind="image", shape=(3, 64, 64))

    def shape_fault(self, key: Key) -> str:
        return "" if len(key.shape) == 3 else f"has 3 dimensions, its shape says {key.shape}"

    def value_fault(self, key: Key, values: Tensor) -> str:
        return ""

    def describe(self, key: Key) -> str:
        return f"{key.kind} {_by(key.shape)}"

    def made_up(self, key: Key, number: int, generator: torch.Generator) -> Tensor:
        return torch.randint(0, 256, (number, *key.shape), generator=generator, dtype=torch.uint8)

    def to_step(self, values: Tensor) -> Tensor:
        return to_float(values)

    def move(self, key: Key, values: Tensor, moves: Moves) -> Tensor:
        return moves.pixels(values)


class _Mask(_Image):
    written = "an image file, white where it holds, or a directory of such"
    lowest = 0.0
    usual = Key(kind="mask", shape=(1, 64, 64))

    def shape_fault(self, key: Key) -> str:
        return "" if len(key.shape) == 3 and key.shape[0] == 1 else f"has a shape (1, H, W), not {key.shape}"

    def value_fault(self, key: Key, values: Tensor) -> str:
        ones = values.numel() and int(values.max()) == 1
        return "holds 1 at most; a mask is 255 where it holds, and 0 elsewhere" if ones else ""

    def made_up(self, key: Key, number: int, generator: torch.Generator) -> Tensor:
        return super().made_up(key, number, generator) // 128 * 255

    def to_step(self, values: Tensor) -> Tensor:
        return values.to(torch.float32).div_(255)

    def to_picture(self, values: Tensor) -> Tensor:
        return values * 2 - 1


class _Box(KeyKind):
    written = "left,top,right,bottom as fractions of the image"
    moves = True
    usual = Key(kind="box", shape=(4,))

    def shape_fault(self, key: Key) -> str:
        return "" if key.shape[-1:] == (4,) else f"has a shape that ends in 4, not {key.shape}"

    def value_fault(self, key: Key, values: Tensor) -> str:
        if text := super().value_fault(key, values):
            return text
        left, top, right, bottom = values.unbind(-1)
        if (left > right).any():
            return "has a box whose left side is right of its right side"
        return "has a box whose top is below its bottom" if (top > bottom).any() else ""

    def describe(self, key: Key) -> str:
        return f"{_by(key.shape[:-1])} boxes" if key.shape[:-1] else "box"

    def made_up(self, key: Key, number: int, generator: torch.Generator) -> Tensor:
        corner, size = torch.rand(2, number, *key.shape[:-1], 2, generator=generator) * 0.5
        return torch.cat([corner, corner + size.clamp(min=0.05)], -1)

    def move(self, key: Key, values: Tensor, moves: Moves) -> Tensor:
        return moves.boxes(values)


class _Points(KeyKind):
    written = "x,y of each point as fractions of the image"
    moves = True
    usual = Key(kind="points", shape=(5, 3), mirror=(0, 2, 1, 4, 3))

    def shape_fault(self, key: Key) -> str:
        if len(key.shape) != 2 or key.shape[1] not in (2, 3):
            return f"has a shape (K, 2) or (K, 3), not {key.shape}"
        number = key.shape[0]
        if key.mirror and (
            sorted(key.mirror) != list(range(number)) or any(key.mirror[key.mirror[i]] != i for i in range(number))
        ):
            return f"has the mirror {key.mirror}; it names for each of {number} points the one to change places with"
        return ""

    def value_fault(self, key: Key, values: Tensor) -> str:
        if text := super().value_fault(key, values):
            return text
        seen = values[..., 2:]
        return "" if ((seen == 0) | (seen == 1)).all() else "has a visibility that is neither 0 nor 1"

    def describe(self, key: Key) -> str:
        number, values = key.shape
        return f"{number} point{'s' * (number > 1)}{', visible or not' * (values == 3)}"

    def made_up(self, key: Key, number: int, generator: torch.Generator) -> Tensor:
        points = torch.rand(number, *key.shape, generator=generator)
        points[..., 2:].round_()
        return points

    def unflipped(self, key: Key) -> bool:
        return key.shape[0] > 1 and not key.mirror

    def move(self, key: Key, values: Tensor, moves: Moves) -> Tensor:
        return moves.points(values, key.mirror)


class _Class(KeyKind):
    written = "a class, by name or number"
    dtype = step_dtype = torch.int64
    usual = Key(kind="class", names=tuple("0123456789"))

    def shape_fault(self, key: Key) -> str:
        if key.shape:
            return f"has 0 dimensions, its shape says {key.shape}"
        return "" if key.names else "needs the names of its classes"

    def value_fault(self, key: Key, values: Tensor) -> str:
        if not values.numel() or (int(values.min()) >= 0 and int(values.max()) < len(key.names)):
            return ""
        return f"has classes {int(values.min())} to {int(values.max())}; there are {len(key.names)}, counted from 0"

    def describe(self, key: Key) -> str:
        return f"class, one of {len(key.names)}"

    def made_up(self, key: Key, number: int, generator: torch.Generator) -> Tensor:
        return torch.randperm(number, generator=generator) % len(key.names)


class _Text(KeyKind):
    written = "a text"
    dtype = step_dtype = torch.uint8
    usual = Key(kind="text", shape=(64,))

    def shape_fault(self, key: Key) -> str:
        return "" if len(key.shape) == 1 else f"has 1 dimension, its shape says {key.shape}"

    def value_fault(self, key: Key, values: Tensor) -> str:
        for row in values.numpy():
            text = row.tobytes().rstrip(b"\0")
            if b"\0" in text:
                return "has a zero byte inside a text"
            try:
                text.decode("utf-8")
            except UnicodeDecodeError as error:
                return f"is not UTF-8 ({error.reason})"
        return ""

    def describe(self, key: Key) -> str:
        return f"text of up to {key.shape[0]} bytes"

    def made_up(self, key: Key, number: int, generator: torch.Generator) -> Tensor:
        letters = torch.randint(97, 123, (number, *key.shape), generator=generator, dtype=torch.uint8)
        lengths = torch.randint(1, key.shape[0] + 1, (number, 1), generator=generator)
        return letters * (torch.arange(key.shape[0]) < lengths)


class _Vector(KeyKind):
    written = "numbers, separated by commas"
    usual = Key(kind="vector", shape=(16,))

    def describe(self, key: Key) -> str:
        return f"vector {_by(key.shape)}" if key.shape else "number"

    def made_up(self, key: Key, number: int, generator: torch.Generator) -> Tensor:
        return torch.randn(number, *key.shape, generator=generator)

    def unmoved(self, key: Key) -> bool:
        return key.of is not None  # who names the image means places in it; else it is the sample's


KINDS: Mapping[str, KeyKind] = {
    "image": _Image(),
    "mask": _Mask(),
    "box": _Box(),
    "points": _Points(),
    "class": _Class(),
    "text": _Text(),
    "vector": _Vector(),
}
"""By the names that `gankit.dataset.Kind` lists."""


def kind_of(key: Key) -> KeyKind:
    """The row of `key`; `gankit.data.faults` names a kind that there is not."""
    return KINDS[key.kind]


def describe(spec: DataSpec) -> dict[str, str]:
    """Each key in words: "image 3x64x64", "class, one of 10"."""
    return {name: kind_of(key).describe(key) for name, key in spec.keys.items()}


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
