"""A folder of safetensors and a ``state.json``. It is whole, or it is not there; nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gankit.errors import GankitError
from gankit.files import open_regular, read_regular, remove, sync
from gankit.json_file import parse_object

FORMAT = 2
ASIDE = ".old-"
"""Before the name of a folder that another one is replacing."""


class DamagedCheckpoint(GankitError):
    """A file of a checkpoint is missing, truncated, altered, or not what a checkpoint holds."""


def write_folder(folder: Path, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> None:
    """Writes `tensors` by file and the JSON `state` beside `folder`, syncs them, and renames it into place.

    One that is there is kept under another name, where :func:`present` finds it, until the new one is in its place: a
    kill leaves the old one or the new one. :class:`GankitError` if writing fails; then nothing has changed.
    """
    beside = folder.with_name(f".tmp-{folder.name}-{os.getpid()}")
    try:
        remove(beside)
        beside.mkdir(parents=True)
        digests = {}
        for part, content in tensors.items():
            path = beside / f"{part}.safetensors"
            _write_tensors(path, content)
            digests[path.name] = digest_of(path)
            sync(path)
        signed = {"format": FORMAT, **state, "files": digests}
        path = beside / "state.json"
        path.write_text(json.dumps({"digest": _json_digest(signed), **signed}, indent=1) + "\n", encoding="utf-8")
        sync(path)
        sync(beside)
        if folder.exists():
            remove(set_aside(folder))
            folder.rename(set_aside(folder))
        beside.rename(folder)
        sync(folder.parent)
        remove(set_aside(folder))
    except (OSError, SafetensorError) as error:
        remove(beside)
        recover(folder)
        raise GankitError(f"checkpoint {folder.name} could not be written: {error}") from error


def set_aside(folder: Path) -> Path:
    """Where a folder is while another takes its place."""
    return folder.with_name(f"{ASIDE}{folder.name}")


def recover(folder: Path) -> None:
    """Brings back the folder that was set aside, if the new one did not come, and removes it if it did."""
    if folder.exists():
        remove(set_aside(folder))
    elif set_aside(folder).exists():
        set_aside(folder).rename(folder)


def present(folder: Path) -> Path:
    """`folder`, or the one that was set aside in its stead."""
    return set_aside(folder) if not folder.exists() and set_aside(folder).exists() else folder


def read_state(folder: Path) -> dict[str, Any]:
    """``state.json``, checked against its own digest. :class:`DamagedCheckpoint` names the file.

    :class:`GankitError` if it has another format.
    """
    path = present(folder) / "state.json"
    try:
        state = parse_object(read_regular(path))
        digest, version = state.pop("digest"), state["format"]
        altered = digest != _json_digest(state)
    except OSError as error:
        raise DamagedCheckpoint(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, RecursionError) as error:
        raise DamagedCheckpoint(f"{path} is truncated or not a checkpoint's state") from error
    if version != FORMAT:  # before the digest, which another format may take otherwise
        remedy = "Upgrade gankit." if isinstance(version, int) and version > FORMAT else "Start the run anew."
        raise GankitError(f"{path} has checkpoint format {version!r:.40}; this gankit reads {FORMAT}. {remedy}")
    if altered:
        raise DamagedCheckpoint(f"{path} was altered: its content does not match its digest")
    return state


def read_tensors(folder: Path, parts: Iterable[str], files: Mapping[str, str]) -> dict[str, dict[str, Tensor]]:
    """Of `parts`, those among `files` (names and digests): their tensors, on the CPU."""
    folder = present(folder)
    tensors = {}
    for part in parts:
        name = f"{part}.safetensors"
        if name not in files:
            continue
        verify(folder, {name: files[name]})
        try:
            tensors[part] = load_file(folder / name)
        except (OSError, ValueError, SafetensorError) as error:
            raise DamagedCheckpoint(f"{folder / name} cannot be read: {error}") from error
    return tensors


def verify(folder: Path, files: Mapping[str, str]) -> None:
    """Raises :class:`DamagedCheckpoint` unless each of `files` is there with the digest given."""
    for name, digest in files.items():
        path = present(folder) / name
        try:
            found = digest_of(path)
        except OSError as error:
            raise DamagedCheckpoint(f"{path} cannot be read: {error.strerror or error}") from error
        if found != digest:
            raise DamagedCheckpoint(f"{path} is truncated or altered: its digest does not match state.json")


def digest_of(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    path.touch()
    mode = stat.S_IMODE(path.stat().st_mode)  # what the umask says; safetensors gives others no access
    save_file(_storable(tensors), path)
    path.chmod(mode)


def _storable(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """CPU, dense, and none sharing memory with another: tied weights are stored once for each name."""
    stored: dict[str, Tensor] = {}
    seen: set[int] = set()
    for key, value in tensors.items():
        plain = value.detach().to("cpu").contiguous()
        start = plain.untyped_storage().data_ptr()
        if start in seen or plain.untyped_storage().nbytes() != plain.nbytes:
            plain = plain.clone(memory_format=torch.contiguous_format)
        seen.add(plain.untyped_storage().data_ptr())
        stored[key] = plain
    return stored


def _json_digest(state: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


__all__ = [
    "ASIDE",
    "DamagedCheckpoint",
    "digest_of",
    "present",
    "read_state",
    "read_tensors",
    "recover",
    "set_aside",
    "verify",
    "write_folder",
]
