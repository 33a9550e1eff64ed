"""The errors a user sees: one or two lines, and the exit code of the command that met them."""

from __future__ import annotations

import errno
import re


class GankitError(Exception):
    """Something failed while running. Printed without a traceback (``GANKIT_DEBUG=1`` shows it)."""

    exit_code = 1


class UsageError(GankitError):
    """Wrong usage, option value, config file or data: the user can mend it. Exit code 2."""

    exit_code = 2


class PluginError(GankitError):
    """A plugin or the environment cannot be used. Exit code 3."""

    exit_code = 3
    cause = ""
    """Why a plugin cannot be used, without its name and the remedy."""


_MEMORY = re.compile(
    r"can't allocate memory|out of memory|_ALLOC_FAILED"
    r"|Storage size calculation overflowed|Overflow when unpacking long",  # of sizes beyond 2**63
    re.IGNORECASE,
)


def out_of_memory(error: BaseException) -> bool:
    """Whether `error`, of Python, numpy, torch or the system, says that there is not enough memory.

    torch has a class of its own for that on GPUs alone; on a CPU only the text tells.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, (RuntimeError, TypeError)) and _MEMORY.search(str(error)) is not None
