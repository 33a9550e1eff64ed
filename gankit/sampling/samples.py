"""Samples and the files they become."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from gankit.data.files import SUFFIXES
from gankit.data.image_files import write_image, write_png
from gankit.data.images import MODES
from gankit.data.kinds import KINDS
from gankit.errors import UsageError
from gankit.files import write_whole
from gankit.runs.log import read_log
from gankit.sampling.sheets import Layout, hidden_channels, page

TABLES = (".npy", ".csv")
"""What names of files end in that hold samples as numbers."""


@dataclass(frozen=True)
class Samples:
    """Samples, and of each in `records` its seed and what was asked for."""

    values: Tensor
    """float32 (N, ...)."""
    records: list[dict[str, Any]]
    checkpoint: str
    kind: str = "image"
    """The kind of key that they are samples of; "" if the data has none."""
    layout: Layout = field(default_factory=Layout)
    """How :meth:`page` lays them out."""
    figures: Mapping[str, Tensor] = field(default_factory=dict)
    """Pictures that are no samples, uint8 (H, W, 3), by name."""

    @property
    def are_images(self) -> bool:
        return self.kind in KINDS and KINDS[self.kind].pixels

    @property
    def images(self) -> Tensor:
        """The samples, (N, C, H, W) in [-1, 1]; :class:`UsageError` if they are no images."""
        if not self.are_images:
            raise UsageError(f"these samples are no images but values of shape {self._shape}: see Samples.values.")
        return KINDS[self.kind].to_picture(self.values)

    @property
    def note(self) -> str:
        """What pictures of the samples do not show; "" if they show all."""
        return hidden_channels(self.values.shape[1]) if self.are_images else ""

    @property
    def _shape(self) -> tuple[int, ...]:
        return tuple(self.values.shape[1:])

    @property
    def _ending(self) -> str:
        return ".png" if self.images.shape[1] in MODES else ".tif"

    def page(self) -> Tensor:
        """All on one sheet, uint8 (height, width, 1 or 3)."""
        return page(self.images, self.layout)

    def save(self, path: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Write one file if `path` ends in .png, .npy or .csv, else a directory with ``samples.jsonl``; the files.

        A .png is a sheet; .npy and .csv hold the samples as numbers, a .csv a row a sample. The directory has one PNG a
        sample, a TIFF file where they have other channels than a PNG, or ``samples.npy`` where they are no images.
        Figures are written beside, ``<name>-<figure>.png``. With `overwrite`, the samples that an earlier call left
        there are removed, and nothing else. :class:`UsageError` if `path` cannot be written.
        """
        try:
            return self.write(Path(path), overwrite=overwrite)
        except OSError as error:
            raise UsageError(f"cannot write to {path}: {error.strerror or error}. Give another --out.") from error

    def write(self, path: Path, *, overwrite: bool = False) -> list[Path]:
        """As :meth:`save`; an OSError names the file that cannot be written."""
        single = path.suffix.lower() in (".png", *TABLES)
        check_out(path, overwrite=overwrite)
        self._check(path)
        beside = path.with_suffix("") if single else path / "figure"
        figures = {beside.with_name(f"{beside.name}-{name}.png"): shown for name, shown in self.figures.items()}
        names = [f"{i:06d}{self._ending}" for i in range(len(self.values))] if self.are_images else ["samples.npy"]
        files = [path] if single else [path / name for name in names]
        index = [] if single else [path / "samples.jsonl"]
        if not overwrite and (taken := [f for f in [*files, *index, *figures] if f.exists()]):
            raise UsageError(f"{taken[0]} exists already. Give another --out.")
        (path.parent if single else path).mkdir(parents=True, exist_ok=True)
        if single:
            self._write_single(path)
        else:
            self._write_each(files, index[0])
        for file, picture in figures.items():
            write_png(file, picture)
        return [*files, *index, *figures]

    def _check(self, path: Path) -> None:
        if path.suffix.lower() == ".png" and not self.are_images:
            wanted = f"{path.with_suffix('.npy')}, {path.with_suffix('.csv')} or a directory"
            raise UsageError(f"{path}: the samples are no images but values of shape {self._shape}. Give {wanted}.")

    def _write_single(self, path: Path) -> None:
        if path.suffix.lower() == ".png":
            write_png(path, self.page())
        elif path.suffix.lower() == ".npy":
            _write_npy(path, self.values)
        else:
            text = io.StringIO()
            np.savetxt(text, self.values.flatten(1).numpy(), fmt="%.9g", delimiter=",")
            write_whole(path, text.getvalue().encode("ascii"))

    def _write_each(self, files: list[Path], index: Path) -> None:
        for file in _earlier(index):
            file.unlink(missing_ok=True)
        of = [files[i if self.are_images else 0].name for i in range(len(self.values))]
        rows = [{"file": name, **record} for name, record in zip(of, self.records, strict=True)]
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        # before the images: should this call be killed, a later one knows what it may remove
        index.write_text(lines, encoding="utf-8", errors="backslashreplace")
        if self.are_images:
            for file, image in zip(files, self.images, strict=True):
                write_image(file, image, overwrite=True, opacity=False)
        else:
            _write_npy(files[0], self.values)


def check_out(path: Path, *, overwrite: bool) -> None:
    """:class:`UsageError` where :meth:`Samples.save` could not write whatever is drawn: to be told before it is."""
    suffix = path.suffix.lower()
    if suffix in SUFFIXES and suffix != ".png":
        raise UsageError(f"{path}: a sheet is a PNG file. Give {path.with_suffix('.png')}, or a directory.")
    first = path if suffix in (".png", *TABLES) else path / "samples.jsonl"
    if first.exists() and not overwrite:
        raise UsageError(f"{first} exists already. Give another --out.")


def _write_npy(path: Path, values: Tensor) -> None:
    data = io.BytesIO()
    np.save(data, values.numpy(), allow_pickle=False)
    write_whole(path, data.getbuffer())


def _earlier(index: Path) -> list[Path]:
    """The files that a ``samples.jsonl`` names, as far as :meth:`Samples.save` may have written them."""
    try:
        names = [row.get("file") for row in read_log(index)]
    except OSError:
        return []
    ours = re.compile(r"[0-9]{6,}\.(png|tif)|samples\.npy")
    return [index.with_name(name) for name in names if isinstance(name, str) and ours.fullmatch(name)]


__all__ = ["TABLES", "Samples", "check_out"]
