"""What listings say of plugins, which they do not import: above all why one cannot be used, as far as that is known.

Two sources. What is plain from the first look at the entry point's own source: no such module, a syntax error, a
statement that raises, an import of a module that is not installed. And memory: a plugin that failed to load is noted in
the cache, until it loads or is another version. Loading never asks here: it tries.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gankit.cache import cache_directory, keep
from gankit.discovery.source import locate, parse
from gankit.discovery.summary import summary

if TYPE_CHECKING:
    from gankit.discovery.found import Found


def marked(entries: Mapping[str, Found]) -> dict[str, Found]:
    """`entries`, each with its problem if one is known, and with what its own docstring says of it."""
    notes = _read()

    def mark(entry: Found) -> Found:
        problem = entry.problem or _seen(entry.value) or _recalled(notes, entry)
        return replace(entry, problem=problem, summary=summary(entry.value) or entry.summary)

    return {name: mark(entry) for name, entry in entries.items()}


def remember(entry: Found, cause: str | None) -> None:
    """Note that `entry` failed to load because of `cause`; with None, that it loaded."""
    notes = _read()
    if cause is None and _key(entry) not in notes:
        return
    notes.pop(_key(entry), None)
    if cause is not None:
        notes[_key(entry)] = {"cause": cause, "from": _origin(entry)}
    try:
        keep(cache_directory() / "failures.json", json.dumps(notes, indent=1).encode())
    except OSError:
        return  # then listings know less


def _recalled(notes: Mapping[str, Any], entry: Found) -> str | None:
    note = notes.get(_key(entry))
    if not isinstance(note, dict) or note.get("from") != _origin(entry):
        return None
    return f"when last loaded: {note.get('cause')}"


def _key(entry: Found) -> str:
    return f"{sys.prefix} {entry.kind} {entry.name}"  # another environment may have what this one lacks


def _origin(entry: Found) -> str:
    return f"{entry.distribution} {entry.version} {entry.value}"


def _read() -> dict[str, Any]:
    try:
        notes = json.loads((cache_directory() / "failures.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return notes if isinstance(notes, dict) else {}


def _seen(value: str) -> str | None:
    """What is wrong with the module of an entry point, from its source alone."""
    module = value.partition(":")[0]
    spec = locate(module)
    if spec is None:
        return f"there is no module {module!r}"
    file = Path(spec.origin or "").name
    try:
        body = parse(spec)
    except SyntaxError as error:
        return f"SyntaxError: {error.msg} ({file}:{error.lineno})"
    for statement in body or ():
        if isinstance(statement, ast.Raise):
            return f"it raises an exception when it is imported ({file}:{statement.lineno})"
        for name in _imported(statement):
            if name not in sys.modules and locate(name) is None:
                return f"it needs the module {name!r}, which is not installed"
    return None


def _imported(statement: ast.stmt) -> Iterator[str]:
    """Top-level names of the modules that a statement imports."""
    if isinstance(statement, ast.Import):
        yield from (alias.name.partition(".")[0] for alias in statement.names)
    elif isinstance(statement, ast.ImportFrom) and not statement.level and statement.module:
        yield statement.module.partition(".")[0]


__all__ = ["marked", "remember"]
