"""What is said when something fails between two steps: what, what is kept, and how to go on."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import NoReturn

from gankit.errors import GankitError
from gankit.runs.directory import RunDir


def raise_with_the_way_on(error: Exception, what: str, step: int, saved: str, run: Path) -> NoReturn:
    """Raises `error`, which `what` step `step` called for ended with; `saved` says what is kept of the run at `run`."""
    way = f"{saved} Go on with: gankit resume {quote(str(run))}"
    if what == "evaluate":
        way += f" (eval_every = 0 in {run / 'config.toml'} leaves evaluations out)"
    if isinstance(error, GankitError):
        raise type(error)(f"step {step}: {error}\n{way}") from error
    file = error.filename if isinstance(error, OSError) else None
    if isinstance(error, OSError) and isinstance(file, str) and Path(file).is_relative_to(run):
        text = f"{file} could not be written at step {step}: {error.strerror or error}"
        raise GankitError(f"{text}\n{way}") from error
    error.add_note(f"This was at step {step}. {way}")
    raise error


def last_good(run_dir: RunDir) -> str:
    """Which checkpoint is there to go on from, as a sentence."""
    intact = run_dir.newest_intact()
    if intact is None:
        return "No checkpoint was saved."
    return f"The last good checkpoint is {run_dir.store / intact}."


__all__ = ["last_good", "raise_with_the_way_on"]
