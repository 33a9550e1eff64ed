"""One checkpoint: a folder of safetensors and a JSON file. It is whole, or it is not there; nothing is unpickled.

``weights.safetensors`` holds ``<network>.<name>``; ``ema.safetensors`` the same of the averaged networks;
``optimizers.safetensors`` ``<phase>/<network>.<parameter>/<name>``; ``state.json`` everything that is not a tensor, and
the SHA-256 of the others.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gankit.errors import GankitError
from gankit.files import sync

FORMAT = 1
ASIDE = ".old-"
"""Before the name of a checkpoint that another one is replacing."""
PARTS = ("weights", "ema", "optimizers")


class DamagedCheckpoint(GankitError):
    """A file of a checkpoint is missing, truncated or altered."""


@dataclass
class Checkpoint:
    """What a run can be continued from. `tensors` are keyed by part, one of `PARTS`; `state` is JSON."""

    step: int
    tensors: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Writes `checkpoint` beside `folder`, syncs it, and renames it into place.

    One that is there is kept under another name, where :func:`read` finds it, until the new one is in its place: a kill
    leaves the old one or the new one. :class:`GankitError` if writing fails; then nothing has changed.
    """
    beside = folder.with_name(f".tmp-{folder.name}-{os.getpid()}")
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        digests = {}
        for part, tensors in checkpoint.tensors.items():
            path = beside / f"{part}.safetensors"
            save_file(_storable(tensors), path)
            digests[path.name] = _digest(path)
            sync(path)
        state = {"format": FORMAT, "step": checkpoint.step, **checkpoint.state, "files": digests}
        path = beside / "state.json"
        path.write_text(json.dumps({"digest": _json_digest(state), **state}, indent=1) + "\n")
        sync(path)
        sync(beside)
        if folder.exists():
            shutil.rmtree(set_aside(folder), ignore_errors=True)
            folder.rename(set_aside(folder))
        beside.rename(folder)
        sync(folder.parent)
        shutil.rmtree(set_aside(folder), ignore_errors=True)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(beside, ignore_errors=True)
        recover(folder)
        raise GankitError(f"checkpoint {folder.name} could not be written: {error}") from error


def set_aside(folder: Path) -> Path:
    """Where a checkpoint is while another takes its place."""
    return folder.with_name(f"{ASIDE}{folder.name}")


def recover(folder: Path) -> None:
    """Brings back the checkpoint that was set aside, if the new one did not come, and removes it if it did."""
    if folder.exists():
        shutil.rmtree(set_aside(folder), ignore_errors=True)
    elif set_aside(folder).exists():
        set_aside(folder).rename(folder)


def _present(folder: Path) -> Path:
    return set_aside(folder) if not folder.exists() and set_aside(folder).exists() else folder


def read(folder: Path, parts: Iterable[str] = PARTS) -> Checkpoint:
    """The checkpoint in `folder` with the `parts` asked for. :class:`DamagedCheckpoint` names the file that is bad."""
    folder = _present(folder)
    state = read_state(folder)
    tensors = {}
    for part in parts:
        name = f"{part}.safetensors"
        if name not in state["files"]:
            continue
        path = folder / name
        _verify(path, state["files"][name])
        try:
            tensors[part] = load_file(path)
        except (OSError, SafetensorError) as error:
            raise DamagedCheckpoint(f"{path} cannot be read: {error}") from error
    return Checkpoint(step=state["step"], tensors=tensors, state=state)


def read_state(folder: Path) -> dict[str, Any]:
    """``state.json``, checked against its own digest."""
    path = _present(folder) / "state.json"
    try:
        state = json.loads(path.read_text())
        digest = state.pop("digest")
        version = state["format"]
    except OSError as error:
        raise DamagedCheckpoint(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise DamagedCheckpoint(f"{path} is truncated or not a checkpoint's state") from error
    if version != FORMAT:
        raise GankitError(f"{path} has checkpoint format {version}; this gankit reads {FORMAT}. Upgrade gankit.")
    if digest != _json_digest(state):
        raise DamagedCheckpoint(f"{path} was altered: its content does not match its digest")
    return dict(state)


def verify(folder: Path) -> None:
    """Raises :class:`DamagedCheckpoint` unless every file is there and unaltered."""
    folder = _present(folder)
    for name, digest in read_state(folder)["files"].items():
        _verify(folder / name, digest)


def encode_bytes(tensor: Tensor) -> str:
    """A uint8 tensor (a generator's state) as text."""
    return base64.b64encode(tensor.cpu().numpy().tobytes()).decode()


def decode_bytes(text: str) -> Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)


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


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _json_digest(state: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def _verify(path: Path, digest: str) -> None:
    try:
        found = _digest(path)
    except OSError as error:
        raise DamagedCheckpoint(f"{path} cannot be read: {error.strerror or error}") from error
    if found != digest:
        raise DamagedCheckpoint(f"{path} is truncated or altered: its digest does not match state.json")
