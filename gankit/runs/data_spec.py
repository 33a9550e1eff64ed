"""What a run's data was, as ``spec.json``: the networks can then be built without the data."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gankit.errors import GankitError
from gankit.files import replace_text
from gankit.plugin import DataSpec, Key


def write_spec(path: Path, spec: DataSpec) -> None:
    replace_text(path, json.dumps({"keys": {name: asdict(key) for name, key in spec.keys.items()}}, indent=1) + "\n")


def read_spec(path: Path) -> DataSpec | None:
    """The spec; None if there is no such file. :class:`GankitError` if it is damaged."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        keys = {name: _key(fields) for name, fields in stored["keys"].items()}
        if not keys:
            raise ValueError("no keys")
        return DataSpec(keys=keys)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise GankitError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise GankitError(f"{path} is damaged. Remove it: the data itself is then looked at.") from error


def _key(fields: dict[str, Any]) -> Key:
    values: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in fields.items()}
    return Key(**values)


def difference(then: DataSpec, now: DataSpec) -> str:
    """What has changed between two specs, in words; empty if nothing has."""
    for name in [*then.keys, *now.keys]:
        if name not in now.keys or name not in then.keys:
            return f"{name!r} is {'gone' if name in then.keys else 'new'}"
        old, new = then[name], now[name]
        if (old.kind, old.shape) != (new.kind, new.shape):
            return f"{name!r} was {old.kind} {old.shape}, now it is {new.kind} {new.shape}"
        if old.names != new.names:
            changed = sorted(set(old.names) ^ set(new.names))
            return f"the classes of {name!r} are others" + (f": {changed[0]!r}" if changed else ", or in another order")
        if old != new:
            return f"{name!r} describes or moves with another image than it did"
    return ""


__all__ = ["difference", "read_spec", "write_spec"]
