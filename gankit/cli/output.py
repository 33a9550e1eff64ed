"""Where things are printed: results on stdout, everything else on stderr when ``--json`` asks for data."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from gankit.cli.streams import data_stream, printable
from gankit.errors import UsageError
from gankit.json_file import finite


def emit(data: object) -> None:
    """One JSON document on stdout."""
    stream = data_stream()
    escape = (stream.encoding or "").lower().replace("-", "") != "utf8"
    print(json.dumps(finite(data), indent=1, ensure_ascii=escape, default=str), file=stream, flush=True)


def say(text: str, *, json: bool = False) -> None:
    """A line for people: on stdout, or on stderr where stdout is for data."""
    print(printable(text), file=sys.stderr if json else sys.stdout, flush=True)


def warn(text: str) -> None:
    """A line on stderr."""
    print(printable(text), file=sys.stderr, flush=True)


def table(rows: Sequence[Sequence[object]], head: Sequence[str] = ()) -> str:
    """Left-aligned columns in plain text."""
    lines = [[printable(str(cell), line=True) for cell in row] for row in ([head, *rows] if head else rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def figures(values: Mapping[str, float]) -> str:
    """``name 0.123  other 4.56``."""
    return "  ".join(f"{name} {number(value)}" for name, value in values.items())


def number(value: object) -> str:
    """Four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def duration(seconds: float) -> str:
    """``1 h 02 min``, ``3 min 20 s`` or ``12.3 s``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def shown(path: Path) -> str:
    """A path as one would type it here."""
    try:
        relative = os.path.relpath(path)
    except ValueError:  # another drive
        return str(path)
    return str(path) if relative.startswith("..") else relative


def at_least(option: str, value: int | None, bound: int) -> None:
    """UsageError naming option, bound and value."""
    if value is not None and value < bound:
        raise UsageError(f"{option} {value}: must be at least {bound}")
