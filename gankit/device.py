"""Device, precision and memory layout of a run."""

from __future__ import annotations

import hashlib
import os
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from gankit.errors import UsageError
from gankit.options.spelling import give

Precision = Literal["float32", "bf16", "fp16"]


def resolve_device(name: str) -> torch.device:
    """``auto`` takes CUDA if there is one, else the CPU. :class:`UsageError` if the device is not there."""
    if name == "auto":
        return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"device {name!r} is unknown. Use auto, cpu, cuda, cuda:N or mps.") from None
    if device.type == "cuda":
        if not torch.cuda.is_available():
            seen = f"torch {torch.__version__} sees no CUDA device here"
            raise UsageError(f"device {name!r}: {seen}. Use {give('device', 'cpu')}.")
        count = torch.cuda.device_count()
        if device.index is not None and device.index >= count:
            raise UsageError(f"device {name!r}: there are {count} CUDA devices, cuda:0 to cuda:{count - 1}.")
        return torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError(f"device 'mps' is not available here. Use {give('device', 'cpu')}.")
    if device.type not in ("cpu", "mps"):
        raise UsageError(f"device {name!r} is not supported. Use auto, cpu, cuda, cuda:N or mps.")
    return device


def check_shared(choice: str, device: torch.device) -> None:
    """:class:`UsageError` if the processes of a machine cannot each have such a device of their own."""
    if device.type == "mps" or ":" in choice:
        raise UsageError(f"device {choice!r} is one for all processes. Use {give('device', 'auto')}, cuda or cpu.")
    here = int(os.environ.get("LOCAL_WORLD_SIZE") or 1)
    if device.type == "cuda" and here > torch.cuda.device_count():
        text = f"{here} processes on this machine need a GPU each; there are {torch.cuda.device_count()}"
        raise UsageError(f"{text}. Start fewer, or use {give('device', 'cpu')}.")


def resolve_precision(choice: Precision | Literal["auto"], device: torch.device) -> Precision:
    """``auto`` is bf16 where the device computes with it, else float32; fp16 needs the loss scaling that CUDA has."""
    if choice == "auto":
        return "bf16" if _computes_bf16(device) else "float32"
    if choice == "fp16" and device.type != "cuda":
        raise UsageError(f"precision 'fp16' needs a CUDA device, not {device.type!r}. Use bf16 or float32.")
    return choice


def _computes_bf16(device: torch.device) -> bool:
    """Whether it multiplies bfloat16 numbers itself: elsewhere each is made a float32 first, which takes longer."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    # a torch that does not say it has no fast bfloat16 here for all that is known
    has: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(has.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))


def bf16_would_help(precision: Precision, device: torch.device, weights: int) -> bool:
    """Whether bf16 is known to be faster than `precision`: convolutions of so many `weights`, where it is native."""
    return precision == "float32" and weights >= 100_000 and _computes_bf16(device)


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Mixed precision for one phase. A new context each time: leaving it drops the cached half-precision weights."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if precision == "bf16" else torch.float16)


def memory_format(choice: str, precision: Precision, device: torch.device, convolves: bool) -> torch.memory_format:
    """``auto`` is channels_last for convolutions in half precision; the measurements are in docs/training.md."""
    if choice == "auto":
        faster = convolves and precision != "float32" and device.type in ("cpu", "cuda")
        choice = "channels_last" if faster else "contiguous"
    return torch.channels_last if choice == "channels_last" else torch.contiguous_format


def derive_seed(seed: int, purpose: str) -> int:
    """An independent seed for each use of one ``--seed``, so that no two streams repeat each other."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{purpose}".encode()).digest()[:8], "big") >> 1


def make_generator(seed: int, purpose: str, device: torch.device) -> torch.Generator:
    generator = torch.Generator(device)
    generator.manual_seed(derive_seed(seed, purpose))
    return generator
