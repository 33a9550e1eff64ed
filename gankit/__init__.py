"""gankit: a plugin-based GAN toolkit with fused C++/CUDA kernels.

Importing this package imports no torch; submodules do when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gankit.version import __version__

if TYPE_CHECKING:
    from gankit.api import Run, Samples, import_run, open_export, open_run, train

_LAZY = ("Run", "Samples", "import_run", "open_export", "open_run", "train")


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from gankit import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])


__all__ = ["Run", "Samples", "__version__", "import_run", "open_export", "open_run", "train"]
