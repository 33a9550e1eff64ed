"""What listings say of plugins, which they do not import: above all why one cannot be used, as far as that is known.

Two sources. What can be seen without importing the entry point's module: that there is none, or that it is no Python.
And memory: a plugin that failed to load is noted in the cache, until it loads or is another version. Loading never asks
here: it tries.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gankit.cache import cache_directory, keep
from gankit.discovery.source import locate, parse
from gankit.discovery.summary import summary
from gankit.files import read_regular

if TYPE_CHECKING:
    from gankit.discovery.entry import PluginEntry

Note = dict[str, str]

LONGEST = 2_000
"""Characters of a text that is noted."""


def marked(entries: Mapping[str, PluginEntry]) -> dict[str, PluginEntry]:
    """`entries`, each with its problem if one is known, and with what its own docstring says of it."""
    notes = _read()

    def mark(entry: PluginEntry) -> PluginEntry:
        problem = entry.problem or _seen(entry.value) or _recalled(notes, entry)
        return replace(entry, problem=problem, summary=summary(entry.value) or entry.summary)

    return {name: mark(entry) for name, entry in entries.items()}


def remember(entry: PluginEntry, cause: str | None) -> None:
    """Note that `entry` failed to load because of `cause`; with None, that it loaded."""
    notes = _read()
    if cause is None and _key(entry) not in notes:
        return
    notes.pop(_key(entry), None)
    if cause is not None:
        cause = " ".join(cause.split())
        cause = cause if len(cause) < LONGEST else f"{cause[: LONGEST - 4]}..."
        notes[_key(entry)] = {"cause": cause, "from": _origin(entry)}
    try:
        keep(cache_directory() / "failures.json", json.dumps(notes, indent=1).encode())
    except OSError:
        return  # then listings know less


def _recalled(notes: Mapping[str, Note], entry: PluginEntry) -> str | None:
    note = notes.get(_key(entry))
    return f"when last loaded: {note['cause']}" if note and note["from"] == _origin(entry) else None


def _key(entry: PluginEntry) -> str:
    return f"{sys.prefix} {entry.kind} {entry.name}"  # another environment may have what this one lacks


def _origin(entry: PluginEntry) -> str:
    return f"{entry.distribution} {entry.version} {entry.value}"


def _read() -> dict[str, Note]:
    """What is noted: of each plugin its ``cause`` and what it comes ``from``. Anything else in the file is dropped."""
    try:
        notes = json.loads(read_regular(cache_directory() / "failures.json"))
    except (OSError, ValueError, RecursionError):
        return {}
    return {key: note for key, note in notes.items() if _is_note(note)} if isinstance(notes, dict) else {}


def _is_note(note: object) -> bool:
    kept = [note.get("cause"), note.get("from")] if isinstance(note, dict) else [None]
    return all(isinstance(text, str) and len(text) < LONGEST and "\n" not in text for text in kept)


def _seen(value: str) -> str | None:
    """What is wrong with the module of an entry point, from its source alone."""
    module = value.partition(":")[0]
    spec = locate(module)
    if spec is None:
        return f"there is no module {module!r}"
    file = Path(spec.origin or "").name
    try:
        parse(spec)
    except SyntaxError as error:
        return f"SyntaxError: {error.msg} ({file}:{error.lineno})"
    return None


__all__ = ["marked", "remember"]
