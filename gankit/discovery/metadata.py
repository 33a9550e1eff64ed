"""What installed distributions say of themselves, each read on its own: what is wrong with one is no other's concern.

`importlib.metadata` reads the entry points of all of them at once and fails if those of one are malformed; of a pipe in
place of a file it waits for the other end.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.parser import Parser
from importlib.metadata import Distribution, distributions
from pathlib import Path

from gankit.files import read_regular

_SPARED = {
    "TORCH_DEVICE_BACKEND_AUTOLOAD": "0",
    "PYDANTIC_DISABLE_PLUGINS": "__all__",
    "TRITON_BACKENDS_IN_TREE": "1",
}
"""What keeps torch, pydantic and triton from reading all entry points when they are loaded."""


@dataclass(frozen=True)
class Point:
    """A line of an ``entry_points.txt``."""

    group: str
    name: str
    value: str


@dataclass(frozen=True)
class Described:
    """What a distribution's ``METADATA`` says, or else the name of its directory."""

    name: str
    version: str
    summary: str


def installed() -> Iterator[Distribution]:
    """Every distribution on ``sys.path``."""
    try:
        yield from distributions()
    except Exception:  # of a finder that somebody else has put into sys.meta_path
        return


def points(distribution: Distribution, groups: re.Pattern[str]) -> list[Point]:
    """Its entry points in `groups`; those that cannot be read are left out, and :func:`faults` names them."""
    try:
        text = _read(distribution, "entry_points.txt")
    except (OSError, ValueError):
        return []
    if not groups.search(text):  # most distributions are dismissed by this look at the text
        return []
    found = [
        Point(group, *(part.strip() for part in line.split("=", 1))) for group, _, line in _lines(text) if "=" in line
    ]
    return [point for point in found if groups.fullmatch(point.group)]


def describe(distribution: Distribution) -> Described:
    """Its name, version and summary."""
    try:
        text = _read(distribution, "METADATA") or _read(distribution, "PKG-INFO")
        metadata = Parser().parsestr(text, headersonly=True)
        said = {key: " ".join(str(metadata[key] or "").split()) for key in ("Name", "Version", "Summary")}
    except (OSError, ValueError):
        said = {"Name": "", "Version": "", "Summary": ""}
    name, _, rest = _place(distribution).name.rpartition(".")[0].partition("-")
    return Described(said["Name"] or name.replace("_", "-"), said["Version"] or rest or "?", said["Summary"])


def faults() -> list[str]:
    """Of each distribution whose entry points cannot be read, or not all of them, which file it is and why."""
    return [f"{_place(one) / 'entry_points.txt'}: {fault}" for one in installed() if (fault := _fault(one))]


def spare_libraries() -> None:
    """Keeps those libraries from failing, when they are loaded, at malformed entry points that are not theirs.

    Nothing is done where all can be read: then their own plugins are found as ever.
    """
    if any(_fault(one) for one in installed()):
        for variable, value in _SPARED.items():
            os.environ.setdefault(variable, value)


def _fault(distribution: Distribution) -> str:
    try:
        text = _read(distribution, "entry_points.txt")
    except OSError as error:
        return error.strerror or str(error)
    except ValueError:
        return "it is not UTF-8 text"
    return next((f"line {number} is not NAME = VALUE" for _, number, line in _lines(text) if "=" not in line), "")


def _lines(text: str) -> Iterator[tuple[str, int, str]]:
    """(group, number, line) of every line that stands in a group and is no comment."""
    group: str | None = None
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if line.startswith("[") and line.endswith("]"):
            group = line[1:-1]
        elif group is not None and line and not line.startswith("#"):
            yield group, number, line


def _read(distribution: Distribution, name: str) -> str:
    """A file of its metadata; empty if there is none. OSError or ValueError if it cannot be read."""
    folder = getattr(distribution, "_path", None)
    try:
        if isinstance(folder, Path):
            return read_regular(folder / name).decode("utf-8")
        return distribution.read_text(name) or ""  # of a zip file, say
    except (FileNotFoundError, NotADirectoryError):
        return ""


def _place(distribution: Distribution) -> Path:
    return Path(str(getattr(distribution, "_path", "unknown-distribution.dist-info")))


__all__ = ["Described", "Point", "describe", "faults", "installed", "points", "spare_libraries"]
