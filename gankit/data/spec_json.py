"""A :class:`~gankit.plugin.DataSpec` as values that fit into JSON, and back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from gankit.data.faults import spec_fault
from gankit.options.spelling import shown
from gankit.plugin import DataSpec, Key

__all__ = ["spec_from_json", "spec_to_json"]


def spec_to_json(spec: DataSpec) -> dict[str, Any]:
    """The fields of each key, by its name."""
    return {name: asdict(key) for name, key in spec.keys.items()}


def spec_from_json(stored: object) -> DataSpec:
    """The reverse of :func:`spec_to_json`. ValueError says what is wrong with `stored`."""
    if not isinstance(stored, dict) or not stored:
        raise ValueError("it has no keys")
    spec = DataSpec(keys={name: _key(name, values) for name, values in stored.items()})
    if fault := spec_fault(spec):
        raise ValueError(fault)
    return spec


def _key(name: str, values: object) -> Key:
    if not isinstance(values, dict) or not isinstance(values.get("kind"), str):
        raise ValueError(f"key {shown(name)} has no kind")
    given: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in values.items()}
    for n, value in given.items():
        if n not in _RIGHT:
            raise ValueError(f"key {shown(name)} has a field {shown(n)}, which this gankit does not know")
        if not _RIGHT[n](value):
            raise ValueError(f"key {shown(name)}: its {n} is wrong")
    return Key(**given)


def _tuple_of(kind: type, least: int = 0, most: int = 0) -> Any:
    """Whether a value is a tuple of `kind`, numbers within bounds."""

    def right(value: object) -> bool:
        inside = isinstance(value, tuple) and all(type(item) is kind for item in value)
        return inside and (kind is not int or all(least <= item <= most for item in value))  # type: ignore[attr-defined]

    return right


def _text_or_none(value: object) -> bool:
    return value is None or isinstance(value, str)


_LARGEST = 1 << 24
"""No side of an image, nor text or vector, is longer: a number that was damaged must not fill the memory."""

_RIGHT = {
    "kind": lambda value: isinstance(value, str),
    "shape": _tuple_of(int, 1, _LARGEST),
    "names": _tuple_of(str),
    "of": _text_or_none,
    "mirror": _tuple_of(int, 0, _LARGEST),
    "like": _text_or_none,
    "target": lambda value: isinstance(value, bool),
}
"""Of each field of a key, whether a value is of its type."""
