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
    """``; did you mean 'x'?`` for the names most like `name`, or nothing."""
    found = closest(name, names)
    return f"; did you mean {' or '.join(map(repr, found))}?" if found else ""


def closest(name: str, names: Iterable[str]) -> list[str]:
    """Those of `names` that a mistyped `name` may stand for: the most alike.

    Or those that end in it, after a dot: ``lr`` for ``optim.lr``, of which there may be several.
    """
    by_lower = {known.lower(): known for known in names}
    last: dict[str, list[str]] = {}
    for lower, known in by_lower.items():
        last.setdefault(lower.rpartition(".")[2], []).append(known)
    name = name.lower()
    if name in last:
        return last[name][:3]
    if match := difflib.get_close_matches(name, by_lower, n=1, cutoff=0.55):
        return [by_lower[match[0]]]
    match = difflib.get_close_matches(name, last, n=1, cutoff=0.7)
    return last[match[0]][:3] if match else []


def shown(value: object) -> str:
    """A value for a message, not longer than a few words."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


__all__ = ["Form", "by_set", "closest", "flag", "give", "given_as", "in_file", "nearest", "shown"]
