"""What a run's data was, as ``spec.json``: the networks can then be built without the data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gankit.data.fingerprint import difference as changes_of_samples
from gankit.data.spec_json import spec_from_json, spec_to_json
from gankit.errors import GankitError
from gankit.files import replace_text
from gankit.json_file import damaged, read_object
from gankit.options.spelling import shown
from gankit.plugin import DataSpec

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
    kept_json = {"keys": spec_to_json(kept.spec), "fingerprints": dict(kept.fingerprints)}
    replace_text(path, json.dumps(kept_json, indent=1) + "\n")


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
        spec = spec_from_json(stored.get("keys"))
        prints = stored.get("fingerprints", {})
        if not isinstance(prints, dict) or not all(isinstance(one, str) for one in prints.values()):
            raise ValueError("its fingerprints are no texts")
    except ValueError as error:
        raise damaged(path, str(error), REMEDY) from error
    return KeptSpec(spec, prints)


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
