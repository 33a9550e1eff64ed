"""Drawing from a trained variant: what to ask for, in batches, and sheets of the result."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gankit.device import derive_seed, fork_rng, make_generator
from gankit.errors import PluginError, UsageError
from gankit.events import OnEvent, ignore, progress
from gankit.plugin import Dataset, DataSpec, SampleRequest, Variant

if TYPE_CHECKING:
    from gankit.plugin import Batch

BATCH = 64
"""Most samples drawn at once."""


def conditions(
    variant: Variant[Any],
    spec: DataSpec,
    n: int,
    *,
    rows: Callable[[], Dataset[Any] | None] = lambda: None,
    seed: int = 0,
    label: int | str | Sequence[int | str] | None = None,
    text: str | Sequence[str] | None = None,
) -> tuple[Batch, list[dict[str, Any]]]:
    """What to ask a variant for: a batch of its `conditions` with `n` rows, and a record of each for people.

    `label` and `text` are repeated to `n`. Without a label, all classes in turn; without a text (and for keys of any
    other kind) samples of the held-out split, in an order drawn from `seed`: only then `rows` is called, to open it.
    """
    _only_what_it_takes(variant, label=label, text=text)
    batch: Batch = {}
    records: list[dict[str, Any]] = [{} for _ in range(n)]
    rest = []
    for name in sorted(variant.conditions):
        key = spec[name]
        if key.kind == "class" and (label is not None or not _needs_rows(variant, spec, text)):
            chosen = _labels(label, key.names, n)
            batch[name] = torch.tensor(chosen)
            _record(records, name, chosen, key.names)
        elif key.kind == "text" and text is not None:
            from gankit.data.text import encode_text

            texts = _texts(text, key.shape[0])
            texts = [texts[i % len(texts)] for i in range(n)]
            batch[name] = encode_text(texts, key.shape[0])
            for record, words in zip(records, texts, strict=True):
                record[name] = words
        else:
            rest.append(name)
    if rest and n:
        _from_rows(batch, records, rest, spec, _opened(rows, rest), seed)
    return batch, records


@torch.no_grad()
def draw(
    variant: Variant[Any],
    networks: Mapping[str, nn.Module],
    spec: DataSpec,
    batch: Batch,
    n: int,
    *,
    seed: int,
    device: torch.device,
    tell: OnEvent = ignore,
) -> Tensor:
    """`n` images, float32 on the CPU, (n, C, H, W) in [-1, 1]. Leaves global random state and modes as they were."""
    generator = make_generator(seed, "sample", device)
    parts: list[Tensor] = []
    with evaluating(networks), fork_rng(device):
        torch.manual_seed(derive_seed(seed, "sample-global"))
        for start in progress(range(0, n, BATCH), "drawing samples", tell):
            size = min(BATCH, n - start)
            part = {key: value[start : start + size].to(device) for key, value in batch.items()}
            request = SampleRequest(n=size, batch=part, generator=generator, device=device, spec=spec)
            images = variant.sample(networks, request)
            if images.dim() != 4 or images.shape[0] != size:
                raise PluginError(f"sample() returned shape {tuple(images.shape)}; asked for ({size}, C, H, W)")
            parts.append(images.float().clamp(-1, 1).cpu())
    return torch.cat(parts) if parts else torch.empty(0, *spec.image_shape)


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


def columns(variant: Variant[Any], spec: DataSpec, n: int) -> int:
    """Columns of a sheet: a class a column if classes are drawn in turn and fit, else about square."""
    for name in sorted(variant.conditions):
        classes = len(spec[name].names)
        if spec[name].kind == "class" and 2 <= classes <= 16 and n >= classes:
            return classes
    return max(1, math.ceil(math.sqrt(n)))


def _only_what_it_takes(variant: Variant[Any], **given: object) -> None:
    for name, value in given.items():
        if value is not None and name not in variant.conditions:
            takes = ", ".join(sorted(variant.conditions)) or "nothing"
            raise UsageError(f"{type(variant).__name__} cannot be asked for a {name}: its samples depend on {takes}.")


def _needs_rows(variant: Variant[Any], spec: DataSpec, text: object) -> bool:
    """Whether conditions come from samples: then classes must be those of the same samples."""
    return any(
        not (spec[name].kind == "class" or (spec[name].kind == "text" and text is not None))
        for name in variant.conditions
    )


def _labels(label: int | str | Sequence[int | str] | None, names: Sequence[str], n: int) -> list[int]:
    if label is None:
        return [i % len(names) for i in range(n)]
    asked = [label] if isinstance(label, int | str) else list(label)
    chosen = []
    for one in asked:
        if isinstance(one, str) and one in names:
            chosen.append(names.index(one))
        elif str(one).isdecimal() and int(one) < len(names):
            chosen.append(int(one))
        else:
            shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
            raise UsageError(f"label {one!r} is not one of the {len(names)} classes: {shown}.")
    if not chosen:
        raise UsageError("label: an empty list; give at least one class.")
    return [chosen[i % len(chosen)] for i in range(n)]


def _texts(text: str | Sequence[str], length: int) -> list[str]:
    """What was asked for; :class:`UsageError` if a part of it would not be read."""
    texts = [text] if isinstance(text, str) else list(text)
    if not texts:
        raise UsageError("text: an empty list; give at least one.")
    if long := [one for one in texts if len(one.encode("utf-8", "replace")) > length]:
        raise UsageError(f"text {long[0][:40]!r}...: longer than the {length} bytes that this run reads; shorten it.")
    return texts


def _opened(rows: Callable[[], Dataset[Any] | None], names: Sequence[str]) -> Dataset[Any] | None:
    try:
        return rows()
    except UsageError as error:
        raise UsageError(f"{', '.join(names)} comes from the data unless given, and {error}") from error


def _from_rows(
    batch: Batch,
    records: list[dict[str, Any]],
    names: Sequence[str],
    spec: DataSpec,
    rows: Dataset[Any] | None,
    seed: int,
) -> None:
    """Fills `batch` from held-out samples; their class keys go into the records as the attributes asked for."""
    if rows is None or len(rows) == 0:
        raise UsageError(f"no held-out samples to take {', '.join(names)} from; give {names[0]} yourself.")
    order = torch.randperm(len(rows), generator=make_generator(seed, "rows", torch.device("cpu")))
    indices = order.repeat(math.ceil(len(records) / len(rows)))[: len(records)]
    drawn = rows.batch(indices)
    for name in names:
        key = spec[name]
        if key.kind == "image":
            from gankit.data.images import to_float

            batch[name] = to_float(drawn[name])
        else:
            batch[name] = drawn[name]
    for name, key in spec.keys.items():
        if (key.kind == "class" and name not in batch) or (key.kind == "class" and name in names):
            _record(records, name, drawn[name].tolist(), key.names)
        elif key.kind == "text" and name in names:
            from gankit.data.text import decode_text

            for record, words in zip(records, decode_text(drawn[name]), strict=True):
                record[name] = words


def _record(records: list[dict[str, Any]], name: str, chosen: Sequence[int], names: Sequence[str]) -> None:
    """Classes by name; as a number where the name is just that number."""
    for record, index in zip(records, chosen, strict=True):
        record[name] = index if names[index] == str(index) else names[index]
