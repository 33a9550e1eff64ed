"""Which plugins are installed, by metadata alone; loading the one that is asked for; naming what is broken.

:func:`variants` and :func:`datasets` read the ``entry_points.txt`` of installed distributions and import nothing, so a
broken plugin costs the others nothing. :func:`load_variant` and :func:`load_dataset` import one plugin.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator, Set
from dataclasses import replace
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import TYPE_CHECKING, Any, TypeVar

from gankit.discovery.found import Found
from gankit.discovery.problems import remember
from gankit.errors import PluginError, UsageError
from gankit.options.spelling import nearest

if TYPE_CHECKING:
    from gankit.plugin import Dataset, Variant

T = TypeVar("T")

API = 1
"""Version of the contract in `gankit.plugin`."""

UNKNOWN = "unknown distribution"
"""Stands for the name of a distribution whose metadata cannot be read."""

_GROUPS = {"variant": re.compile(r"gankit\.plugins\.v(\w+)"), "dataset": re.compile(r"gankit\.datasets\.v(\w+)")}
_OURS = re.compile(r"(gankit[\w.-]*)")
_READ = f"gankit.plugins.v{API} (variants) and gankit.datasets.v{API}"


def variants() -> dict[str, Found]:
    """Every installed variant by name, sorted; nothing is imported."""
    return _found("variant")


def datasets() -> dict[str, Found]:
    """Every installed dataset by name, sorted; nothing is imported."""
    return _found("dataset")


def load_variant(name: str) -> type[Variant[Any]]:
    """Import the variant `name`. UsageError if there is none, PluginError if it cannot be used."""
    return _load(_lookup(variants(), name, "variant"), verify_variant)


def load_dataset(name: str) -> type[Dataset[Any]]:
    """Import the dataset `name`. UsageError if there is none, PluginError if it cannot be used."""
    return _load(_lookup(datasets(), name, "dataset"), verify_dataset)


def unknown(name: str, kind: str, names: Collection[str]) -> UsageError:
    """The error for a `name` that is not among `names`; says so if some plugin has it in a group that is not read."""
    for distribution in distributions():
        for group, point in _points(distribution, _OURS):
            if point.name == name and not any(known.fullmatch(group) for known in _GROUPS.values()):
                hint = f"{_describe(distribution)[0]} has it in the entry-point group {group!r}; gankit reads {_READ}"
                return UsageError(f"unknown {kind} {name!r}\n{hint}")
    if not names:
        return UsageError(f"unknown {kind} {name!r}: no plugins are installed\ntry: pip install gankit-plugin-{name}")
    return UsageError(f"unknown {kind} {name!r}{nearest(name, names)}\ninstalled: {', '.join(names)}")


def broken(found: Found, cause: str) -> PluginError:
    """The error for a plugin that cannot be used: distribution, cause, and the command that removes it."""
    error = PluginError(
        f"{found.kind} {found.name!r} of {found.distribution} {found.version} cannot be used: {cause}\n"
        f"remove it with: {found.remedy}"
    )
    error.cause = cause
    return error


def blame(error: ImportError) -> PluginError | None:
    """The error for the plugin whose code raised `error` while it was used, if it was one's."""
    known = {entry.value.partition(":")[0].partition(".")[0]: entry for entry in (variants() | datasets()).values()}
    found, traceback = None, error.__traceback__
    while traceback is not None:
        found = known.get(traceback.tb_frame.f_globals.get("__name__", "").partition(".")[0], found)
        traceback = traceback.tb_next
    return broken(found, _cause(error, found)) if found else None


def verify_variant(cls: object, found: Found) -> type[Variant[Any]]:
    """`cls` if it is a usable Variant class, else PluginError."""
    from gankit.options.run import RESERVED
    from gankit.plugin import Variant

    _verify_class(cls, Variant, found)
    if taken := sorted(RESERVED & set(cls.Config.model_fields)):  # type: ignore[attr-defined]
        raise broken(found, f"its option {taken[0]!r} has the name of an option that every run has; rename it")
    if not isinstance(getattr(cls, "dataset", None), str):
        raise broken(found, f'{found.value} names no default dataset: give it `dataset = "..."`')
    for attribute, kinds, called in (
        ("requires", Set, "set"),
        ("conditions", Set, "set"),
        ("averaged", (tuple, list), "tuple"),
        ("produces", (tuple, list), "tuple"),
    ):
        if not isinstance(value := getattr(cls, attribute), kinds):
            raise broken(found, f"{found.value}.{attribute} must be a {called} of names, not {value!r}")
    own = {name for name in ("sample", "codes", "decode") if getattr(cls, name) is not getattr(Variant, name)}
    if "sample" not in own and not own >= {"codes", "decode"}:
        raise broken(found, f"{found.value} lacks sample, or codes and decode in its place")
    return cls  # type: ignore[return-value]


def verify_dataset(cls: object, found: Found) -> type[Dataset[Any]]:
    """`cls` if it is a usable Dataset class, else PluginError."""
    from gankit.plugin import Dataset

    _verify_class(cls, Dataset, found)
    return cls  # type: ignore[return-value]


def _verify_class(cls: object, base: type, found: Found) -> None:
    from pydantic import BaseModel

    if not (isinstance(cls, type) and issubclass(cls, base)):
        what = f"the class {cls.__qualname__}" if isinstance(cls, type) else f"a {type(cls).__name__}"
        raise broken(found, f"{found.value} is {what}, not a subclass of gankit.plugin.{base.__name__}")
    if inspect.isabstract(cls):
        raise broken(found, f"{found.value} lacks {', '.join(sorted(getattr(cls, '__abstractmethods__', ())))}")
    config = getattr(cls, "Config", None)
    if not (isinstance(config, type) and issubclass(config, BaseModel)):
        raise broken(found, f"{found.value}.Config is not a pydantic model (derive it from gankit.plugin.Config)")


def _lookup(found: dict[str, Found], name: str, kind: str) -> Found:
    if name not in found:
        raise unknown(name, kind, found)
    entry = found[name]
    if entry.problem:
        raise broken(entry, entry.problem)
    return entry


def _load(found: Found, verify: Callable[[object, Found], T]) -> T:
    try:
        try:
            loaded = EntryPoint(found.name, found.value, found.kind).load()
        except (Exception, SystemExit) as error:
            raise broken(found, _cause(error, found)) from error
        cls = verify(loaded, found)
    except PluginError as error:
        remember(found, error.cause)
        raise
    remember(found, None)
    return cls


def _cause(error: BaseException, found: Found) -> str:
    """One line about an exception raised by importing a plugin, with the place in the plugin that raised it."""
    module = found.value.partition(":")[0]
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


def _found(kind: str) -> dict[str, Found]:
    usable: dict[str, Found] = {}
    outdated: dict[str, Found] = {}
    for version, entry in _entries(kind):
        if version != str(API):
            problem = f"it is made for version {version} of the plugin contract; this gankit speaks version {API}"
            outdated.setdefault(entry.name, replace(entry, problem=problem))
        elif entry.name in usable:
            usable[entry.name] = _duplicate(usable[entry.name], entry)
        else:
            usable[entry.name] = entry
    return dict(sorted((outdated | usable).items()))


def _duplicate(first: Found, second: Found) -> Found:
    if first.distribution == second.distribution:
        problem = f"{first.distribution} registers the name twice"
    else:
        problem = f"{second.distribution} {second.version} registers the same name"
    return replace(first, problem=f"{first.problem}; {problem}" if first.problem else problem)


def _entries(kind: str) -> Iterator[tuple[str, Found]]:
    """(contract version, entry) of every entry point of `kind`; of a distribution found twice the first counts."""
    seen: set[str] = set()
    for distribution in distributions():
        points = _points(distribution, _GROUPS[kind])
        if not points:
            continue
        name, version, summary = _describe(distribution)
        normal = re.sub(r"[-_.]+", "-", name).lower()
        if normal in seen:
            continue
        if name != UNKNOWN:
            seen.add(normal)
        about = Found(name="", kind=kind, distribution=name, version=version, value="", summary=summary)
        for api, point in points:
            yield api, replace(about, name=point.name, value=point.value)


def _points(distribution: Distribution, group: re.Pattern[str]) -> list[tuple[str, EntryPoint]]:
    try:
        text = distribution.read_text("entry_points.txt")
        # parsing metadata is slow: most distributions are dismissed by this look at the text
        if not text or not group.search(text):
            return []
        matches = [(group.fullmatch(point.group), point) for point in distribution.entry_points]
    except Exception as error:
        # some other package's damaged metadata; not worth failing for, but worth knowing of
        print(f"warning: unreadable entry points of a distribution: {error}", file=sys.stderr)
        return []
    return [(match[1], point) for match, point in matches if match]


def _describe(distribution: Distribution) -> tuple[str, str, str]:
    """(name, version, summary), as far as the metadata can be read."""
    try:
        metadata = distribution.metadata
        return metadata["Name"] or UNKNOWN, metadata["Version"] or "?", metadata["Summary"] or ""
    except Exception:
        return UNKNOWN, "?", ""


__all__ = [
    "API",
    "blame",
    "broken",
    "datasets",
    "load_dataset",
    "load_variant",
    "place",
    "unknown",
    "variants",
    "verify_dataset",
    "verify_variant",
]
