"""What becomes of an error: an exit code, and a line or two that say what to do."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import typer

from gankit.cache import byte_size
from gankit.errors import GankitError, out_of_memory
from gankit.options.spelling import closest

INTERRUPTED = 130
"""Exit code of a command that Ctrl-C ended."""

LONGEST = 400
"""Characters of a message that is not our own."""


def explain(error: BaseException, arguments: Sequence[str] = ()) -> tuple[int, str]:
    """(exit code, one or two lines); what was noted on the error by whoever passed it on comes after them."""
    code, text = _explained(error, arguments)
    return code, "\n".join([text, *getattr(error, "__notes__", ())])


def _explained(error: BaseException, arguments: Sequence[str]) -> tuple[int, str]:
    if isinstance(error, GankitError):
        return error.exit_code, f"error: {error}"
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        return INTERRUPTED, "interrupted"
    if isinstance(error, ImportError):  # of a plugin that imports where it needs something, or of gankit's own needs
        from gankit.discovery.entry_points import blame

        return 3, f"error: {blame(error) or error}"
    if hasattr(error, "format_message"):  # typer's and click's own
        return 2, f"error: {_usage(error, arguments)}"
    if out_of_memory(error):
        return 1, f"error: {_memory(error, arguments)}"
    if isinstance(error, UnicodeEncodeError):  # of a file name: all that gankit itself writes is UTF-8
        return 2, f"error: {_encoding(error)}"
    if isinstance(error, OSError) and error.strerror:
        return 1, f"error: {error.strerror}: {error.filename}" if error.filename else f"error: {error.strerror}"
    text = " ".join(str(error).split())
    text = text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
    return 1, f"error: {type(error).__name__}{': ' if text else ''}{text}\nset GANKIT_DEBUG=1 for the traceback"


_AMOUNT = re.compile(r"(?:tried to|unable to) allocate ([\d.]+) ?(bytes|B|KiB|MiB|GiB|TiB)", re.IGNORECASE)
_UNITS = {"bytes": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_LESS = {
    "run": "try a smaller --batch-size; --accumulate N makes up for it, and --precision bf16 takes less",
    "resume": "try a new run with a smaller batch: gankit run VARIANT --config RUN/config.toml --batch-size N",
    "bench": "try a smaller --batch-size",
    "sample": "try a smaller --n",
    "eval": "try a smaller --n",
}


def _memory(error: BaseException, arguments: Sequence[str]) -> str:
    text = str(error)
    where = " on the GPU" if "CUDA" in text or "MPS" in text else ""
    amount = _AMOUNT.search(text)
    asked = f": {byte_size(float(amount[1]) * _UNITS[amount[2]])} were asked for at once" if amount else ""
    command = arguments[0] if arguments else ""
    return f"there is not enough memory{where}{asked}\n{_LESS.get(command, 'try it where there is more of it')}"


def _encoding(error: UnicodeEncodeError) -> str:
    text = str(error.object)
    if any(0xD800 <= ord(letter) <= 0xDFFF for letter in text):
        return f"{text!r} holds bytes that are no text in {sys.getfilesystemencoding()}\nrename it"
    encoding = error.encoding
    return f"the name {text!r} cannot be written in {encoding}, the encoding of this locale\ntry: export LC_ALL=C.UTF-8"


def _usage(error: Any, arguments: Sequence[str]) -> str:
    """What is wrong with the command line, and what to type."""
    context = getattr(error, "ctx", None)
    message = str(error.format_message()).rstrip(".")
    wrong = getattr(error, "option_name", None)
    if context is not None and wrong and hasattr(error, "possibilities"):
        known = [option for param in context.command.params for option in [*param.opts, *param.secondary_opts]]
        by_name = {option.lstrip("-"): option for option in known}  # the dashes would make any two alike
        found = [by_name[name] for name in closest(wrong.lstrip("-").replace("_", "-"), by_name)]
        message = f"unknown option {wrong}" + (f"; did you mean {' or '.join(found)}?" if found else "")
    elif message == "Missing command" and context is not None:
        message = f"missing command: one of {', '.join(context.command.list_commands(context))}"
    else:
        message = (message[:1].lower() + message[1:]).replace("Value error, ", "")
        flags = getattr(getattr(error, "param", None), "opts", [])
        given = [value for flag, value in pairwise(arguments) if flag in flags]
        if given and "invalid value" in message:
            message = message.replace("invalid value", f"invalid value {given[-1]!r}", 1)
    message = message if len(message) <= LONGEST else message[: LONGEST - 3] + "..."
    return message + (f"\ntry: {context.command_path} --help" if context is not None else "")


__all__ = ["INTERRUPTED", "explain"]
