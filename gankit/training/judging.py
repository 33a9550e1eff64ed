"""Evaluation while training, and which checkpoint is the best."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gankit.errors import UsageError
from gankit.plugin import Dataset

if TYPE_CHECKING:
    from gankit.training.session import Session

SMALLER_IS_BETTER = ("fid", "swd", "kid")
"""Metrics that are distances; any other is better when larger."""


def judge(session: Session, test: Dataset[Any] | None, *, n: int, seed: int) -> dict[str, float]:
    """The metrics of the networks as they are now."""
    from gankit.evaluate import evaluate

    if test is None or len(test) == 0:
        raise UsageError(f"dataset {session.resolved.dataset!r} has no held-out split: set eval_every to 0.")
    from gankit.training.sampling import evaluating

    networks = session.sampling_networks()
    with evaluating(networks):
        result = evaluate(
            session.variant, networks, session.spec, session.dataset, test, n=n, seed=seed, device=session.device
        )
    return {key: float(value) for key, value in result["metrics"].items()}


def improves(name: str, metrics: Mapping[str, float], best: Mapping[str, Any] | None) -> bool:
    """Whether `metrics` beat the best so far by the metric `name`."""
    if name not in metrics:
        raise UsageError(f"the metric {name!r} was not computed; there are {', '.join(metrics)}.")
    value = metrics[name]
    if not math.isfinite(value):
        return False
    if best is None or best["metric"] != name:
        return True
    smaller = name.split("_")[0].split("/")[0] in SMALLER_IS_BETTER
    return value < best["value"] if smaller else value > best["value"]
