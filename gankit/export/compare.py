"""An exported file beside torch: on real inputs and odd ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gankit.data.kinds import kind_of
from gankit.errors import GankitError
from gankit.export.drawn import NORMAL, UNIFORM, Draw
from gankit.export.inputs import Interface, resized
from gankit.export.job import Job
from gankit.plugin import Key

if TYPE_CHECKING:
    from gankit.plugin import Batch

__all__ = ["SIDES", "Compared", "compare", "difference"]

FAR = 5.0
"""Of odd noise: so many standard deviations out."""


SIDES = ("large", "small", "large hole")
"""What comparisons on images of other sides than the run's are called."""


@dataclass(frozen=True)
class Compared:
    """One comparison: on what, of how many samples, of which sides, and the largest difference."""

    what: str
    n: int
    sides: tuple[int, ...]
    """Height and width of the images that come out; none where they are no images."""
    difference: float
    shaken: float = 0.0
    """Where they differ by more than is allowed: how far torch's own values go if what comes in changes by its rounding
    error. More than is allowed, too, and the input tells nothing of the file."""

    def counts(self, tolerance: float) -> bool:
        return not self.shaken > tolerance


def compare(
    job: Job,
    interface: Interface,
    batch: Batch,
    real: bool,
    run: Callable[[Mapping[str, Tensor]], Tensor],
    tolerance: float,
    *,
    sides_alone: bool = False,
) -> Iterator[Compared]:
    """What `run`, the file, and torch make of the same; `batch` has three rows of what is asked with, `real` or not.

    Images differ by so much of their range from -1 to 1; other values by so much of the largest, if that is above 1.
    Odd inputs that the variant refuses are left out. With `sides_alone` only those of images of other sides are there.
    """
    for what, n, rows, seed, change in _cases(job, interface, batch, "real" if real else "made up"):
        if sides_alone and what not in SIDES:
            continue
        try:
            drawn = job.run(n, rows, seed=seed)[1]
            changed = [Draw(draw.law, change(draw)) for draw in drawn]
            wanted = job.run(n, rows, [draw.value for draw in changed], seed=seed)[0]
        except (GankitError, RuntimeError, ValueError, IndexError):
            if what in ("real", "made up"):
                raise
            continue
        found = run(interface.values(rows, changed))
        apart, shaken = difference(found, wanted), 0.0
        if not apart <= tolerance and what not in ("real", "made up"):
            shaken = _shaken(job, rows, changed, wanted, seed)
        yield Compared(what, n, tuple(wanted.shape[2:]) if job.pixels else (), apart, shaken)


def _shaken(job: Job, rows: Batch, draws: Sequence[Draw], wanted: Tensor, seed: int) -> float:
    """How far what comes out moves if all that comes in moves by a rounding error, to either side.

    An image of one colour is such an input to instance norms: a plane without variance is divided by next to nothing.
    """
    generator = torch.Generator().manual_seed(seed)

    def moved(values: Tensor) -> Tensor:
        if values.dtype != torch.float32:
            return values
        error = torch.finfo(torch.float32).eps * values.abs().clamp(min=1)
        return values + error * (torch.randint(0, 2, values.shape, generator=generator) * 2 - 1)

    try:
        given = [moved(draw.value) for draw in draws]
        found = job.run(len(wanted), {name: moved(values) for name, values in rows.items()}, given, seed=seed)[0]
    except (GankitError, RuntimeError, ValueError, IndexError):
        return 0.0
    return difference(found, wanted)


def difference(found: Tensor, wanted: Tensor) -> float:
    """The largest difference; infinite where shapes differ or one is no number and the other is."""
    if found.shape != wanted.shape:
        return torch.inf
    found = found.float()
    apart = (found - wanted).abs()
    same = (found == wanted) | (found.isnan() & wanted.isnan())
    apart = torch.where(same, 0.0, apart.nan_to_num(torch.inf))
    largest = max(1.0, float(wanted.abs().nan_to_num(0, 0, 0).max())) if wanted.numel() else 1.0
    return float(apart.max()) / largest if apart.numel() else 0.0


def _cases(
    job: Job, interface: Interface, batch: Batch, what: str
) -> Iterator[tuple[str, int, Batch, int, Callable[[Draw], Tensor]]]:
    """Each: what it is, of how many samples, the rows, the seed, and what becomes of what is drawn."""
    keys = job.keys

    def same(draw: Draw) -> Tensor:
        return draw.value

    yield what, 3, batch, 0, same
    one = {name: rows[1:2] for name, rows in batch.items()}
    yield "one sample", 1, one, 1, same
    two = {name: rows[:2] for name, rows in batch.items()}
    yield "zeros", 2, {name: torch.zeros_like(rows) for name, rows in two.items()}, 2, _zeros
    yield "extremes", 2, {name: _extreme(keys[name], rows) for name, rows in two.items()}, 3, _far
    if grid := interface.grid:
        large = resized(one, keys, grid.large)
        yield "large", 1, large, 4, same
        yield "small", 1, resized(one, keys, grid.small), 5, same
        if any(key.kind == "mask" for key in keys.values()):  # of all but the rim
            holes = {name: _hole(rows) if keys[name].kind == "mask" else rows for name, rows in large.items()}
            yield "large hole", 1, holes, 6, same


def _hole(mask: Tensor) -> Tensor:
    """All but a rim."""
    hole = torch.zeros_like(mask)
    hole[:, :, 2:-2, 2:-2] = 1
    return hole


def _zeros(draw: Draw) -> Tensor:
    return torch.zeros_like(draw.value)


def _far(draw: Draw) -> Tensor:
    """Noise far out, of both signs; of uniform noise its ends."""
    if draw.law == NORMAL:
        return FAR * torch.where(draw.value < 0, -1.0, 1.0)
    if draw.law == UNIFORM:
        return torch.where(draw.value < 0.5, 0.0, 1 - 2**-24)
    return draw.value


def _extreme(key: Key, rows: Tensor) -> Tensor:
    """Values at the ends of what a key allows."""
    if kind_of(key).pixels:
        return torch.where(rows < (kind_of(key).lowest + 1) / 2, kind_of(key).lowest, 1.0)
    if key.kind == "class":
        return torch.full_like(rows, len(key.names) - 1)
    if key.kind == "text":
        return torch.full_like(rows, ord("z"))  # a text of the full length
    if key.kind == "box":
        return torch.tensor([0.0, 0.0, 1.0, 1.0]).expand_as(rows).clone()
    return torch.where(rows < 0, -FAR, FAR) if key.kind == "vector" else rows.round()
