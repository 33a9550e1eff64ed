"""One training with its data open and its networks built, before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gankit.data.source import DataSource
from gankit.events import Note, OnEvent
from gankit.options.resolve import Resolved
from gankit.plugin import Dataset, Variant
from gankit.processes import ALONE, World
from gankit.training.requirements import check_requirements
from gankit.training.session import Session


@dataclass(frozen=True)
class Ready:
    """What a :class:`~gankit.training.trainer.Trainer` is made of, of a new run or of one that goes on."""

    session: Session
    test: Dataset[Any]
    """The held-out split."""


def make_ready(
    variant: type[Variant[Any]],
    source: DataSource,
    resolved: Resolved,
    tell: OnEvent | None = None,
    world: World = ALONE,
) -> Ready:
    """Opens both splits and builds the networks. :class:`UsageError` if the options or the data are wrong.

    The data is loaded if there is somebody to `tell` how far that is: first, since its length may depend on it. The
    session is that of one process of `world`.
    """
    train, test = source.open(resolved.data, "train"), source.open(resolved.data, "test")
    made = variant(resolved.options)
    check_requirements(made, train, resolved.dataset)
    if tell is not None:
        train.load(tell)
        test.load(tell)
    return Ready(Session(made, train, resolved, world), test)


def tell_data_notes(ready: Ready, tell: OnEvent) -> None:
    """What the user should read about the data, each line once."""
    known: Sequence[str] = ready.session.dataset.notes()
    for text in (*known, *(text for text in ready.test.notes() if text not in known)):
        tell(Note(text=text))


def fingerprints(ready: Ready) -> dict[str, str]:
    """What the samples of each split are, as far as the dataset says it."""
    return {"train": ready.session.dataset.fingerprint(), "test": ready.test.fingerprint()}


__all__ = ["Ready", "fingerprints", "make_ready", "tell_data_notes"]
