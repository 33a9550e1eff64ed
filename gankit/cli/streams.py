"""stdout and stderr: what they may be given, and what becomes of it when nobody takes it any more."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import TextIOWrapper
from typing import Any, TextIO, cast

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""C0 and C1 but for newline and tab, and what turns the direction of text about."""

_for_data: list[TextIO] = []


def printable(text: str, *, line: bool = False) -> str:
    """`text` with what would steer a terminal, or show other text than there is, as escapes: ``\\x1b``, ``\\u202e``.

    Newlines and tabs stay, unless it has to be one `line`, as a name has.
    """
    if line:
        text = text.replace("\n", "\\n").replace("\t", "\\t")
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def escaped(text: str) -> str:
    """`text` as a help page takes it: printable, and with square brackets that are text, not rich's markup."""
    return printable(text).replace("[", "\\[")


def forgive() -> None:
    """Let both streams be there, and show as escapes what their encoding lacks: a file name is no reason to fail."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def only_data_on_stdout() -> Iterator[None]:
    """While entered, :func:`data_stream` alone is stdout; what anyone else prints, a plugin say, goes to stderr."""
    _for_data.append(sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _for_data.pop()


def data_stream() -> TextIO:
    """Where data goes: stdout, whatever ``sys.stdout`` stands for at the moment."""
    return _for_data[-1] if _for_data else sys.stdout


@contextmanager
def unheard() -> Iterator[None]:
    """While entered, printing does not fail, whoever prints: what nobody takes is dropped.

    The reader of a pipe may have gone, a terminal been closed, the disk below a redirected stream be full. None of that
    is a reason to stop a training.
    """
    with (
        redirect_stdout(cast(TextIO, _Dropping(sys.stdout))),
        redirect_stderr(cast(TextIO, _Dropping(sys.stderr))),
    ):
        yield


def discard(stream: Any) -> None:
    """Send what is still to come, and what waits to be written, nowhere."""
    try:
        handle = stream.fileno()
    except (OSError, ValueError, AttributeError):  # no file of the system's
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, handle)
    finally:
        os.close(nowhere)


class _Dropping:
    """A stream that is discarded once writing to it failed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            discard(self._stream)
            return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            discard(self._stream)


__all__ = ["data_stream", "discard", "escaped", "forgive", "only_data_on_stdout", "printable", "unheard"]
