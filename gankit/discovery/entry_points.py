"""Which plugins are installed, by metadata alone; loading the one that is asked for; naming what is broken.

:func:`variants` and :func:`datasets` read the ``entry_points.txt`` of installed distributions and import nothing, so a
broken plugin costs the others nothing. :func:`load_variant` and :func:`load_dataset` import one plugin.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any, TypeVar

from gankit.discovery.entry import PluginEntry
from gankit.discovery.metadata import describe, installed, points
from gankit.discovery.problems import remember
from gankit.discovery.verify import broken, verify_dataset, verify_format, verify_variant
from gankit.errors import PluginError, UsageError
from gankit.options.spelling import nearest, shown

if TYPE_CHECKING:
    from gankit.foreign import WeightFormat
    from gankit.plugin import Dataset, Variant

T = TypeVar("T")

API = 1
"""Version of the contract in `gankit.plugin`."""

LONGEST = 400
"""Characters of a list of names in a message."""

_GROUPS = {
    "variant": re.compile(r"gankit\.plugins\.v(\w+)"),
    "dataset": re.compile(r"gankit\.datasets\.v(\w+)"),
    "format": re.compile(r"gankit\.formats\.v(\w+)"),
}
_OURS = re.compile(r"(gankit[\w.-]*)")
NAME = re.compile(r"[\w.-]+")
"""What can be typed, and printed, as the name of a plugin."""
_VALUE = re.compile(r"[\w.]+\s*:\s*[\w.]+\s*(\[.*\])?")
_READ = f"gankit.plugins.v{API} (variants) and gankit.datasets.v{API}"


def variants() -> dict[str, PluginEntry]:
    """Every installed variant by name, sorted; nothing is imported."""
    return _found("variant")


def datasets() -> dict[str, PluginEntry]:
    """Every installed dataset by name, sorted; nothing is imported."""
    return _found("dataset")


def formats() -> dict[str, PluginEntry]:
    """What reads the weights of other programs, by ``format.variant``, sorted; nothing is imported."""
    return _found("format")


def load_variant(name: str) -> type[Variant[Any]]:
    """Import the variant `name`. UsageError if there is none, PluginError if it cannot be used."""
    return _load(_lookup(variants(), name, "variant"), verify_variant)


def load_dataset(name: str) -> type[Dataset[Any]]:
    """Import the dataset `name`. UsageError if there is none, PluginError if it cannot be used."""
    return _load(_lookup(datasets(), name, "dataset"), verify_dataset)


def load_format(name: str) -> type[WeightFormat]:
    """Import what reads the weights of a format for a variant, ``format.variant``. Errors as of the others."""
    return _load(_lookup(formats(), name, "format"), verify_format)


def unknown(name: str, kind: str, names: Collection[str]) -> UsageError:
    """The error for a `name` that is not among `names`; says so if some plugin has it in a group that is not read."""
    for distribution in installed():
        for point in points(distribution, _OURS):
            if point.name == name and not any(known.fullmatch(point.group) for known in _GROUPS.values()):
                whose = describe(distribution).name
                hint = f"{whose} has it in the entry-point group {shown(point.group)}; gankit reads {_READ}"
                return UsageError(f"unknown {kind} {shown(name)}\n{hint}")
    if not names:
        return UsageError(
            f"unknown {kind} {shown(name)}: no plugins are installed\ntry: pip install gankit-plugin-{name}"
        )
    listed = ", ".join(names)
    listed = listed if len(listed) <= LONGEST else f"{listed[: LONGEST - 3]}..."
    return UsageError(f"unknown {kind} {shown(name)}{nearest(name, names)}\ninstalled: {listed}")


def blame(error: ImportError) -> PluginError | None:
    """The error for the plugin whose code raised `error` while it was used, if it was one's."""
    entry, traceback = None, error.__traceback__
    while traceback is not None:
        entry = owner(traceback.tb_frame.f_globals.get("__name__", "")) or entry
        traceback = traceback.tb_next
    return broken(entry, _cause(error, entry)) if entry else None


def owner(module: str) -> PluginEntry | None:
    """The plugin whose package `module` belongs to, by the entry points of all plugins; nothing is imported."""
    top = module.partition(".")[0]
    if top == "gankit":  # it has datasets of its own, and is no plugin
        return None
    entries = [*variants().values(), *datasets().values()]
    return next((entry for entry in entries if re.split(r"[.:]", entry.value)[0].strip() == top), None)


def _lookup(found: dict[str, PluginEntry], name: str, kind: str) -> PluginEntry:
    if name not in found:
        raise unknown(name, kind, found)
    entry = found[name]
    if entry.problem:
        raise broken(entry, entry.problem)
    return entry


def _load(entry: PluginEntry, verify: Callable[[object, PluginEntry], T]) -> T:
    try:
        try:
            loaded = EntryPoint(entry.name, entry.value, entry.kind).load()
        except (Exception, SystemExit) as error:
            raise broken(entry, _cause(error, entry)) from error
        cls = verify(loaded, entry)
    except PluginError as error:
        remember(entry, error.cause)
        raise
    remember(entry, None)
    return cls


def _cause(error: BaseException, entry: PluginEntry) -> str:
    """One line about an exception raised by importing a plugin, with the place in the plugin that raised it."""
    module = entry.value.partition(":")[0]
    if isinstance(error, ModuleNotFoundError) and error.name and error.name != module:
        return f"it needs the module {error.name!r}, which is not installed"
    text = " ".join(str(error).split()) or "no message"
    # str(SyntaxError) already says where; a failure to find the module happens inside importlib
    if isinstance(error, SyntaxError) or not (where := place(error)):
        return f"{type(error).__name__}: {text}"
    return f"{type(error).__name__}: {text} ({where})"


def place(error: BaseException) -> str:
    """``file:line`` of the innermost frame that is not the import system's own; empty if there is none."""
    where = ""
    traceback = error.__traceback__
    while traceback is not None:
        path = traceback.tb_frame.f_code.co_filename
        if not path.startswith("<frozen") and path != __file__ and f"importlib{os.sep}" not in path:
            where = f"{os.path.basename(path)}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return where


def _found(kind: str) -> dict[str, PluginEntry]:
    usable: dict[str, PluginEntry] = {}
    outdated: dict[str, PluginEntry] = {}
    for version, entry in _entries(kind):
        if version != str(API):
            problem = f"it is made for version {version} of the plugin contract; this gankit speaks version {API}"
            outdated.setdefault(entry.name, replace(entry, problem=problem))
        elif entry.name in usable:
            usable[entry.name] = _duplicate(usable[entry.name], entry)
        else:
            usable[entry.name] = entry
    return dict(sorted((outdated | usable).items()))


def _duplicate(first: PluginEntry, second: PluginEntry) -> PluginEntry:
    if first.distribution == second.distribution:
        problem = f"{first.distribution} registers the name twice"
    else:
        problem = f"{second.distribution} {second.version} registers the same name"
    return replace(first, problem=f"{first.problem}; {problem}" if first.problem else problem)


def _entries(kind: str) -> Iterator[tuple[str, PluginEntry]]:
    """(contract version, entry) of every entry point of `kind`; of a distribution found twice the first counts."""
    seen: set[str] = set()
    for distribution in installed():
        found = points(distribution, _GROUPS[kind])
        if not found:
            continue
        about = describe(distribution)
        normal = re.sub(r"[-_.]+", "-", about.name).lower()
        if normal in seen:
            continue
        seen.add(normal)
        for point in found:
            group = _GROUPS[kind].fullmatch(point.group)
            problem = None if _VALUE.fullmatch(point.value) else f"{shown(point.value)} is not MODULE:CLASS"
            if not NAME.fullmatch(point.name):
                problem = f"its name {shown(point.name)} is none: letters, digits, '.', '-' and '_' make one"
            entry = PluginEntry(
                name=point.name,
                kind=kind,
                distribution=about.name,
                version=about.version,
                value=point.value,
                summary=about.summary,
                problem=problem,
            )
            yield group[1] if group else "", entry


__all__ = [
    "API",
    "NAME",
    "blame",
    "datasets",
    "formats",
    "load_dataset",
    "load_format",
    "load_variant",
    "owner",
    "place",
    "unknown",
    "variants",
]
