"""What a run does between its steps, and when."""

from __future__ import annotations

from collections.abc import Sequence

from gankit.options.run import RunConfig


def called_for(run: RunConfig, step: int) -> list[str]:
    """What is to be done after `step` steps, in this order: ``log``, ``sample``, ``evaluate``, ``save``."""
    last = step == run.steps
    evaluate = _due(step, run.eval_every) or (last and run.eval_every > 0)
    due = {
        "log": last or _due(step, run.log_every),
        "sample": last or _due(step, run.sample_every),
        "evaluate": evaluate,
        "save": last or evaluate or _due(step, run.checkpoint_every),
    }
    return [what for what, is_due in due.items() if is_due]


def still_owed(run: RunConfig, step: int, owed: Sequence[str]) -> list[str]:
    """Those of `owed`, left over from `step` by an earlier sitting, that `run`, edited since, still asks for."""
    asked = {*called_for(run, step), "save"} if step else {"sample", "save"}
    return [what for what in owed if what in asked]


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


__all__ = ["called_for", "still_owed"]
