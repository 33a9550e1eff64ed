"""Drawing from a trained variant, in batches, and what is checked of what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gankit.data.images import at_once
from gankit.data.kinds import kind_of
from gankit.device import derive_seed, make_generator
from gankit.errors import PluginError
from gankit.events import OnEvent, ignore, progress
from gankit.plugin import DataSpec, SampleRequest, Variant
from gankit.random_state import fork_rng
from gankit.sampling.conditions import choose

if TYPE_CHECKING:
    from gankit.plugin import Batch

    Draw = Callable[[SampleRequest], Any]

BATCH = 64
"""Most samples drawn at once; of images above 3 x 128 x 128 fewer, so that networks at work fit into memory."""


def draw(
    variant: Variant[Any],
    networks: Mapping[str, nn.Module],
    spec: DataSpec,
    batch: Batch,
    n: int,
    *,
    seed: int,
    device: torch.device,
    to: str | None = None,
    tell: OnEvent = ignore,
) -> Tensor:
    """`n` samples of `to` (by default what the variant draws first), float32 on the CPU; images in [-1, 1].

    Leaves the global random state and the modes of the networks as they were.
    """

    def rows(start: int, stop: int) -> Batch:
        return {key: values[start:stop] for key, values in batch.items()}

    parts = list(draw_parts(variant, networks, spec, rows, n, seed=seed, device=device, to=to, tell=tell))
    return torch.cat(parts) if parts else torch.empty(0, *_shape(spec, choose(variant, to)))


def draw_parts(
    variant: Variant[Any],
    networks: Mapping[str, nn.Module],
    spec: DataSpec,
    rows: Callable[[int, int], Batch],
    n: int,
    *,
    seed: int,
    device: torch.device,
    to: str | None = None,
    tell: OnEvent = ignore,
) -> Iterator[Tensor]:
    """The samples of :func:`draw`, a few at a time: no more than :data:`BATCH`, and fewer if they are large.

    `rows` is called for the conditions of the samples from one number up to another, just before these are drawn.
    """
    produces = choose(variant, to)
    most = at_most(spec)
    starts = progress(range(0, n, most), "drawing samples", tell)
    ends = ((start, min(start + most, n)) for start in starts)
    parts = ((stop - start, rows(start, stop)) for start, stop in ends)
    method = sampler(variant, networks)
    for samples, size in called(method, networks, spec, parts, seed=seed, device=device, produces=produces):
        yield checked(samples, size, spec, produces, type(variant).__name__)


def at_most(spec: DataSpec) -> int:
    """Most samples that are drawn at once: :data:`BATCH`, or fewer of large images."""
    return min((at_once(spec.shape_of(name), BATCH) for name in spec.images), default=BATCH)


def called(
    method: Draw,
    networks: Mapping[str, nn.Module],
    spec: DataSpec,
    parts: Iterable[tuple[int, Batch]],
    *,
    seed: int,
    device: torch.device,
    produces: str,
) -> Iterator[tuple[Any, int]]:
    """What `method` returns for requests of the sizes and with the conditions that `parts` holds, and those sizes.

    The requests share a generator, so that a seed gives the same each time. Between two of them the networks are in
    their own modes and the global random state is the caller's.
    """
    generator = make_generator(seed, "sample", device)
    for number, (size, part) in enumerate(parts):
        rows = {key: value.to(device) for key, value in part.items()}
        request = SampleRequest(n=size, batch=rows, generator=generator, device=device, spec=spec, produces=produces)
        with torch.no_grad(), evaluating(networks), fork_rng(device):
            # for layers that know no generator of their own; the first is what it was when there was one request
            torch.manual_seed(derive_seed(seed, f"sample-global-{number}" if number else "sample-global"))
            try:
                result = method(request)
            except KeyError as error:
                if (name := error.args[0]) in spec.keys and name not in part:
                    raise NotAsked(name) from error
                raise
        yield result, size


class NotAsked(PluginError):
    """A method of the variant read a key of the data from ``request.batch`` that it was not asked with."""

    def __init__(self, key: str) -> None:
        remedy = "name it in `conditions`, or let `asks` return it"
        super().__init__(f"request.batch has no {key!r}: the variant reads it and is not asked with it; {remedy}.")
        self.key = key


def sampler(variant: Variant[Any], networks: Mapping[str, nn.Module]) -> Draw:
    """``variant.sample`` of `networks`; :class:`PluginError` if the variant does not say how to draw."""
    if not (defines(variant, "sample") or defines(variant, "codes", "decode")):
        raise PluginError(
            f"{type(variant).__name__} defines neither sample() nor codes() and decode(): nothing can be drawn."
        )
    return lambda request: variant.sample(networks, request)


def defines(variant: Variant[Any], *methods: str) -> bool:
    """Whether `variant` has all of these optional methods of the contract."""
    return all(getattr(type(variant), method) is not getattr(Variant, method) for method in methods)


def checked(samples: Any, n: int, spec: DataSpec, produces: str, who: str, what: str = "sample()") -> Tensor:
    """`samples` as float32 on the CPU, images clamped to [-1, 1]; :class:`PluginError` if they are not as asked.

    What is infinite becomes NaN. They must be `n` rows of what stands under the key `produces` of the data, where it
    names one; of images the height and width may be others.
    """
    fault = fault_of(samples, n, spec, produces)
    if fault:
        raise PluginError(f"{who}: {what} returned {fault}")
    floats: Tensor = samples.detach().float().cpu()
    if produces and (kind := kind_of(spec[produces])).pixels:
        floats = floats.where(floats.isfinite(), torch.nan)  # else an infinity would pass for black or white
        return floats.clamp(kind.lowest, 1.0)
    return floats


def fault_of(samples: Any, n: int, spec: DataSpec, produces: str) -> str:
    """What is wrong with what ``sample()`` returned, and what was expected; "" if nothing is."""
    if not isinstance(samples, Tensor):
        return f"a {type(samples).__name__}; a tensor is expected"
    shape = tuple(samples.shape)
    if produces and produces not in spec.keys:
        return f"samples of {produces!r}, which is no key of the data; it has {', '.join(spec.keys)}"
    if not produces:
        wanted: tuple[int | str, ...] = (n, "...")
        right = shape[:1] == (n,)
    elif kind_of(spec[produces]).pixels:
        wanted = (n, spec[produces].shape[0], "H", "W")
        right = len(shape) == 4 and shape[:2] == wanted[:2] and 0 not in shape[1:]
    else:
        wanted = (n, *spec[produces].shape)
        right = shape == wanted
    if not right:
        of = f" of {produces!r}" if produces else ""
        return f"shape {shape}; asked for ({', '.join(map(str, wanted))}){of}"
    if not samples.is_floating_point():
        return f"{str(samples.dtype).removeprefix('torch.')}; samples are floating point"
    return ""


@contextmanager
def evaluating(networks: Mapping[str, nn.Module]) -> Iterator[None]:
    """Eval mode for the time of the block; every module's own mode comes back after it."""
    modes = {module: module.training for network in networks.values() for module in network.modules()}
    try:
        for network in networks.values():
            network.eval()
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _shape(spec: DataSpec, produces: str) -> tuple[int, ...]:
    return spec[produces].shape if produces in spec.keys else ()


__all__ = [
    "BATCH",
    "NotAsked",
    "at_most",
    "called",
    "checked",
    "defines",
    "draw",
    "draw_parts",
    "evaluating",
    "fault_of",
    "sampler",
]
