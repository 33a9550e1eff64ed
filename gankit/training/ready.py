"""One training with its data open and its networks built, before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gankit.data.source import DataSource
from gankit.device import bf16_would_help
from gankit.events import Note, OnEvent
from gankit.options.resolve import Resolved
from gankit.options.spelling import give
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


def tell_notes(ready: Ready, tell: OnEvent) -> None:
    """What the user should read about the data and what the first steps take, each line once."""
    texts = [*ready.session.dataset.notes(), *ready.test.notes()]
    if ready.session.resolved.run.compile:
        texts.append("The networks are compiled as they are first called: the first steps take a while.")
        if kept := ready.session.as_written:
            texts.append(
                f"With several processes networks with batch norm or dropout are not compiled: {', '.join(kept)}."
            )
    for text in dict.fromkeys(texts):
        tell(Note(text=text))


def tell_faster(session: Session, tell: OnEvent) -> None:
    """Before a new run: another precision, where that is known to be faster here."""
    weights = sum(p.numel() for n in session.networks.values() for p in n.parameters() if p.dim() == 4)
    if bf16_would_help(session.precision, session.device, weights):
        where = "GPU" if session.device.type == "cuda" else "processor"
        text = f"This {where} computes in bfloat16 by itself: {give('precision', 'bf16')} is likely to be faster."
        tell(Note(text=text))


def fingerprints(ready: Ready) -> dict[str, str]:
    """What the samples of each split are, as far as the dataset says it."""
    return {"train": ready.session.dataset.fingerprint(), "test": ready.test.fingerprint()}


__all__ = ["Ready", "fingerprints", "make_ready", "tell_faster", "tell_notes"]
