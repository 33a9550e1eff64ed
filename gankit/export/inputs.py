"""The named inputs of an exported file: found by calling what is exported at two batch sizes and two image sizes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gankit.data.kinds import kind_of
from gankit.errors import GankitError, PluginError
from gankit.export.drawn import EMBEDDING, NORMAL, UNIFORM, Draw, NotDrawn
from gankit.export.job import Job
from gankit.plugin import Key

if TYPE_CHECKING:
    from gankit.plugin import Batch

__all__ = ["Grid", "Input", "Interface", "Side", "learn", "resized"]

LARGEST_STEP = 256
"""Of sides of images: networks that halve them eight times take multiples of that."""


@dataclass(frozen=True)
class Grid:
    """Images may have any sides that are multiples of `step`, and at least `least`; those of the run have `usual`."""

    step: int
    least: int
    usual: tuple[int, int]

    @property
    def other(self) -> tuple[int, int]:
        """Other sides than the usual ones, and no square: what a program is traced with."""
        return self.usual[0] + self.step, self.usual[1] + 3 * self.step

    @property
    def large(self) -> tuple[int, int]:
        """Sides of which one is more than twice the usual."""
        return 2 * self.usual[0] + self.step, self.usual[1]

    @property
    def small(self) -> tuple[int, int]:
        """The least sides, but for a unit."""
        return self.least, self.least + self.step


@dataclass(frozen=True)
class Side:
    """A dimension: `count` numbers, or as many a sample (`of` is ``batch``), or for each `unit` pixels of a side."""

    count: int
    of: str = ""
    unit: int = 1

    def __str__(self) -> str:
        if not self.of:
            return str(self.count)
        times = f"{self.count}*" if self.count != 1 else ""
        return f"{times}{self.of}{f'/{self.unit}' if self.unit != 1 else ''}"


@dataclass(frozen=True)
class Input:
    """What comes in under a name: rows of a key, or what would be drawn."""

    name: str
    dtype: torch.dtype
    sides: tuple[Side, ...]
    key: Key | None = None
    law: str = ""
    """How it is drawn, if it is no key."""

    def about(self, grid: Grid | None) -> dict[str, Any]:
        """For the file: all that its user has to know."""
        dtype = str(self.dtype).removeprefix("torch.")
        facts: dict[str, Any] = {"name": self.name, "dtype": dtype, "shape": [str(side) for side in self.sides]}
        if self.key is None:
            return {**facts, "kind": "noise" if self.law != EMBEDDING else self.law, "drawn": self.law}
        facts["kind"] = self.key.kind
        kind = kind_of(self.key)
        if kind.pixels:
            facts["range"] = [kind.lowest, 1]
            if grid:
                facts["sides"] = {"multiple_of": grid.step, "least": grid.least, "usual": list(grid.usual)}
        if self.key.names:
            facts["names"] = list(self.key.names)
        if self.key.kind == "text":
            facts["encoding"] = "UTF-8, padded with zeros"
        if self.key.kind in ("box", "points"):
            facts["unit"] = "fractions of the image's width and height"
        return facts


@dataclass(frozen=True)
class Interface:
    """All inputs, and all that is drawn, in its order: of what is no input zeros will do, since it changes nothing."""

    inputs: tuple[Input, ...]
    draws: tuple[Input, ...]
    grid: Grid | None

    def values(self, batch: Batch, draws: Sequence[Draw]) -> dict[str, Tensor]:
        """What the inputs are given to compute what was computed from `batch` with those `draws`."""
        values = {one.name: draw.value for one, draw in zip(self.draws, draws, strict=True)}
        values |= {identifier(name): rows for name, rows in batch.items()}
        return {one.name: values[one.name] for one in self.inputs}

    def without(self, names: set[str]) -> Interface:
        """Without inputs of those names."""
        return replace(self, inputs=tuple(one for one in self.inputs if one.name not in names))

    def fixed(self) -> Interface:
        """For images of the usual sides alone."""
        grid = self.grid
        if grid is None:
            return self
        usual = dict(zip(("height", "width"), grid.usual, strict=True))

        def one(given: Input) -> Input:
            sides = (Side(s.count * usual[s.of] // s.unit) if s.of in usual else s for s in given.sides)
            return replace(given, sides=tuple(sides))

        return Interface(tuple(map(one, self.inputs)), tuple(map(one, self.draws)), None)

    def given(self, named: Mapping[str, Tensor]) -> tuple[int, list[Tensor]]:
        """How many samples `named` inputs ask for, and what is drawn for them."""
        sizes: dict[str, int] = {"": 1}
        for one in self.inputs:
            shape = named[one.name].shape
            sizes |= {
                side.of: size for side, size in zip(one.sides, shape, strict=True) if side.count == side.unit == 1
            }
        n = sizes.setdefault("batch", 1)

        def zeros(one: Input) -> Tensor:
            shape = [side.count * sizes[side.of] // side.unit if side.of else side.count for side in one.sides]
            return torch.zeros(shape, dtype=one.dtype)

        return n, [named[one.name] if one.name in named else zeros(one) for one in self.draws]


def learn(job: Job, batch: Batch, *, fixed: bool = False) -> Interface:
    """What `job` takes; `batch` has three rows. With `fixed` images have no other sides than there.

    :class:`PluginError` if that cannot be told.
    """
    try:
        return _learn(job, batch, fixed)
    except NotDrawn as error:
        raise PluginError(
            f"{type(job.variant).__name__} cannot be exported: what it draws is another number of tensors each time."
        ) from error


def _learn(job: Job, batch: Batch, fixed: bool) -> Interface:
    two = {name: rows[:2] for name, rows in batch.items()}
    result, first = job.run(2, two)
    more = job.run(3, batch)[1]
    grid = None if fixed else _grid(job, two)
    wide = job.run(2, resized(two, job.keys, grid.other))[1] if grid else first
    if not len(first) == len(more) == len(wide):
        raise NotDrawn
    sides = [_sides(three, grid) for three in zip(first, more, wide, strict=True)]
    if None in sides:  # what is drawn depends on an image's size in a way that cannot be told
        grid = None
        sides = [_sides(three, None) for three in zip(first, more, first, strict=True)]
    keys = tuple(
        Input(identifier(name), rows.dtype, _of_key(name, rows, job, grid), job.keys[name])
        for name, rows in batch.items()
    )
    idle = {i for i in range(len(first)) if _idle(job, two, first, i, result)}
    if len(idle) == len(first) and not keys:  # something has to say how many samples there are
        idle = set()
    names = _names(first, idle, {one.name for one in keys})
    drawn = tuple(
        Input(name, draw.value.dtype, side or (), law=draw.law)
        for name, draw, side in zip(names, first, sides, strict=True)
    )
    return Interface((*(one for i, one in enumerate(drawn) if i not in idle), *keys), drawn, grid)


def identifier(name: str) -> str:
    """`name` as one that Python and ONNX take."""
    return re.sub(r"\W|^(?=\d)", "_", name)


def _names(draws: Sequence[Draw], idle: set[int], taken: set[str]) -> tuple[str, ...]:
    """``noise``, or ``noise_1`` and so on of several; ``embedding``; of what is `idle`, some other name."""
    names = [f"idle_{i}" for i in range(len(draws))]
    for stem in ("noise", EMBEDDING):
        places = [i for i, draw in enumerate(draws) if (draw.law == EMBEDDING) == (stem == EMBEDDING)]
        places = [i for i in places if i not in idle]
        while any(name == stem or name.startswith(f"{stem}_") for name in taken):
            stem += "_"
        for number, i in enumerate(places, 1):
            names[i] = f"{stem}_{number}" if len(places) > 1 else stem
    return tuple(names)


def _of_key(name: str, rows: Tensor, job: Job, grid: Grid | None) -> tuple[Side, ...]:
    if grid and kind_of(job.keys[name]).pixels:
        return Side(1, "batch"), Side(rows.shape[1]), Side(1, "height"), Side(1, "width")
    return Side(1, "batch"), *(Side(size) for size in rows.shape[1:])


def _sides(three_draws: Sequence[Draw], grid: Grid | None) -> tuple[Side, ...] | None:
    """Of what is drawn for two samples, for three, and for two of other sides; None if none can be told."""
    two, three, wide = (tuple(draw.value.shape) for draw in three_draws)
    if not len(two) == len(three) == len(wide):
        return None
    found = [_side(*sizes, grid) for sizes in zip(two, three, wide, strict=True)]
    return None if None in found else tuple(side for side in found if side)


def _side(two: int, three: int, wide: int, grid: Grid | None) -> Side | None:
    if two == three == wide:
        return Side(two)
    if two != three:
        return Side(two // 2, "batch") if two % 2 == 0 and two // 2 * 3 == three and wide == two else None
    assert grid
    for of, usual, other in zip(("height", "width"), grid.usual, grid.other, strict=True):
        count = two * grid.step // usual
        if count * usual == two * grid.step and count * other == wide * grid.step:
            common = next(c for c in range(count, 0, -1) if count % c == 0 and grid.step % c == 0)
            return Side(count // common, of, grid.step // common)
    return None


def _idle(job: Job, batch: Batch, draws: Sequence[Draw], place: int, result: Tensor) -> bool:
    """Whether what is drawn at `place` changes nothing: noise that an option multiplies with zero."""
    if draws[place].law not in (NORMAL, UNIFORM):
        return False
    given = [draw.value for draw in draws]
    given[place] = given[place].flip(-1) * 0.7 + 0.1
    return torch.equal(job.run(len(result), batch, given)[0], result)


def resized(batch: Batch, keys: Mapping[str, Key], sides: tuple[int, int]) -> Batch:
    """Pictures of `batch` repeated or left out pixel by pixel to other `sides`; the rest as it is."""
    return {
        name: F.interpolate(rows, sides, mode="nearest") if kind_of(keys[name]).pixels else rows
        for name, rows in batch.items()
    }


def _grid(job: Job, batch: Batch) -> Grid | None:
    """Which sides images may have; None: only those of the run, or there are none."""
    sides = {tuple(rows.shape[2:]) for name, rows in batch.items() if kind_of(job.keys[name]).pixels}
    if len(sides) != 1:
        return None
    ((height, width),) = sides
    ratio = _sides_of(job, batch, (height, width))
    step = 1
    while step <= min(LARGEST_STEP, height, width):
        if height % step == 0 and width % step == 0:
            grid = Grid(step, step, (height, width))
            if _fits(job, batch, grid.other, ratio, (height, width)):
                return replace(grid, least=_least(job, batch, grid, ratio))
        step *= 2
    return None


def _least(job: Job, batch: Batch, grid: Grid, ratio: tuple[int, ...]) -> int:
    """The least side that works, with a longer one beside it and alone."""
    times = 1
    while (side := times * grid.step) < min(grid.usual):
        if _fits(job, batch, (side, side + grid.step), ratio, grid.usual) and _fits(
            job, batch, (side, side), ratio, grid.usual
        ):
            return side
        times += 1 if times < 4 else times // 2
    return min(grid.usual)


def _fits(job: Job, batch: Batch, sides: tuple[int, int], out: tuple[int, ...], usual: tuple[int, int]) -> bool:
    """Whether images of `sides` work, and give what is as much larger or smaller as they are."""
    found = _sides_of(job, batch, sides)
    if job.name == "encode":
        return bool(found)
    return bool(found) and all(f * u == s * o for f, s, u, o in zip(found, sides, usual, out, strict=True))


def _sides_of(job: Job, batch: Batch, sides: tuple[int, int]) -> tuple[int, ...]:
    """Those of what comes out for images of `sides`; none if such images do not work."""
    one = {name: rows[:1] for name, rows in batch.items()}
    try:
        return tuple(job.run(1, resized(one, job.keys, sides))[0].shape[2:])
    except (RuntimeError, ValueError, IndexError, GankitError):  # a layer that cannot, in torch's or its own words
        return ()
