"""From one sample to another: what lies between two codes, or between what two captions say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from gankit.device import derive_seed
from gankit.errors import PluginError, UsageError
from gankit.plugin import SampleRequest
from gankit.sampling.conditions import Asked, asked_keys, choose, conditions
from gankit.sampling.draw import at_most, called, checked, defines
from gankit.sampling.drawer import Drawer
from gankit.sampling.given import merged, read_given
from gankit.sampling.pictures import read_images
from gankit.sampling.samples import Samples
from gankit.sampling.sheets import Layout

TEXT = "text"
"""The key of captions, and the network that reads them; see `gankit.text`."""


@dataclass(frozen=True)
class Ways:
    """Ways from one sample to another, of which any point can be drawn."""

    asked: Asked
    """What is asked for along each."""
    joined: bool
    """Whether each goes on where the one before ends."""
    produces: str
    draw: Callable[[float, slice], Tensor]
    """The samples (k, ...) on some of the ways, at a point from 0 to 1."""


def interpolate(
    drawer: Drawer,
    images: Any = None,
    *,
    texts: Sequence[str] = (),
    rows: int = 4,
    frames: int = 8,
    given: Mapping[str, Any] | None = None,
    to: str | None = None,
    seed: int = 0,
    checkpoint: str = "",
) -> Samples:
    """`rows` times `frames` samples, each row going from one code to another in equal steps; see :func:`ways`."""
    if frames < 2:
        raise UsageError(f"frames must be at least 2, got {frames}.")
    found = ways(drawer, images, texts=texts, rows=rows, given=given, to=to, seed=seed)
    drawn = [found.draw(frame / (frames - 1), slice(0, found.asked.n)) for frame in range(frames)]
    return _in_rows(drawn, found.asked, drawer, found.produces, seed, checkpoint)


def ways(
    drawer: Drawer,
    images: Any = None,
    *,
    texts: Sequence[str] = (),
    rows: int = 4,
    given: Mapping[str, Any] | None = None,
    to: str | None = None,
    seed: int = 0,
    closed: bool = False,
) -> Ways:
    """Ways between codes.

    Codes are drawn at random, two for each of `rows`, and the way between two is an arc (:func:`arc`), which keeps to
    lengths that such codes have; or they are those of `images`, and the way from each to the next is straight. With
    `texts` it is what captions say that changes, from each to the next, along an arc between their embeddings. What
    else is asked for stays the same along a way, and so does the noise that is drawn; along all ways where each goes on
    from the one before, but for what is `given` for each. With `closed` those lead back to the first image or caption.
    :class:`UsageError` if the variant cannot.
    """
    variant, spec = drawer.variant, drawer.spec
    who, produces = type(variant).__name__, choose(variant, to)
    if rows < 1:
        raise UsageError(f"rows must be at least 1, got {rows}.")
    if texts:
        if images is not None:
            raise UsageError("give images or captions to go between, not both.")
        return _between_captions(drawer, texts, produces, given, to, seed, closed=closed)
    if not defines(variant, "decode"):
        raise UsageError(f"{who} cannot interpolate: it draws from no codes that one could go between.")
    if images is None:
        if not defines(variant, "codes"):
            raise UsageError(f"{who} cannot interpolate between random codes: it has none. Give two images or more.")
        asked = conditions(variant, spec, rows, to=to, given=given, rows=drawer.rows, seed=seed)
        starts, ends = _random(drawer, asked, produces, seed).chunk(2)
        between: Callable[[Tensor, Tensor, float], Tensor] = arc
    else:
        if not defines(variant, "encode"):
            raise UsageError(f"{who} cannot interpolate between images: it does not encode them.")
        asked, codes = _encoded(drawer, images, produces, given, to, seed, closed=closed)
        starts, ends, between = codes[:-1], codes[1:], torch.lerp

    def draw(at: float, some: slice) -> Tensor:
        codes = between(starts[some], ends[some], at)

        def decode(request: SampleRequest, rows: slice) -> Any:
            return variant.decode(drawer.networks, codes[rows].to(drawer.device), request)

        return _frame(drawer, decode, _part(asked, some), produces, seed, "decode()", joined=images is not None)

    return Ways(asked, images is not None, produces, draw)


def _part(asked: Asked, some: slice) -> Asked:
    return Asked(some.stop - some.start, asked.part(some.start, some.stop), asked.records[some], asked.keys)


def _frame(
    drawer: Drawer,
    method: Callable[[SampleRequest, slice], Any],
    asked: Asked,
    produces: str,
    seed: int,
    what: str,
    *,
    joined: bool,
) -> Tensor:
    """A frame of each row, (rows, ...). Rows that are `joined` are drawn one by one, all with the same random numbers:
    where one ends the next begins."""
    spec, who = drawer.spec, type(drawer.variant).__name__
    ways = [slice(row, row + 1) for row in range(asked.n)] if joined else [slice(0, asked.n)]
    drawn = []
    for way in ways:
        part = Asked(way.stop - way.start, asked.part(way.start, way.stop), [], asked.keys)

        def of_way(request: SampleRequest, rows: slice, start: int = way.start) -> Any:
            return method(request, slice(start + rows.start, start + rows.stop))

        # one seed for all frames: what is drawn beside the codes does not flicker
        parts = _call(drawer, of_way, part, produces, derive_seed(seed, "between"))
        drawn += [checked(samples, size, spec, produces, who, what) for samples, size in parts]
    return torch.cat(drawn)


def _one_for_all(asked: Asked) -> Asked:
    """`asked`, with what nobody gave the same in each row."""
    batch = {name: rows if name in asked.given else rows[:1].expand_as(rows) for name, rows in asked.batch.items()}
    first, *_ = asked.records
    records = [{**first, **{name: record[name] for name in asked.given}} for record in asked.records]
    return replace(asked, batch=batch, records=records)


def _in_rows(drawn: list[Tensor], asked: Asked, drawer: Drawer, produces: str, seed: int, checkpoint: str) -> Samples:
    """The frames `drawn`, (rows, ...) each, row by row."""
    frames = len(drawn)
    at = [round(frame / (frames - 1), 6) for frame in range(frames)]
    records = [
        {"seed": seed, "index": row * frames + frame, "row": row, "at": at[frame], **asked.records[row]}
        for row in range(asked.n)
        for frame in range(frames)
    ]
    kind = drawer.spec[produces].kind if produces else ""
    return Samples(torch.stack(drawn, 1).flatten(0, 1), records, checkpoint, kind, Layout(columns=frames))


class _Between(nn.Module):
    """A text encoder that reads, in place of each caption, what lies `at` of the way to another one."""

    def __init__(self, encoder: nn.Module, ends: Tensor, at: float) -> None:
        super().__init__()
        self.encoder, self.ends, self.at = encoder, ends, at

    def forward(self, text: Tensor) -> Tensor:
        return arc(self.encoder(text), self.encoder(self.ends.to(text.device)), self.at)


def _between_captions(
    drawer: Drawer,
    texts: Sequence[str],
    produces: str,
    given: Mapping[str, Any] | None,
    to: str | None,
    seed: int,
    *,
    closed: bool,
) -> Ways:
    variant, spec, who = drawer.variant, drawer.spec, type(drawer.variant).__name__
    if TEXT not in asked_keys(variant, spec, produces) or TEXT not in drawer.networks:
        raise UsageError(f"{who} cannot interpolate between captions: it draws from none.")
    texts = [texts] if isinstance(texts, str) else list(texts)
    if len(texts) < 2:
        raise UsageError(f"interpolating takes two captions or more, got {len(texts)}.")
    texts = [*texts, texts[0]] if closed else texts
    ends = read_given(TEXT, asked_keys(variant, spec, produces)[TEXT], texts).rows[1:]
    starts = merged(given, text=texts[:-1])
    asked = conditions(variant, spec, len(texts) - 1, to=to, given=starts, rows=drawer.rows, seed=seed)
    asked = _one_for_all(asked)
    records = [
        {**{name: value for name, value in record.items() if name != TEXT}, "from": texts[i], "to": texts[i + 1]}
        for i, record in enumerate(asked.records)
    ]
    asked = Asked(asked.n, asked.batch, records, asked.keys)

    def draw(at: float, some: slice) -> Tensor:
        def sample(request: SampleRequest, rows: slice) -> Any:
            between = _Between(drawer.networks[TEXT], ends[some][rows], at)
            return variant.sample({**drawer.networks, TEXT: between}, request)

        return _frame(drawer, sample, _part(asked, some), produces, seed, "sample()", joined=True)

    return Ways(asked, True, produces, draw)


def arc(starts: Tensor, ends: Tensor, at: float) -> Tensor:
    """Spherical interpolation of codes (N, ...), `at` from 0 to 1 (White 2016, arXiv:1609.04468); straight where the
    two point the same or the opposite way."""
    a, b = starts.flatten(1), ends.flatten(1)
    cosine = torch.nn.functional.cosine_similarity(a.double(), b.double())[:, None].clamp(-1, 1)
    angle = cosine.arccos()
    sine = angle.sin()
    flat = sine < 1e-6
    safe = sine.where(~flat, torch.ones_like(sine))
    first = ((1 - at) * angle).sin().div(safe).where(~flat, torch.full_like(sine, 1 - at))
    second = (at * angle).sin().div(safe).where(~flat, torch.full_like(sine, at))
    return (first * a + second * b).to(starts.dtype).view_as(starts)


def _random(drawer: Drawer, asked: Asked, produces: str, seed: int) -> Tensor:
    """Two codes for each row of `asked`, (2n, ...): all first, then all last ones."""
    twice = Asked(
        2 * asked.n,
        {name: rows.repeat(2, *[1] * (rows.dim() - 1)) for name, rows in asked.batch.items()},
        [],
        asked.keys,
    )

    def codes(request: SampleRequest, rows: slice) -> Any:
        return drawer.variant.codes(request)

    return _codes(drawer, _call(drawer, codes, twice, produces, seed), "codes()")


def _encoded(
    drawer: Drawer,
    images: Any,
    produces: str,
    given: Mapping[str, Any] | None,
    to: str | None,
    seed: int,
    *,
    closed: bool,
) -> tuple[Asked, Tensor]:
    """The codes of `images`, (k, ...), and what is asked for along the k - 1 ways between them."""
    if produces not in drawer.spec.images:
        raise UsageError(f"{type(drawer.variant).__name__} cannot interpolate between images: it draws none.")
    values = list(images) if isinstance(images, list | tuple) else [images]
    inputs, origins = read_images(produces, drawer.spec[produces].shape, values, fit="stretch")
    if len(inputs) < 2:
        raise UsageError(f"interpolating takes two images or more, got {len(inputs)}.")
    if closed:
        inputs, origins = torch.cat([inputs, inputs[:1]]), [*origins, origins[0]]
    asked = conditions(drawer.variant, drawer.spec, len(inputs), to=to, given=given, rows=drawer.rows, seed=seed)
    others = _one_for_all(asked)
    whole = Asked(len(inputs), {**others.batch, produces: inputs}, [], others.keys)

    def encode(request: SampleRequest, rows: slice) -> Any:
        return drawer.variant.encode(drawer.networks, request.batch)

    codes = _codes(drawer, _call(drawer, encode, whole, produces, seed), "encode()")
    n = len(inputs) - 1
    records = [{**others.records[i], "from": origins[i], "to": origins[i + 1]} for i in range(n)]
    return Asked(n, others.part(0, n), records, others.keys), codes


def _call(
    drawer: Drawer, method: Callable[[SampleRequest, slice], Any], asked: Asked, produces: str, seed: int
) -> Iterator[tuple[Any, int]]:
    """What `method` returns for a few rows of `asked` at a time, and of how many; it is told which rows these are."""
    most = at_most(drawer.spec)
    slices = [slice(start, min(start + most, asked.n)) for start in range(0, asked.n, most)]
    turn = iter(slices)
    parts = ((rows.stop - rows.start, asked.part(rows.start, rows.stop)) for rows in slices)
    settings: Any = {"seed": seed, "device": drawer.device, "produces": produces}
    return called(lambda request: method(request, next(turn)), drawer.networks, drawer.spec, parts, **settings)


def _codes(drawer: Drawer, parts: Iterator[tuple[Any, int]], what: str) -> Tensor:
    """The codes of all `parts`, on the CPU; :class:`PluginError` if one holds none."""
    found = []
    for codes, n in parts:
        if not (isinstance(codes, Tensor) and codes.is_floating_point() and codes.dim() >= 2 and len(codes) == n):
            got = f"{codes.dtype} {tuple(codes.shape)}" if isinstance(codes, Tensor) else f"a {type(codes).__name__}"
            raise PluginError(f"{type(drawer.variant).__name__}: {what} returned {got}; asked for floats ({n}, ...)")
        found.append(codes.detach().cpu())
    return torch.cat(found)


__all__ = ["Ways", "arc", "interpolate", "ways"]
