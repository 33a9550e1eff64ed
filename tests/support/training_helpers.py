"""What several of the trainer's tests use."""

from __future__ import annotations

from pathlib import Path

from tiny_gan import SMALL, Blobs, BlobsConfig, Tiny

import gankit
from gankit.events import Saved


def train(tmp_path, variant=Tiny, data=None, **options):
    return gankit.train(variant, Blobs(data or BlobsConfig()), out=tmp_path, **{**SMALL, **options})


def final(run_path: Path, step: int) -> dict[str, bytes]:
    """The bytes of every tensor file of a checkpoint."""
    folder = run_path / "checkpoints" / f"step-{step:06d}"
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def numbers(log: list[dict]) -> list[dict]:
    """The rows without what the clock says."""
    return [{k: v for k, v in row.items() if k not in ("seconds", "samples_per_second")} for row in log]


class Stop(Exception):
    pass


def stop_at(step: int):
    """Raises from within the run, just after the checkpoint of `step`: nothing is tidied up as a signal's would be."""

    def listen(event):
        if isinstance(event, Saved) and event.step >= step:
            raise Stop

    return listen
