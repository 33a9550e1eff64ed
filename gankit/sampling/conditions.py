"""What a variant is asked for: filled with what the user gives, rows of held-out samples, and classes in turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gankit.data.faults import key_fault
from gankit.data.kinds import kind_of
from gankit.data.text import decode_text
from gankit.dataset import read, stream_of
from gankit.device import make_generator
from gankit.errors import PluginError, UsageError
from gankit.plugin import Dataset, DataSpec, Key, Variant
from gankit.sampling.given import Given, class_word, number_records, read_given

if TYPE_CHECKING:
    from gankit.plugin import Batch

Rows = Callable[[], Sequence[Dataset[Any]]]
"""Opens the splits that rows are taken from; the first that has any is."""

SAMPLES = 16
"""Samples that are drawn unless a number is asked for."""
_NUMBERS = 64
"""Most numbers of a row (a box, points, a vector) that a record holds."""
IN_COLUMNS = 32
"""Most classes or texts that get a column each on a sheet; of classes that merely go in turn, half as many."""


@dataclass(frozen=True)
class Asked:
    """`n` rows of what a variant is asked for, as in a step, on the CPU; `records` says of each row what it is."""

    n: int
    batch: Batch
    records: list[dict[str, Any]]
    keys: Mapping[str, Key]
    """What could be asked for."""
    given: frozenset[str] = frozenset()
    """What the user gave of it."""
    words: tuple[str, ...] = ()
    """Where k classes or texts take turns: those, for the columns of a sheet."""
    held: Batch = field(default_factory=dict)
    """Masks of the samples that rows were taken of which say what is to be seen in a result (``Key.like``), uint8."""
    each: int = 1
    """How many rows in turn are asked with the same images: k, where k classes or texts are given for them."""

    def part(self, start: int, stop: int) -> Batch:
        return {name: rows[start:stop] for name, rows in self.batch.items()}


def choose(variant: Variant[Any], to: str | None = None) -> str:
    """The key out of ``Variant.produces`` that is drawn: `to`, or the first; "" if it names none."""
    if to is None:
        return next(iter(variant.produces), "")
    if to not in variant.produces:
        known = ", ".join(variant.produces) or "what the data has no key for"
        raise UsageError(f"{_name(variant)} cannot draw {to!r}: it draws {known}.")
    return to


def asked_keys(variant: Variant[Any], spec: DataSpec, produces: str) -> dict[str, Key]:
    """What `variant` says that it can be asked with; :class:`PluginError` if that is no mapping of keys."""
    try:
        keys = dict(variant.asks(spec, produces))
    except KeyError as error:
        raise PluginError(f"{_name(variant)}.asks() names {error}, which is no key of the data.") from error
    for name, key in keys.items():
        if not isinstance(key, Key):
            raise PluginError(f"{_name(variant)}.asks() says {key!r} of {name!r}; it must be a gankit.plugin.Key.")
        if text := key_fault(name, key):
            raise PluginError(f"{_name(variant)}.asks(): {text}")
    return keys


def conditions(
    variant: Variant[Any],
    spec: DataSpec,
    n: int | None,
    *,
    to: str | None = None,
    given: Mapping[str, Any] | None = None,
    rows: Rows = lambda: (),
    seed: int = 0,
    first: int = 0,
) -> Asked:
    """What to ask `variant` for to draw `n` samples of `to`; see :func:`fill`."""
    keys = asked_keys(variant, spec, choose(variant, to))
    return fill(_name(variant), keys, spec, n, given=given, rows=rows, seed=seed, first=first)


def fill(
    who: str,
    keys: Mapping[str, Key],
    spec: DataSpec,
    n: int | None,
    *,
    given: Mapping[str, Any] | None = None,
    rows: Rows = lambda: (),
    seed: int = 0,
    first: int = 0,
) -> Asked:
    """Rows of `keys`. What the user gives is repeated to `n`; `who` is named in errors.

    What is not given comes from held-out samples, in an order drawn from `seed`, if the data (`spec`) has that key:
    only then `rows` is called, to open it. Classes are those of the same samples, or all go in turn where no other key
    comes from samples, where the data lacks them, and where they are targets; of several, each goes on when the one
    before is through. Anything else is left out.

    Where k classes or texts are given, and another number of images, each image stands with each of them, k rows in
    turn; held-out samples too. Without `n`, there are so many rows, or as many as images are given, else
    :data:`SAMPLES`, or as many as values are given. With `first`, the rows are those from that one on of a longer
    request: to ask for a few at a time.
    """
    given = given or {}
    for name in given:
        if name not in keys:
            takes = ", ".join(f"{other} ({kind_of(key).written})" for other, key in keys.items())
            can = f"it can be asked for {takes}" if takes else "its samples depend on nothing that can be given"
            raise UsageError(f"{who} cannot be asked for {name!r}; {can}.")
    told = {name: read_given(name, keys[name], value, n) for name, value in given.items()}
    images = [len(one) for name, one in told.items() if kind_of(keys[name]).pixels]
    said = _said(keys, told)
    each = len(said) if len(said) > 1 and max(images, default=0) != len(said) else 1
    if n is None:
        n = max(images) * each if images else max([SAMPLES, *map(len, told.values())])
    batch: Batch = {}
    held_to: Batch = {}
    records: list[dict[str, Any]] = [{} for _ in range(n)]
    turns = torch.arange(first, first + n)
    for name, one in told.items():
        chosen = (turns // each if kind_of(keys[name]).pixels else turns) % len(one)
        batch[name] = one.rows[chosen]
        _record(records, name, [one.records[i] for i in chosen.tolist()])
    rest = {name: key for name, key in keys.items() if name not in told}
    classes = {name: key for name, key in rest.items() if key.kind == "class"}
    wanted = [name for name, key in rest.items() if name not in classes and has_rows(spec, name, key)]
    if wanted and n:
        held = {name for name, key in classes.items() if has_rows(spec, name, key) and not key.target}
        _Taken(batch, records, held_to, spec, seed, first, each).take(wanted, held, _opened(rows, wanted))
    stride = each
    for name in [name for name in classes if name not in batch]:
        batch[name] = turns // stride % len(keys[name].names)
        stride *= len(keys[name].names)  # the next goes on when this one is through: every pair of them comes
        _record(records, name, [class_word(index, keys[name].names) for index in batch[name].tolist()])
    ordered = {name: batch[name] for name in keys if name in batch}
    return Asked(
        n,
        ordered,
        records,
        keys,
        frozenset(told),
        _words(keys, told, [name for name in classes if name in batch], n, batch),
        held_to,
        each,
    )


def _name(variant: Variant[Any]) -> str:
    return type(variant).__name__


def has_rows(spec: DataSpec, name: str, key: Key) -> bool:
    """Whether the data has rows that can stand under the key `name`."""
    own = spec.keys.get(name)
    return own is not None and (own.kind, own.shape, own.names) == (key.kind, key.shape, key.names)


def _opened(rows: Rows, names: Sequence[str]) -> Sequence[Dataset[Any]]:
    try:
        return rows()
    except UsageError as error:
        raise UsageError(f"{', '.join(names)} comes from the data unless given, and {error}") from error


def _record(records: list[dict[str, Any]], name: str, values: Sequence[Any]) -> None:
    for record, value in zip(records, values, strict=True):
        record[name] = value


@dataclass
class _Taken:
    """Rows of held-out samples, put into `batch` and `records`, and of masks into `held`."""

    batch: Batch
    records: list[dict[str, Any]]
    held: Batch
    spec: DataSpec
    seed: int
    first: int
    each: int
    """How often each row is taken, one after another."""

    def take(self, names: Sequence[str], classes: set[str], splits: Sequence[Dataset[Any]]) -> None:
        """Rows of the keys `names`, and of those `classes` that are in a stream with one of them."""
        streams: dict[str, list[str]] = {}
        for name in names:
            stream = stream_of(splits[0], name) if splits else ""
            streams.setdefault(stream, []).append(name)
        for stream, inside in streams.items():
            split = next((one for one in splits if one.streams().get(stream, 0)), None)
            if split is None:
                raise UsageError(f"no held-out samples to take {', '.join(inside)} from; give {inside[0]} yourself.")
            self._take(inside, classes, split, stream)

    def _take(self, names: Sequence[str], classes: set[str], split: Dataset[Any], stream: str) -> None:
        n, length = len(self.records), split.streams()[stream]
        purpose = f"rows:{stream}" if stream else "rows"
        order = torch.randperm(length, generator=make_generator(self.seed, purpose, torch.device("cpu")))
        indices = order[torch.arange(self.first, self.first + n) // self.each % length]
        drawn = read(split, {stream: indices})
        for name in names:
            key = self.spec[name]
            self.batch[name] = kind_of(key).to_step(drawn[name])
            self._say(name, key, drawn[name], split, stream, indices)
        images = [name for name in names if self.spec[name].kind == "image"]
        # a mask of a stream of its own says nothing of the image that it is laid on
        self.held.update({name: drawn[name] for name in self.spec.masks_held(images) if name in drawn})
        for name, key in self.spec.keys.items():
            if key.kind != "class" or name not in drawn or any(name in record for record in self.records):
                continue
            if name in classes:
                self.batch[name] = drawn[name]
            _record(self.records, name, [class_word(index, key.names) for index in drawn[name].tolist()])

    def _say(self, name: str, key: Key, rows: Tensor, split: Dataset[Any], stream: str, indices: Tensor) -> None:
        if key.kind == "text":
            _record(self.records, name, decode_text(rows))
        elif kind_of(key).pixels:
            _record(self.records, name, [_source(split, index, stream) for index in indices.tolist()])
        elif rows[:1].numel() <= _NUMBERS:
            _record(self.records, name, number_records(rows))


def _source(split: Dataset[Any], index: int, stream: str) -> str | int:
    """The file, or the row, that an image came from."""
    source = split.source(index, stream)
    return index if source is None else source


def _words(
    keys: Mapping[str, Key], told: Mapping[str, Given], in_turn: Sequence[str], n: int, batch: Batch
) -> tuple[str, ...]:
    """Of the key whose values take turns, those: what most are given of, else classes that go in turn and fit."""
    if given := _said(keys, told):
        return given[:n]
    for name in in_turn:
        names = keys[name].names
        if 2 <= len(names) <= IN_COLUMNS // 2 and n >= len(names) and _turns(batch[name], len(names)):
            return names
    return ()


def _said(keys: Mapping[str, Key], told: Mapping[str, Given]) -> tuple[str, ...]:
    """The classes or texts that are given, where there are several: of the key that most are given of."""
    given = [one for name, one in told.items() if keys[name].kind in ("class", "text") and 2 <= len(one) <= IN_COLUMNS]
    return tuple(str(word) for word in max(given, key=len).records) if given else ()


def _turns(rows: Tensor, classes: int) -> bool:
    return bool((rows == torch.arange(len(rows)) % classes).all())


__all__ = ["SAMPLES", "Asked", "Rows", "asked_keys", "choose", "conditions", "fill", "has_rows"]
