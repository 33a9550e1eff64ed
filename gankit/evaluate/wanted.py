"""Which classes a sample is held to: what it must show to be right, by the judge's heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gankit.dataset import Dataset, DataSpec, Key, stream_of
from gankit.evaluate.real import class_keys
from gankit.sampling.conditions import asked_keys, has_rows

if TYPE_CHECKING:
    from gankit.plugin import Variant


def held_to(variant: Variant[Any], data: Dataset[Any], produced: str, heads: Mapping[str, int]) -> dict[str, str]:
    """The judge's heads that samples are held to; of each, the class key that has the class wanted.

    In this order: classes that are asked for (by their own head, or that of the key they are ``like``); classes of an
    image that is asked with, by the head of the key they are ``like``; and of the sample that a text or a vector of the
    produced image came from, all its classes.
    """
    spec = data.spec
    asks = asked_keys(variant, spec, produced)
    found: dict[str, str] = {}
    for name, key in asks.items():
        head = name if name in heads else key.like
        if key.kind == "class" and head is not None and head in heads and _same_classes(key, spec, head):
            found.setdefault(head, name)
    given = set(from_rows(variant, spec, produced))
    for name, key in spec.keys.items():
        of_given, head = key.kind == "class" and spec.image_of(name) in given, key.like
        if of_given and head is not None and head in heads and _same_classes(key, spec, head):
            found.setdefault(head, name)
    for name in sorted(given):
        if asks[name].kind in ("text", "vector") and spec.image_of(name) in (produced, None):
            stream = stream_of(data, name)
            for head in heads:
                if stream_of(data, head) == stream:
                    found.setdefault(head, head)
    return found


def caption_metric(spec: DataSpec, of_classes: str = "accuracy") -> str:
    """The figure by which a variant that draws from captions keeps its best: `of_classes`, if there are any."""
    return of_classes if class_keys(spec) else "r_precision"


def captions_held_to(variant: Variant[Any], data: Dataset[Any], produced: str) -> str:
    """The key of the captions that samples are asked with and real images have; "" if there is none."""
    spec = data.spec
    for name in from_rows(variant, spec, produced):
        captions = name in spec.keys and spec[name].kind == "text" and spec.image_of(name) in (produced, None)
        if captions and stream_of(data, name) == stream_of(data, produced):
            return name
    return ""


def masks_held_to(variant: Variant[Any], data: Dataset[Any], produced: str) -> list[str]:
    """The masks of images that samples are asked with which say what those samples are to show."""
    spec = data.spec
    given = [name for name in from_rows(variant, spec, produced) if spec[name].kind == "image"]
    streams = {stream_of(data, name) for name in given}
    return [
        name
        for name in spec.masks_held(given)
        if stream_of(data, name) in streams and spec.moves_with(spec[name].like or "") == spec.moves_with(produced)
    ]


def from_rows(variant: Variant[Any], spec: DataSpec, produced: str) -> list[str]:
    """The keys that samples are asked with that come from the data's samples, as long as nobody gives them."""
    asks = asked_keys(variant, spec, produced)
    return sorted(name for name, key in asks.items() if key.kind != "class" and has_rows(spec, name, key))


def in_turn(variant: Variant[Any], spec: DataSpec, produced: str) -> list[Key]:
    """The classes that go in turn beside samples of the data, whatever those samples' own are."""
    asks = asked_keys(variant, spec, produced)
    return [key for name, key in asks.items() if key.kind == "class" and (key.target or not has_rows(spec, name, key))]


def _same_classes(key: Key, spec: DataSpec, head: str) -> bool:
    return key.names == spec[head].names
