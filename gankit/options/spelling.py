"""How names are typed: an option as the running command takes it, and the name most like a mistyped one."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

Form = Callable[[str, str], str]
"""An option's dotted name and a value, as text to type."""


def flag(option: str) -> str:
    """A dotted option on the command line: ``--data.test-fraction``."""
    return "--" + option.replace("_", "-")


_form: ContextVar[Form] = ContextVar("form", default=lambda option, value: f"{flag(option)} {value}")


def give(option: str, value: object) -> str:
    """What to type to give the dotted `option` a `value`: ``--data.root DIR``, or as :func:`given_as` says."""
    return _form.get()(option, str(value))


@contextmanager
def given_as(form: Form) -> Iterator[None]:
    """While entered, :func:`give` writes `form`: for commands that take options otherwise than ``gankit run`` does."""
    token = _form.set(form)
    try:
        yield
    finally:
        _form.reset(token)


def by_set(option: str, value: str) -> str:
    """The form of commands that take ``--set OPTION=VALUE``."""
    return f"--set {option}={value}"


def in_file(path: Path) -> Form:
    """The form of an option that stands in a configuration file."""

    def form(option: str, value: str) -> str:
        table, _, name = option.rpartition(".")
        return f'{name} = "{value}"{f" under [{table}]" if table else ""} in {path}'

    return form


def nearest(name: str, names: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for the name most like `name`, or nothing."""
    by_lower = {known.lower(): known for known in names}
    match = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.55)
    return f"; did you mean {by_lower[match[0]]!r}?" if match else ""


__all__ = ["Form", "by_set", "flag", "give", "given_as", "in_file", "nearest"]
