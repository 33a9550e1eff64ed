"""What is wrong with keys, specs and batches: whether data is as the table of `gankit.data.kinds` says."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gankit.data.kinds import KINDS, kind_of
from gankit.plugin import DataSpec, Key


def key_fault(name: str, key: Key) -> str:
    """What is wrong with a key by itself, in words that name it; "" if nothing is."""
    if key.kind not in KINDS:
        return f"key {name!r}: unknown kind {key.kind!r}; there are {', '.join(KINDS)}"
    if text := KINDS[key.kind].shape_fault(key):
        return f"key {name!r} ({key.kind}): {text}"
    if any(size < 1 for size in key.shape):
        return f"key {name!r}: shape {key.shape} has an empty dimension"
    return ""


def spec_fault(spec: DataSpec) -> str:
    """What is wrong with the keys of `spec`, in words that name the key; "" if nothing is."""
    images = ", ".join(spec.images) or "none"
    for name, key in spec.keys.items():
        if text := key_fault(name, key):
            return text
        if key.of is not None and key.of not in spec.images:
            return f"key {name!r}: it is of {key.of!r}, which is no image; there are {images}"
        if (image := spec.moves_with(name)) is not None and spec.keys[image].of is not None:
            return f"key {name!r}: its `of` leads in a circle, to {image!r}, which is of {spec.keys[image].of!r}"
        if key.like is not None and (key.like not in spec.keys or not _alike(key, spec.keys[key.like])):
            same = "of the same shape" if key.kind == "mask" else "with the same classes"
            return f"key {name!r}: it is like {key.like!r}, which is no key {same}"
    return ""


def _alike(key: Key, other: Key) -> bool:
    if key.kind != "mask":
        return key.names == other.names
    return (key.kind, key.shape) == (other.kind, other.shape)


def fault(key: Key, values: Any, number: int) -> str:
    """What is wrong with `values`, `number` of them as a dataset delivered them for `key`; "" if nothing is."""
    kind, shape = kind_of(key), (number, *key.shape)
    if not isinstance(values, Tensor):
        return f"is a {type(values).__name__}, not a tensor"
    if (values.dtype, tuple(values.shape)) != (kind.dtype, shape):
        return f"is {_dtype(values.dtype)} {tuple(values.shape)}; its spec says {_dtype(kind.dtype)} {shape}"
    if values.device.type != "cpu":
        return f"is on {values.device}; batch() returns CPU tensors"
    return kind.value_fault(key, values)


def _dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


__all__ = ["fault", "key_fault", "spec_fault"]
