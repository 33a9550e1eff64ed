"""Finds the native library once, when the first op is imported, and says for each device why it is not there.

Nothing is ever compiled at run time: the library was built at installation or it is absent, and then the reference
formulas run. `GANKIT_NATIVE=0` asks for the references.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import Any

import torch

__all__ = ["NATIVE", "is_compiling", "native_available", "native_info", "native_status"]

is_compiling = torch.compiler.is_compiling


def _load() -> tuple[ModuleType | None, dict[str, str]]:
    """gankit._C or None, and, for each type of device that could have kernels and has none, why."""
    if os.environ.get("GANKIT_NATIVE", "1") == "0":
        return _without_library("kernels switched off by GANKIT_NATIVE=0")
    try:
        library = importlib.import_module("gankit._C")
    except ModuleNotFoundError:
        return _without_library(
            "kernels not built: no C++ compiler at installation, or its build failed; install gankit again"
        )
    except ImportError as error:
        return _without_library(f"kernels built, but do not load: {_one_line(error)}")
    if torch.version.cuda is None:
        return library, {"cuda": "torch has no CUDA"}
    try:
        importlib.import_module("gankit._C_cuda")
    except ModuleNotFoundError:
        why = library.build_info().get("without_cuda") or "install gankit again"
        return library, {"cuda": f"kernels not built: {why}"}
    except ImportError as error:
        return library, {"cuda": f"kernels built, but do not load: {_one_line(error)}"}
    return library, {}


def _without_library(reason: str) -> tuple[None, dict[str, str]]:
    return None, {"cpu": reason, "cuda": reason}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


_LIBRARY, _MISSING = _load()
NATIVE: bool = _LIBRARY is not None


def native_available(device: torch.device | str = "cpu") -> bool:
    """True where the compiled kernels run for tensors on `device`, False where the reference formulas do."""
    return _why_not(torch.device(device).type) is None


def native_status(device: torch.device | str | None = None) -> str:
    """One line: which kernels run on `device`, or why none do; by default for the CPU and for CUDA."""
    if device is not None:
        return _status_of(torch.device(device).type)
    if _LIBRARY is None:
        return f"CPU and CUDA: reference formulas ({_MISSING['cpu']})"
    return f"{_status_of('cpu')}; {_status_of('cuda')}"


def native_info() -> dict[str, Any]:
    """What `gankit._C.build_info()` says; empty without the library."""
    return _LIBRARY.build_info() if _LIBRARY is not None else {}


def _why_not(kind: str) -> str | None:
    """Why there are no kernels for devices of this type; None if there are."""
    return _MISSING.get(kind) if kind in ("cpu", "cuda") else "there are no kernels for this device"


def _status_of(kind: str) -> str:
    why = _why_not(kind)
    if why is not None:
        return f"{kind.upper()}: reference formulas ({why})"
    info = native_info()
    built = info["cpu_capability"] if kind == "cpu" else f"{info['cuda']} for {', '.join(info['cuda_archs'])}"
    return f"{kind.upper()}: kernels ({built})"
