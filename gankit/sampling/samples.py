"""Samples and the files they become."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from gankit.data.files import SUFFIXES
from gankit.data.images import sheet, write_png
from gankit.errors import UsageError
from gankit.runs.log import read_log


@dataclass(frozen=True)
class Samples:
    """`images` float32 (N, C, H, W) in [-1, 1]; of each, `records` says its seed and what was asked for."""

    images: Tensor
    records: list[dict[str, Any]]
    checkpoint: str
    columns: int

    def save(self, path: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Write one sheet if `path` ends in .png, else one PNG a sample and ``samples.jsonl`` into that directory.

        With `overwrite`, the samples that an earlier call left there are removed, and nothing else.
        """
        path = Path(path)
        single = path.suffix.lower() == ".png"
        if path.suffix.lower() in SUFFIXES and not single:
            raise UsageError(f"{path}: a sheet is a PNG file. Give {path.with_suffix('.png')}, or a directory.")
        files = [path] if single else [path / f"{i:06d}.png" for i in range(len(self.images))]
        index = path / "samples.jsonl"
        if not overwrite and (taken := [f for f in [*files, *([] if single else [index])] if f.exists()]):
            raise UsageError(f"{taken[0]} exists already. Give another --out.")
        try:
            (path.parent if single else path).mkdir(parents=True, exist_ok=True)
            if single:
                write_png(path, sheet(self.images, self.columns))
                return files
            for file in _earlier(index):
                file.unlink(missing_ok=True)
            rows = [{"file": file.name, **record} for file, record in zip(files, self.records, strict=True)]
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            # before the images: should this call be killed, a later one knows what it may remove
            index.write_text(lines, encoding="utf-8", errors="backslashreplace")
            for file, image in zip(files, self.images, strict=True):
                write_png(file, image)
        except OSError as error:
            raise UsageError(f"cannot write to {path}: {error.strerror or error}. Give another --out.") from error
        return [*files, index]


def _earlier(index: Path) -> list[Path]:
    """The files that a ``samples.jsonl`` names, as far as :meth:`Samples.save` may have written them."""
    try:
        names = [row.get("file") for row in read_log(index)]
    except (OSError, AttributeError):
        return []
    return [index.with_name(name) for name in names if isinstance(name, str) and re.fullmatch(r"[0-9]{6,}\.png", name)]


__all__ = ["Samples"]
