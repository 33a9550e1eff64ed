"""Finds the native library once, when the first op is imported, and says why not if it is not there.

Nothing is ever compiled at run time: the library was built at installation or it is absent, and then the reference
formulas run. `GANKIT_NATIVE=0` asks for the references.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

__all__ = ["NATIVE", "batched", "is_compiling", "native_available", "native_info", "native_status", "transformed"]

is_compiling = torch.compiler.is_compiling
# Inside torch.func transforms (vmap, grad, jvp, ...). torch offers no public name for this question, which
# `autograd.Function.apply` asks too.
_functorch_active = torch._C._are_functorch_transforms_active


def transformed() -> bool:
    """True inside torch.func transforms and forward-mode differentiation, of which kernels know nothing."""
    return _functorch_active() or forward_ad._current_level >= 0


def batched(t: Tensor) -> bool:
    """True for what `torch.autograd.grad(..., is_grads_batched=True)`, an older vmap, hands to backward functions."""
    return _functorch_active() or torch._C._functorch.is_legacy_batchedtensor(t)


def _load() -> tuple[ModuleType | None, str, str]:
    """(gankit._C or None, why there is none, why there is no gankit._C_cuda)."""
    if os.environ.get("GANKIT_NATIVE", "1") == "0":
        return None, "switched off by GANKIT_NATIVE=0", ""
    try:
        library = importlib.import_module("gankit._C")
    except ModuleNotFoundError:
        return None, "not built: no C++ compiler at installation, or its build failed; install gankit again", ""
    except ImportError as error:
        return None, f"built, but does not load: {_one_line(error)}", ""
    if torch.version.cuda is None:
        return library, "", "torch has no CUDA"
    try:
        importlib.import_module("gankit._C_cuda")
    except ModuleNotFoundError:
        return library, "", "not built"
    except ImportError as error:
        return library, "", f"does not load: {_one_line(error)}"
    return library, "", ""


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


_LIBRARY, _REASON, _CUDA_REASON = _load()
NATIVE: bool = _LIBRARY is not None


def native_available() -> bool:
    """True where the compiled ops are in use, False where the reference formulas run."""
    return NATIVE


def native_status() -> str:
    """One line: which kernels run here, or why none do."""
    if _LIBRARY is None:
        return f"native library {_REASON}; reference formulas run"
    info = native_info()
    cuda = f"CUDA {info['cuda']}" if not _CUDA_REASON else f"no CUDA kernels ({_CUDA_REASON})"
    return f"native library in use: CPU kernels {info['cpu_capability']}, {cuda}"


def native_info() -> dict[str, Any]:
    """What `gankit._C.build_info()` says; empty without the library."""
    return _LIBRARY.build_info() if _LIBRARY is not None else {}
