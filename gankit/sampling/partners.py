"""Which of the pictures that a user gives beside images goes with which of them: a mask with each photograph."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import torch
from torch import Tensor

from gankit.data.files import named
from gankit.errors import GankitError, UsageError
from gankit.plugin import Key
from gankit.sampling.given import read_given
from gankit.sampling.pictures import image_files


@dataclass(frozen=True)
class Partners:
    """One picture for each image."""

    rows: Tensor
    """(n, *shape), as in a step; zeros for an image of `errors`."""
    records: list[Any]
    """The file that each came from, or its number; None for an image of `errors`."""
    errors: Mapping[int, str] = field(default_factory=dict)
    """Why an image has none, by its number."""
    left: tuple[str, ...] = ()
    """Files that no image goes with."""


def partners(name: str, key: Key, value: Any, n: int, names: Sequence[str] | None) -> Partners:
    """What was given as `value` under the key `name`, for `n` images, stretched to the shape of `key`.

    One picture serves all; of several there must be as many as images, in their order. Those of a directory go with the
    images of the same path but for the ending: `names` are the images' relative paths, None if they have none.
    """
    values = list(value) if isinstance(value, list | tuple) else [value]
    folders = [Path(one).expanduser() for one in values if _is_folder(one)]
    if folders and len(values) > 1:
        raise UsageError(f"{name}: {folders[0]} is a directory, given with others; give one directory, or files.")
    if folders and names is None:
        raise UsageError(
            f"{name}: {folders[0]} is a directory, and these images have no names; give pictures in order."
        )
    if folders and names is not None:
        return _by_name(name, key, folders[0], names)
    given = read_given(name, key, value, fit="stretch")
    if len(given) == 1:
        return Partners(given.rows.expand(n, *key.shape), given.records * n)
    if len(given) != n:
        rule = "give one for all, as many as images, or a directory of files with the images' names"
        raise UsageError(f"{name}: {len(given)} of them for {n} {'image' if n == 1 else 'images'}; {rule}.")
    return Partners(given.rows, given.records)


def _is_folder(value: Any) -> bool:
    return isinstance(value, str | os.PathLike) and bool(str(value).strip()) and Path(value).expanduser().is_dir()


def _by_name(name: str, key: Key, folder: Path, names: Sequence[str]) -> Partners:
    files: dict[str, list[Path]] = {}
    for file in image_files(name, folder):
        files.setdefault(_stem(os.path.relpath(file, folder)), []).append(file)
    rows, records = torch.zeros(len(names), *key.shape), [None] * len(names)
    errors: dict[int, str] = {}
    used: set[Path] = set()
    for index, image in enumerate(names):
        found = files.get(_stem(image), [])
        found = [file for file in found if file == folder / image] or found
        used.update(found)
        if len(found) != 1:
            what = f"has {len(found)}" if found else "has none"
            errors[index] = f"{image}: {name}={folder} {what} of that name ({_stem(image)}.*)"
            continue
        try:
            one = read_given(name, key, found[0], fit="stretch")
        except GankitError as error:
            errors[index] = f"{image}: its {name}: {error}"
        else:
            rows[index], records[index] = one.rows[0], one.records[0]
    every = [file for several in files.values() for file in several]
    if not used:
        shown = named([os.path.relpath(file, folder) for file in every], 3)
        raise UsageError(f"{name}: of {shown} in {folder} none is named like an image ({named(list(names), 3)}).")
    left = tuple(os.path.relpath(file, folder) for file in every if file not in used)
    return Partners(rows, records, errors, left)


def _stem(path: str) -> str:
    """The relative path without its ending, with forward slashes."""
    return PurePath(path).with_suffix("").as_posix()


__all__ = ["Partners", "partners"]
