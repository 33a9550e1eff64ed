"""Evaluation while training, and which checkpoint is the best."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gankit.errors import UsageError
from gankit.events import Note, OnEvent
from gankit.plugin import Dataset

if TYPE_CHECKING:
    from gankit.training.session import Session

SMALLER_IS_BETTER = ("fid", "kid", "swd", "memorised")
"""First words of the metrics that are better when smaller; any other is better when larger."""


def judge(
    session: Session, test: Dataset[Any] | None, *, n: int, seed: int, sheet: Path, tell: OnEvent
) -> dict[str, float]:
    """The metrics of the networks as they are now; at `sheet`, samples beside their nearest training images."""
    from gankit.evaluate import evaluate

    networks, device = session.sampling_networks(), session.device
    result = evaluate(
        session.variant,
        networks,
        session.spec,
        session.dataset,
        test,
        n=n,
        seed=seed,
        device=device,
        sheet=sheet,
        tell=tell,
    )
    for note in result["notes"]:
        tell(Note(text=note))
    return dict(result["metrics"])


def improves(name: str, metrics: Mapping[str, float], best: Mapping[str, Any] | None) -> bool:
    """Whether `metrics` beat the best so far by the metric `name`. One that came out undefined does not."""
    if name not in metrics or not math.isfinite(metrics[name]):
        return False
    if best is None or best["metric"] != name:
        return True
    smaller = name.split("_")[0] in SMALLER_IS_BETTER
    return metrics[name] < best["value"] if smaller else metrics[name] > best["value"]


def check_metric(name: str | None) -> None:
    """:class:`UsageError` if a variant picks its best checkpoint by a figure that no evaluation gives."""
    from gankit.evaluate import FIGURES

    if name is not None and not any(name == figure or name.startswith(f"{figure}_") for figure in FIGURES):
        raise UsageError(f"the variant's metric {name!r} is unknown; there are {', '.join(FIGURES)}.")
