"""Whether a dataset has what a variant works on, and which datasets do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gankit.data.faults import spec_fault
from gankit.discovery.entry_points import datasets, load_dataset
from gankit.errors import PluginError, UsageError
from gankit.plugin import Dataset, Variant


def check_requirements(variant: Variant[Any], dataset: Dataset[Any], name: str) -> None:
    """:class:`UsageError` names the keys that `variant` needs and `dataset`, called `name`, lacks, and who has them."""
    spec = dataset.spec
    if fault := spec_fault(spec):
        raise PluginError(f"dataset {name!r}: {fault}")
    needed = {
        **dict.fromkeys(variant.produces, "draws"),
        **dict.fromkeys(variant.requires | variant.conditions, "requires"),
    }
    missing = sorted(set(needed) - set(spec.keys))
    if not missing:
        return
    who, verb = type(variant).__name__, needed[missing[0]]
    able = next(_datasets_with(frozenset(needed), [getattr(variant, "dataset", "")], name), None)
    raise UsageError(
        f"dataset {name!r} has no {' and no '.join(missing)}, which {who} {verb}; it has {', '.join(spec.keys)}."
        + (f" Use --dataset {able}." if able else "")
    )


def _datasets_with(needed: frozenset[str], first: list[str], but: str) -> Iterator[str]:
    """The installed datasets that have all of `needed` with their default options, likely ones first.

    One is opened when it is asked for: it may take long to.
    """
    installed = datasets()
    for name in dict.fromkeys([*first, *installed]):
        if name in installed and name != but:
            try:
                cls = load_dataset(name)
                has = set(cls(cls.Config()).spec.keys)
            except Exception:  # broken, or of files of the user's
                continue
            if needed <= has:
                yield name


__all__ = ["check_requirements"]
