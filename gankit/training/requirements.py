"""Whether a dataset has what a variant works on, and which datasets do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gankit.data.faults import spec_fault
from gankit.dataset import stream_of
from gankit.discovery.entry_points import datasets, load_dataset
from gankit.errors import PluginError, UsageError
from gankit.plugin import Dataset, Variant


def check_requirements(variant: Variant[Any], dataset: Dataset[Any], name: str) -> None:
    """:class:`UsageError` names the keys that `variant` needs and `dataset`, called `name`, lacks, and who has them.

    Or that its images are no pairs, where `variant` learns from pairs.
    """
    spec = dataset.spec
    if fault := spec_fault(spec):
        raise PluginError(f"dataset {name!r}: {fault}")
    needed = {
        **dict.fromkeys(variant.produces, "draws"),
        **dict.fromkeys(variant.requires | variant.conditions, "requires"),
    }
    missing = sorted(set(needed) - set(spec.keys))
    who = type(variant).__name__
    if missing:
        reason = f"has no {' and no '.join(missing)}, which {who} {needed[missing[0]]}; it has {', '.join(spec.keys)}"
    elif unpaired := _unpaired(variant, dataset):
        reason = f"{unpaired}, and {who} learns from pairs"
    else:
        return
    able = next(_datasets_with(frozenset(needed), variant, name), None)
    raise UsageError(f"dataset {name!r} {reason}." + (f" Use --dataset {able}." if able else ""))


def _unpaired(variant: Variant[Any], dataset: Dataset[Any]) -> str:
    """Why rows of `dataset` are not the pairs that `variant` learns from; "" if they are, or it does not."""
    spec, names = dataset.spec, variant.paired
    if len({stream_of(dataset, name) for name in names}) > 1:
        paired = " (data.paired = true draws pairs)" if "paired" in type(dataset.config).model_fields else ""
        return f"draws its {' and '.join(names)} independently of each other{paired}"
    groups = {spec.moves_with(name) for name in names}
    if len(groups) > 1:
        first, second = names[:2]
        return f"does not say that its {first} and {second} are aligned (the key {second!r} with of={first!r})"
    return ""


def _datasets_with(needed: frozenset[str], variant: Variant[Any], but: str) -> Iterator[str]:
    """The installed datasets that have all of `needed` with their default options, in pairs where `variant` needs them.

    The likely ones first.

    One is opened when it is asked for: it may take long to.
    """
    installed = datasets()
    for name in dict.fromkeys([getattr(variant, "dataset", ""), *installed]):
        if name in installed and name != but:
            try:
                cls = load_dataset(name)
                opened = cls(cls.Config())
                fits = needed <= set(opened.spec.keys) and not _unpaired(variant, opened)
            except Exception:  # broken, or of files of the user's
                continue
            if fits:
                yield name


__all__ = ["check_requirements"]
