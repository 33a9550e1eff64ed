"""A nested ``state_dict`` as JSON and tensors, and back: what optimisers and their like return, without pickling."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

Tensors = dict[str, Tensor]


def split(value: Any, tensors: Tensors, path: str = "") -> Any:
    """`value` as JSON; its tensors go into `tensors`, under their paths. TypeError names the place of what is neither.

    Knows dicts with keys of any plain kind, lists, tuples, numbers, text, True, False, None and tensors.
    """
    if isinstance(value, Tensor):
        key = path or "value"
        while key in tensors:  # {"a": {"b": x}, "a/b": y}
            key += "+"
        tensors[key] = value
        return {"$tensor": key}
    if isinstance(value, dict):
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return {key: split(one, tensors, _join(path, key)) for key, one in value.items()}
        pairs = [[split(key, tensors), split(one, tensors, _join(path, key))] for key, one in value.items()]
        return {"$pairs": pairs}
    if isinstance(value, (list, tuple)):
        parts = [split(one, tensors, _join(path, index)) for index, one in enumerate(value)]
        return {"$tuple": parts} if isinstance(value, tuple) else parts
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": str(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{path or 'the state'} is a {type(value).__name__}, which cannot be saved")


def join(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The reverse of :func:`split`. KeyError, TypeError or ValueError if it was not made by it."""
    if isinstance(value, list):
        return [join(one, tensors) for one in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((kind, content),) = value.items()
        if kind == "$tensor":
            return tensors[content]
        if kind == "$tuple":
            return tuple(join(one, tensors) for one in content)
        if kind == "$float":
            return float(content)
        if kind == "$pairs":
            return {join(key, tensors): join(one, tensors) for key, one in content}
    return {key: join(one, tensors) for key, one in value.items()}


def _join(path: str, key: object) -> str:
    return f"{path}/{key}" if path else str(key)


__all__ = ["join", "split"]
