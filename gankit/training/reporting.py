"""What a run leaves for who looks at it later: all that its last evaluation found, and the page about it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gankit.events import Note, OnEvent, Reported
from gankit.files import replace_text
from gankit.json_file import finite
from gankit.report import NAME, report_of
from gankit.runs.directory import RunDir

if TYPE_CHECKING:
    from gankit.training.session import Session


def keep_evaluation(found: Mapping[str, Any], run_dir: RunDir, step: int, tell: OnEvent) -> None:
    """Writes all that an evaluation `found`, the figures of real images among it.

    Where that fails a note says so: the metrics are in the log, and no training is stopped for the rest.
    """
    path = run_dir.path / "evaluation.json"
    try:
        replace_text(path, json.dumps(finite({"step": step, **found}), indent=1) + "\n")
    except OSError as error:
        tell(Note(text=f"{path} cannot be written: {error.strerror or error}. The metrics are in the log."))


def write_report(session: Session, run_dir: RunDir, tell: OnEvent) -> None:
    """Writes the page about a run that is trained and saved, and tells where. What fails here costs the run nothing."""
    variant, dataset = type(session.variant), type(session.dataset)
    try:
        made = report_of(run_dir, variant, dataset, run_dir.path / NAME, overwrite=True, training=True)
    except Exception as error:
        tell(Note(text=f"There is no report: {error}"))
    else:
        tell(Reported(path=made.path))


__all__ = ["keep_evaluation", "write_report"]
