"""Evaluation while training, and which checkpoint is the best."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gankit.errors import UsageError
from gankit.evaluate import METRICS, better, evaluate
from gankit.evaluate.table import check_own
from gankit.events import Note, OnEvent
from gankit.plugin import Dataset, Variant

if TYPE_CHECKING:
    from gankit.training.session import Session


def evaluate_now(session: Session, test: Dataset[Any] | None, *, sheet: Path, tell: OnEvent) -> dict[str, Any]:
    """What :func:`~gankit.evaluate.evaluate` finds of the networks as they are now; at `sheet`, samples beside their
    nearest training images.

    Says what a reader should know of the metrics, also if nothing can be measured.
    """
    run, variant = session.resolved.run, session.variant
    result = evaluate(
        variant,
        session.sampling_networks(),
        session.spec,
        session.dataset,
        test,
        at_most=run.eval_n,
        seed=run.seed,
        device=session.device,
        batch_size=run.batch_size,
        sheet=sheet,
        tell=tell,
    )
    notes = result["notes"]
    if variant.metric is not None and variant.metric not in result["metrics"]:
        notes.append(f"there is no {variant.metric} to pick the best checkpoint by")
    for note in notes:
        tell(Note(text=note))
    return result


def improves(variant: Variant[Any], metrics: Mapping[str, float], best: Mapping[str, Any] | None) -> bool:
    """Whether `metrics` beat the best so far by the metric of `variant`. One that came out undefined does not."""
    name = variant.metric
    if name is None or name not in metrics or not math.isfinite(metrics[name]):
        return False
    if best is None or best["metric"] != name:
        return True
    smaller = better(name, variant.metrics) == "smaller"
    return metrics[name] < best["value"] if smaller else metrics[name] > best["value"]


def check_metric(variant: Variant[Any] | type[Variant[Any]]) -> None:
    """:class:`UsageError` if `variant` picks its best checkpoint by a figure that no evaluation gives.

    :class:`PluginError` if its own metrics are not told as they should be.
    """
    check_own(variant)
    if variant.metric is not None and better(variant.metric, variant.metrics) is None:
        figures = [name for metric in METRICS.values() for name in metric.figures]
        raise UsageError(f"the variant's metric {variant.metric!r} is unknown; there are {', '.join(figures)}.")
