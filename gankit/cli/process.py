"""How the process that trains manages memory and waits: settled before torch is loaded, unless the user did.

Training frees and takes the same large blocks at each step. By default malloc hands them back to the system, which
fills them with zeros when they are taken again: a tenth of a step of a convolutional network. And OpenMP's threads wait
for each other in a loop that keeps a core busy for milliseconds: where another process wants that core, the thread
that all wait for is the one that cannot run. What that costs is measured in benchmarks/bench_process.py.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping

TRIM_THRESHOLD = 2**30
"""Bytes free at the end of the heap before malloc hands any back."""
MMAP_THRESHOLD = 2**25
"""Bytes of a block that is mapped for itself, and handed back when it is freed: the largest bound that glibc takes."""
SPINS = 1000
"""Turns of the loop in which an idle thread waits before it sleeps, tens of microseconds. GNU's own is 300,000."""

_MALLOC_VARIABLES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_")
_WAIT_VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h

_settled: dict[str, str] = {}


def settle(*, malloc: bool = True, spins: int | None = SPINS) -> None:
    """Set both for this process, or one of them. Once torch is loaded it is too late, and nothing is changed."""
    if "torch" in sys.modules or _settled:
        return
    _settled["malloc"] = _settle_malloc(os.environ) if malloc else "as it was"
    _settled["openmp"] = _settle_waiting(spins) if spins is not None else "as it was"


def described() -> dict[str, str]:
    """What is set, by whom, in words: of ``malloc`` and of ``openmp``."""
    return _settled or dict.fromkeys(("malloc", "openmp"), "as it was: torch was loaded already")


def _settle_malloc(environment: Mapping[str, str]) -> str:
    if given := _given(_MALLOC_VARIABLES, environment):
        return given
    if "glibc.malloc." in environment.get("GLIBC_TUNABLES", ""):
        return "GLIBC_TUNABLES, as you set it"
    mallopt = _mallopt()
    if mallopt is None:
        return "as it was: this is not glibc"
    # the first call alone would already stop glibc from adapting the other bound by itself
    if not (mallopt(_M_MMAP_THRESHOLD, MMAP_THRESHOLD) and mallopt(_M_TRIM_THRESHOLD, TRIM_THRESHOLD)):
        return "as it was: glibc refused the bounds"
    return f"keeps up to {TRIM_THRESHOLD >> 20} MiB that are free, maps blocks from {MMAP_THRESHOLD >> 20} MiB on"


def _settle_waiting(spins: int) -> str:
    if given := _given(_WAIT_VARIABLES, os.environ):
        return given
    if sys.platform != "linux":
        return "as it was: torch does not bring GNU's OpenMP here"
    os.environ["GOMP_SPINCOUNT"] = str(spins)
    return f"idle threads sleep after {spins:,} spins (GOMP_SPINCOUNT)"


def _given(names: tuple[str, ...], environment: Mapping[str, str]) -> str:
    given = [f"{name}={environment[name]}" for name in names if environment.get(name)]
    return f"{', '.join(given)}, as you set it" if given else ""


def _mallopt() -> Callable[[int, int], int] | None:
    """glibc's function; None elsewhere, musl included, whose ``mallopt`` does nothing."""
    if sys.platform != "linux":
        return None
    import ctypes  # here, since the pages of --help do without it

    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version") or not hasattr(library, "mallopt"):
        return None
    function: Callable[[int, int], int] = library.mallopt
    return function


__all__ = ["described", "settle"]
