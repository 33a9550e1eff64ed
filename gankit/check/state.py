"""State that steps change outside of parameters and buffers: it is lost with the process."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gankit.plugin import Variant

DEEPEST = 6
"""Levels of lists, mappings and objects that are looked into."""


def attributes(variant: Variant[Any], networks: Mapping[str, nn.Module]) -> dict[str, str]:
    """A digest of what each attribute of the variant, and each public plain one of its modules, holds.

    Names that begin with an underscore are a module's own business: torch's, or a cache.
    """
    found = {f"the variant's attribute {name!r}": digest(value) for name, value in _own(variant).items()}
    for network, root in networks.items():
        for path, module in root.named_modules():
            where = f"{network}.{path}" if path else network
            for name, value in vars(module).items():
                if not name.startswith("_") and name != "training":
                    found[f"{where}'s attribute {name!r}"] = digest(value)
    return found


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """The attributes whose content differs, of those that were there before: one that is set once is a cache."""
    return [name for name, content in after.items() if name in before and before[name] != content]


def digest(value: object) -> str:
    """Says what `value` holds: numbers and texts, arrays, generators, and what is made of them."""
    made = hashlib.sha256()
    _add(made, value, 0)
    return made.hexdigest()


def _own(variant: Variant[Any]) -> dict[str, Any]:
    return {name: value for name, value in vars(variant).items() if name != "config"}


def _add(made: Any, value: object, depth: int) -> None:
    made.update(f"{type(value).__qualname__}(".encode())
    if isinstance(value, Tensor):
        array = value.detach().cpu().contiguous()
        made.update(repr((array.dtype, tuple(array.shape))).encode())
        made.update(array.flatten().view(torch.uint8).numpy().tobytes() if array.numel() else b"")
    elif isinstance(value, np.ndarray):
        made.update(repr((value.dtype, value.shape)).encode() + np.ascontiguousarray(value).tobytes())
    elif isinstance(value, torch.Generator):
        made.update(value.get_state().numpy().tobytes())
    elif isinstance(value, random.Random):
        made.update(repr(value.getstate()).encode())
    elif isinstance(value, nn.Module):
        return  # a network's own tensors are saved; its attributes are looked at where it stands
    elif value is None or isinstance(value, bool | int | float | complex | str | bytes):
        made.update(repr(value).encode("utf-8", "backslashreplace"))
    elif depth < DEEPEST:
        for part in _parts(value):
            _add(made, part, depth + 1)
    made.update(b")")


def _parts(value: object) -> list[object]:
    if isinstance(value, Mapping):
        return [part for pair in value.items() for part in pair]
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    try:
        return list(value) if hasattr(value, "__len__") else list(vars(value).items())  # type: ignore[call-overload]
    except TypeError:
        return []


__all__ = ["attributes", "changed", "digest"]
