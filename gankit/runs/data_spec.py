"""What a run's data was, as ``spec.json``: the networks can then be built without the data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from gankit.data.faults import spec_fault
from gankit.data.fingerprint import difference as changes_of_samples
from gankit.errors import GankitError
from gankit.files import replace_text
from gankit.options.spelling import shown
from gankit.plugin import DataSpec, Key
from gankit.runs.json_file import damaged, read_object

REMEDY = "remove it: the data itself is then looked at"


@dataclass(frozen=True)
class KeptSpec:
    """What the data of a run was: its spec, and by split what its dataset says of the samples in few bytes."""

    spec: DataSpec
    fingerprints: Mapping[str, str]

    def changes(self, fingerprints: Mapping[str, str]) -> list[str]:
        """Sentences on the splits that hold other samples now."""
        return [
            f"The samples of the {split} split are not those that the run was made with: {what}."
            for split, then in self.fingerprints.items()
            if (what := changes_of_samples(then, fingerprints.get(split, "")))
        ]


def write_spec(path: Path, kept: KeptSpec) -> None:
    keys = {name: asdict(key) for name, key in kept.spec.keys.items()}
    replace_text(path, json.dumps({"keys": keys, "fingerprints": dict(kept.fingerprints)}, indent=1) + "\n")


def read_spec(path: Path) -> KeptSpec | None:
    """What is kept; None if there is no such file. :class:`GankitError` if it is damaged."""
    try:
        path.lstat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise GankitError(f"{path} cannot be read: {error.strerror or error}") from error
    stored = read_object(path, REMEDY)
    try:
        spec = _spec(stored.get("keys"))
        prints = stored.get("fingerprints", {})
        if not isinstance(prints, dict) or not all(isinstance(one, str) for one in prints.values()):
            raise ValueError("its fingerprints are no texts")
    except ValueError as error:
        raise damaged(path, str(error), REMEDY) from error
    return KeptSpec(spec, prints)


def _spec(stored: object) -> DataSpec:
    """The spec; ValueError says what is wrong with it."""
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


def difference(then: DataSpec, now: DataSpec) -> str:
    """What has changed between two specs, in words; empty if nothing has."""
    for name in [*then.keys, *now.keys]:
        if name not in now.keys or name not in then.keys:
            return f"{shown(name)} is {'gone' if name in then.keys else 'new'}"
        old, new = then[name], now[name]
        if (old.kind, old.shape) != (new.kind, new.shape):
            return f"{shown(name)} was {old.kind} {old.shape}, now it is {new.kind} {new.shape}"
        if old.names != new.names:
            changed = sorted(set(old.names) ^ set(new.names))
            return f"the classes of {shown(name)} are others" + (
                f": {shown(changed[0])}" if changed else ", or in another order"
            )
        # what samples are held to is a matter of judging, and may become known later
        if replace(old, like=None) != replace(new, like=None):
            return f"{shown(name)} describes or moves with another image than it did"
    return ""


__all__ = ["KeptSpec", "difference", "read_spec", "write_spec"]
