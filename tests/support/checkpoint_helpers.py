"""Checkpoints without a training."""

from __future__ import annotations

from typing import Any

import torch

from gankit.runs.checkpoint import Checkpoint


def state(**changes: Any) -> dict[str, Any]:
    """What stands in a checkpoint's ``state.json``, with `changes`."""
    plain = {"variant": "v", "dataset": "d", "stage": None, "device": "cpu", "seconds": 1.5, "best": None, "owed": []}
    return {**plain, "versions": {"torch": "2"}, "parts": {}, **changes}


def content(step: int = 5, **changes: Any) -> Checkpoint:
    """A checkpoint of one tensor, which says its step."""
    return Checkpoint(step=step, tensors={"weights": {"g.w": torch.arange(6.0) + step}}, state=state(**changes))
