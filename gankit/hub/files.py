"""Which files a shared run consists of, how large each may be, and what may not stand in any of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from gankit.cache import byte_size
from gankit.errors import UsageError
from gankit.files import not_regular, open_regular
from gankit.runs.foreign_file import LARGEST
from gankit.runs.log import JUDGED

__all__ = [
    "CARD",
    "CHECKPOINT",
    "CONFIG",
    "ENVIRONMENT",
    "EVALUATION",
    "KNOWN",
    "LIMITS",
    "LOG",
    "NEEDED",
    "SHEET",
    "SPEC",
    "WEIGHTS",
    "checked",
    "without_places",
]

CARD, SHEET = "README.md", "sheet.png"
CONFIG, SPEC, WEIGHTS = "config.toml", "spec.json", "model.safetensors"
ENVIRONMENT, EVALUATION, LOG = "environment.json", "evaluation.json", "log.jsonl"
CHECKPOINT = "checkpoint"
"""The folder of what resuming needs, if that was asked for."""
_MB = 1 << 20
LIMITS: Mapping[str, int] = {
    CONFIG: _MB,
    SPEC: 16 * _MB,
    WEIGHTS: LARGEST,
    ENVIRONMENT: _MB,
    EVALUATION: 16 * _MB,
    LOG: 64 * _MB,
    JUDGED: 64 * _MB,
    f"{CHECKPOINT}/state.json": 64 * _MB,
    **{f"{CHECKPOINT}/{part}.safetensors": LARGEST for part in ("weights", "ema", "optimizers")},
}
"""The files that are read, and the most bytes that each may have. Nothing else is opened, or fetched."""
KNOWN = (CARD, SHEET, *LIMITS)
"""The files that are written."""
NEEDED = (CONFIG, SPEC, WEIGHTS)
HEADER = 16 * _MB
"""Most bytes of what a file of safetensors says of its tensors."""


def checked(folder: Path, *, links: bool = False) -> dict[str, Path]:
    """Of the files that are read those that `folder` has, by name, each seen to be a file of a size that it may have.

    With `links` the links in it were made by whoever fetched it; else one that leads out of it is refused, lest files
    of this machine become parts of a run. :class:`UsageError`.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no directory {folder}.")
    found = {}
    for name, limit in LIMITS.items():
        path = folder / name
        if os.path.lexists(path):
            _check(path, limit, None if links else folder)
            found[name] = path
    if lacking := [name for name in NEEDED if name not in found]:
        raise UsageError(f"{folder} is no run that gankit export wrote: it has no {lacking[0]}.")
    return found


def _check(path: Path, limit: int, within: Path | None) -> None:
    try:
        if within is not None and not path.resolve(strict=True).is_relative_to(within.resolve()):
            raise UsageError(f"{path} is a link out of {within}: put the file itself in its place.")
        status = path.stat()
        if what := not_regular(status.st_mode):
            raise UsageError(f"{path} is {what}, not a file.")
        if status.st_size > limit:
            raise UsageError(f"{path} has {byte_size(status.st_size)}; at most {byte_size(limit)} are read.")
        if path.suffix == ".safetensors":
            with open_regular(path) as file:
                header = int.from_bytes(file.read(8), "little")
            if header > HEADER:
                raise UsageError(f"{path} is damaged: its header would have {byte_size(header)}.")
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise UsageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def without_places(options: Any) -> Any:
    """`options`, nested, with the names of files in place of where they lie: another machine has them elsewhere."""
    if isinstance(options, Mapping):
        return {name: without_places(value) for name, value in options.items()}
    if isinstance(options, list):
        return [without_places(value) for value in options]
    if not isinstance(options, str):
        return options
    for kind in (PurePosixPath, PureWindowsPath):
        path = kind(options)
        if path.is_absolute() or ".." in path.parts or options.startswith("~"):
            return "" if path.name == ".." else path.name
    return options
