"""One check after another, and what came of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gankit.discovery.entry_points import place
from gankit.errors import GankitError

BATCH = 8
"""Samples in a batch of the check's own training steps (fewer if the data holds fewer)."""


class Failed(Exception):
    """A check failed; the text says why."""


@dataclass(frozen=True)
class Result:
    """One check. `ok` is None if it could not be made."""

    check: str
    ok: bool | None
    detail: str = ""


class Checker:
    """Makes checks and remembers what came of them."""

    def __init__(self) -> None:
        self.results: list[Result] = []

    def run(self, name: str, check: Callable[[], str | None]) -> bool:
        """Make one check; a text it returns is a remark on its success."""
        try:
            remark = check()
        except (Failed, GankitError) as error:
            self.results.append(Result(name, False, str(error)))
        except (Exception, SystemExit) as error:
            where = place(error)
            text = f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'}"
            self.results.append(Result(name, False, f"{text} ({where})" if where else text))
        else:
            self.results.append(Result(name, True, remark or ""))
        return self.results[-1].ok is True

    def skip(self, name: str, why: str) -> None:
        """Note a check that could not be made."""
        self.results.append(Result(name, None, why))


__all__ = ["BATCH", "Checker", "Failed", "Result"]
