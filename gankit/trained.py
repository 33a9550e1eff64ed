"""What a training on disk is: its options, its data, its networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from torch import nn

from gankit.data.source import DataSource
from gankit.device import resolve_device
from gankit.options.resolve import Resolved
from gankit.options.spelling import given_as, in_file
from gankit.plugin import Dataset, DataSpec, Variant
from gankit.runs.directory import RunDir
from gankit.runs.log import read_log
from gankit.training.changes import config_changes, explained
from gankit.training.networks import build_networks, load_saved
from gankit.training.session import check_owner
from gankit.training.stages import finished


class Trained:
    """A training on disk, to be looked at: :class:`gankit.Run` is one."""

    def __init__(
        self,
        directory: RunDir,
        resolved: Resolved,
        variant: type[Variant[Any]],
        source: DataSource,
    ) -> None:
        self.directory = directory
        self.config = resolved
        self.variant = variant(resolved.options)
        self._source = source
        self._cache: tuple[object, dict[str, nn.Module]] | None = None
        self._in_config = in_file(directory.path / "config.toml")

    def __repr__(self) -> str:
        what = f"{self.config.variant} on {self.config.dataset}"
        return f"{type(self).__name__}({str(self.path)!r}, {what}, {self.steps} steps)"

    @property
    def path(self) -> Path:
        return self.directory.path

    @property
    def steps(self) -> int:
        """Steps trained, as far as they are saved."""
        latest = self.directory.latest
        return int(self.directory.state(latest)["step"]) if latest else 0

    @property
    def seconds(self) -> float:
        """Time spent training, over all sittings."""
        latest = self.directory.latest
        return float(self.directory.state(latest)["seconds"]) if latest else 0.0

    @property
    def finished(self) -> bool:
        return finished(self.directory, self.config)

    @property
    def log(self) -> list[dict[str, Any]]:
        """The rows of ``log.jsonl``."""
        return read_log(self.path / "log.jsonl")

    @property
    def metrics(self) -> dict[str, float]:
        """Of the last evaluation during training (``eval_every``); empty if there was none."""
        found = (row.get("metrics") for row in reversed(self.log))
        return next((dict(metrics) for metrics in found if isinstance(metrics, dict)), {})

    @property
    def spec(self) -> DataSpec:
        """What the data was that the run was made with."""
        return self.directory.spec or self.dataset().spec

    def dataset(self, split: Literal["train", "test"] = "train") -> Dataset[Any]:
        with given_as(self._in_config):
            return self._source.open(self.config.data, split)

    def networks(self, checkpoint: str = "best", device: str = "auto") -> dict[str, nn.Module]:
        """The networks to draw from, in eval mode: averaged where the variant keeps an average.

        `checkpoint` is ``best`` (``latest`` if no metric picked one), ``latest``, or a name or step. `device` is that
        of ``gankit sample --device``: ``auto`` takes a GPU if there is one.
        """
        name = self.directory.resolve(checkpoint)
        place = resolve_device(device)
        if self._cache is None or self._cache[0] != (name, place):
            saved = self.directory.load(name, ("weights", "ema"))
            check_owner(saved, self.config)
            edits = config_changes(saved.state.get("config"), self.config)
            with explained(self.path / "config.toml", edits):
                networks = build_networks(self.variant, self.spec, self.config.run.seed)
                load_saved(networks, saved)
            for network in networks.values():
                network.to(place).eval().requires_grad_(False)
            self._cache = ((name, place), networks)
        return dict(self._cache[1])


__all__ = ["Trained"]
