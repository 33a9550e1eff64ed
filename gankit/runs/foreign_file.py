"""Reading a file of weights that another program wrote: tensors, and nothing that would have to be executed."""

from __future__ import annotations

import hashlib
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from gankit.cache import byte_size
from gankit.errors import UsageError, out_of_memory
from gankit.files import open_regular
from gankit.foreign import WeightFile
from gankit.options.spelling import shown

__all__ = ["LARGEST", "digest", "read_weights"]

LARGEST = 8 << 30
"""Bytes of a file, and of the tensors in it."""
MOST = 100_000
"""Tensors in a file."""
_CODE = re.compile(r"(?:GLOBAL|[Uu]nsupported class) ([\w.]+)")
"""What torch says of something that it would have had to call."""
_WRAPPED = ("state_dict", "model", "params", "params_ema")
"""Under what a state dict stands that does not stand by itself."""


def read_weights(path: Path) -> WeightFile:
    """The tensors of `path`, of torch's format or safetensors, on the CPU; floating-point ones as float32.

    torch reads it with ``weights_only``: a file that names anything but tensors is refused, and nothing of it runs. The
    prefix of DataParallel is taken off. :class:`UsageError`, in a sentence, if there is no such file, or it is none.
    """
    try:
        with open_regular(path) as file:
            size = file.seek(0, 2)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    if size > LARGEST:
        raise UsageError(f"{path} is larger than weights are: {byte_size(size)}, and at most {byte_size(LARGEST)}.")
    content = _of_safetensors(path) if path.suffix.lower() == ".safetensors" else _of_torch(path, size)
    return WeightFile(name=path.name, tensors=_checked(path, _unwrapped(content), size))


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _of_safetensors(path: Path) -> Any:
    try:
        return load_file(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise UsageError(f"{path} is no file of safetensors, or damaged: {_line(error)}") from error


def _of_torch(path: Path, size: int) -> Any:
    _check_packed(path, size)
    try:
        with open_regular(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever damaged bytes lead to
        if named := _CODE.search(str(error)):
            text = f"it holds more than tensors ({named[1]:.60}), and that would have to be executed: it was not read"
            raise UsageError(f"{path}: {text}. Ask for its state dict alone, or for safetensors.") from error
        if out_of_memory(error):
            raise UsageError(f"{path} is damaged, or too large for this machine's memory.") from error
        raise UsageError(f"{path} is no file of weights, or damaged: torch cannot read it as such.") from error


def _check_packed(path: Path, size: int) -> None:
    """:class:`UsageError` if what a file unpacks to is much larger than itself; torch does not compress."""
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (OSError, zipfile.BadZipFile, NotImplementedError):  # the format before 1.6, or none
        return
    if unpacked > size:
        raise UsageError(f"{path} is packed as no file of weights is: {byte_size(size)} of {byte_size(unpacked)}.")


def _unwrapped(content: Any) -> Any:
    """A state dict that is all a mapping has but for numbers and names."""
    if isinstance(content, Mapping):
        for key in _WRAPPED:
            if isinstance(content.get(key), Mapping):
                return content[key]
    return content


def _checked(path: Path, content: Any, size: int) -> dict[str, Tensor]:
    if not isinstance(content, Mapping) or not content:
        kind = "nothing" if isinstance(content, Mapping) else f"a {type(content).__name__}"
        raise UsageError(f"{path} holds {kind}, not tensors by name: a state dict.")
    if len(content) > MOST:
        raise UsageError(f"{path} holds {len(content)} tensors, more than any network has.")
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor) or value.layout is not torch.strided:
            kind = type(value).__name__ if isinstance(key, str) else f"{type(key).__name__} as a name"
            raise UsageError(f"{path} holds {shown(key)}, a {kind}: it is no state dict of dense tensors by name.")
    # views of few values may say that they are many
    if (total := sum(value.numel() * value.element_size() for value in content.values())) > 4 * size:
        raise UsageError(f"{path} has {byte_size(size)}, and tensors of {byte_size(total)}: it is no state dict.")
    prefix = "module." if all(key.startswith("module.") for key in content) else ""
    return {key.removeprefix(prefix): _float32(path, key, value) for key, value in content.items()}


def _float32(path: Path, key: str, value: Tensor) -> Tensor:
    plain = value.detach()
    if not plain.is_floating_point():
        return plain
    if not plain.isfinite().all():
        raise UsageError(f"{path}: {shown(key)} has values that are not finite.")
    return plain.float()


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return (text if len(text) <= 120 else text[:117] + "...") or type(error).__name__
