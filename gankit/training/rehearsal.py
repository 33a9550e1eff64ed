"""A run that would fail at once is refused before it is made: one step and a sheet of samples are tried, on a copy."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gankit.cache import byte_size
from gankit.data.kinds import kind_of
from gankit.data.made_up import MadeUp
from gankit.discovery.entry_points import place
from gankit.errors import GankitError, PluginError, UsageError, out_of_memory
from gankit.plugin import Dataset, DataSpec, Variant
from gankit.random_state import fork_rng
from gankit.sampling.drawer import Drawer
from gankit.training.ready import Ready
from gankit.training.session import Session
from gankit.training.validation import check_metric

FEW = 4
"""Samples in the batch that is tried first: enough for what needs more than one, or halves of more than one."""


def rehearse(ready: Ready) -> None:
    """:class:`UsageError` or :class:`PluginError` if training, or drawing from what is trained, would fail at once.

    The copy has weights of its own, and random numbers of its own: the run is the same with a rehearsal and without.
    """
    session = ready.session
    run = session.resolved.run
    if run.eval_every:
        check_metric(session.variant)
    _check_size(session.spec, run.batch_size)
    made_up = MadeUp(session.spec, FEW)
    try:
        _try(session, [made_up], min(FEW, run.batch_size))
    except Exception:  # what is made up, or so few of it, may be to blame: what the data itself leads to counts
        _try_in_earnest(session, [session.dataset, ready.test])


class _Failure(Exception):
    """`what` could not be done, for the reason that is this error's cause."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


def _try_in_earnest(session: Session, data: Sequence[Dataset[Any]]) -> None:
    variant, size = session.variant, session.resolved.run.batch_size
    try:
        _try(session, data, size)
    except _Failure as failure:
        error = failure.__cause__ or failure
        text = " ".join(str(error).split())
        if "Expected more than 1 value per channel" in text:
            raise UsageError(
                f"batch_size = {size} is too small: a batch norm of {type(variant).__name__} would see one value a "
                f"channel. Give at least {size + 1}."
            ) from error
        if type(variant).prepare is Variant.prepare:  # else it may be what prepare makes that is missing
            raise PluginError(
                f"{type(variant).__name__} cannot {failure.what} with these options and this data: "
                f"{type(error).__name__}: {text if len(text) <= 300 else text[:297] + '...'} ({place(error)})"
            ) from error


def _try(session: Session, data: Sequence[Dataset[Any]], size: int) -> None:
    """A step and a sheet of a variant like that of `session`, on `data`: its first split, and the held-out one."""
    resolved = session.resolved
    run = resolved.run.model_copy(update={"batch_size": size, "accumulate": 1, "workers": 0, "compile": False})
    what = "be built"
    with fork_rng(session.device):
        try:
            copy = Session(type(session.variant)(resolved.options), data[0], replace(resolved, run=run))
            what = "take its first step"
            copy.train_step(0, most=2)  # all further turns of a phase are like the second
            what = "draw samples"
            Drawer(copy.variant, copy.networks, copy.spec, lambda: data[::-1], copy.device).check()
            copy.close()
        except GankitError:
            raise
        except Exception as error:
            if out_of_memory(error):  # no fault of the plugin's
                raise
            raise _Failure(what) from error


def _check_size(spec: DataSpec, size: int) -> None:
    """:class:`UsageError` if not even a batch fits into this machine's memory."""
    sample = sum(kind_of(key).step_dtype.itemsize * math.prod(key.shape) for key in spec.keys.values())
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # a system that does not say
        return
    if sample * size > memory:
        raise UsageError(
            f"batch_size = {size}: a batch alone takes {byte_size(sample * size)}; there are {byte_size(memory)}."
        )


__all__ = ["rehearse"]
