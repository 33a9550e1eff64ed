"""What a new run starts from, if not from weights drawn at random: those of another run that fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from gankit.errors import GankitError, UsageError
from gankit.json_file import read_object
from gankit.nn import AdaptiveProbability, ImagePool, State
from gankit.runs.directory import RunDir
from gankit.training.networks import by_network

__all__ = ["Start", "began_with", "read_start", "recorded_origin", "recorded_start", "start_of"]

NAMED = 3
"""Tensors that a message names."""


@dataclass(frozen=True)
class Start:
    """Of a checkpoint of `run` the tensors that fit, by network, and what does not."""

    run: RunDir
    checkpoint: str
    weights: Mapping[str, Mapping[str, Tensor]]
    new: tuple[str, ...]
    """Of the new run, by ``network.name``: what stays as it was drawn."""
    unused: tuple[str, ...]
    """Of the checkpoint: what has no place."""

    states: bool = False
    """Whether the new run's networks keep states, which `prepare` may have to set: none is taken."""

    @property
    def whole(self) -> bool:
        """Whether all that the networks have came along, so that nothing is left to prepare."""
        return not self.new and not self.states

    def describe(self) -> str:
        """A sentence for the user."""
        taken = sum(map(len, self.weights.values()))
        text = f"Starts from {self.run.path}, {self.checkpoint}: {taken} of {taken + len(self.new)} tensors."
        text += f" New: {_named(self.new)}." if self.new else ""
        return text + (f" Not taken: {_named(self.unused)}." if self.unused else "")

    def origin(self, beside: RunDir) -> dict[str, str]:
        """What the run `beside` keeps of it."""
        return {"run": beside.relative(self.run.path), "checkpoint": self.checkpoint}

    def put_into(self, networks: Mapping[str, nn.Module]) -> None:
        for name, tensors in self.weights.items():
            own = networks[name].state_dict()
            for key, value in tensors.items():
                own[key].copy_(value)


def start_of(path: Path) -> tuple[RunDir, str]:
    """The run and the checkpoint at `path`: a run, its best one; or the folder of a checkpoint."""
    path = path.expanduser()
    if path.parent.name == "checkpoints" and not (path / "config.toml").exists():
        run = RunDir.open(path.parent.parent)
        return run, run.resolve(path.name)
    run = RunDir.open(path)
    return run, run.resolve("best")


def read_start(run: RunDir, checkpoint: str, networks: Mapping[str, nn.Module]) -> Start:
    """What of `checkpoint` has the name and the shape of something in `networks`: averages where there are any.

    Not what steps have kept: pools, adaptive probabilities. :class:`UsageError` if nothing fits.
    """
    saved = run.load(checkpoint, ("weights", "ema"))
    theirs = by_network({**saved.tensors["weights"], **saved.tensors.get("ema", {})})
    weights: dict[str, dict[str, Tensor]] = {}
    new: list[str] = []
    unused = {f"{name}.{key}" for name, tensors in theirs.items() for key in tensors}
    for name, network in networks.items():
        kept = _kept(network)
        for key, own in network.state_dict().items():
            found = theirs.get(name, {}).get(key)
            if key in kept:
                unused.discard(f"{name}.{key}")
            elif found is not None and found.shape == own.shape and found.dtype == own.dtype:
                weights.setdefault(name, {})[key] = found
                unused.discard(f"{name}.{key}")
            else:
                new.append(f"{name}.{key}")
    if not weights:
        what = f"its networks are {', '.join(theirs)}, those of the new run {', '.join(networks)}"
        raise UsageError(f"nothing in {run.path} ({checkpoint}) fits: {what}, and no name and shape agree.")
    states = any(isinstance(module, State) for network in networks.values() for module in network.modules())
    return Start(run, checkpoint, weights, tuple(new), tuple(sorted(unused)), states)


def recorded_start(run: RunDir, networks: Mapping[str, nn.Module]) -> Start | None:
    """What `run` says that it started from; None if it did from nothing."""
    origin = recorded_origin(run)
    return read_start(RunDir.open(origin[0]), origin[1], networks) if origin else None


def recorded_origin(run: RunDir) -> tuple[Path, str] | None:
    """The path of the run that `run` says it started from, and the checkpoint; None if it did from nothing."""
    path = run.path / "environment.json"
    if not path.exists():
        return None
    origin: Any = read_object(path, "start the run anew with gankit run").get("init")
    if origin is None:
        return None
    if not isinstance(origin, dict) or not all(isinstance(origin.get(key), str) for key in ("run", "checkpoint")):
        raise GankitError(f"{path} does not say what the run starts from: start it anew with gankit run.")
    return (run.path / origin["run"]).resolve(), origin["checkpoint"]


def began_with(run: RunDir, init: Path) -> bool:
    """Whether `run` started from what is at `init`."""
    try:
        there, checkpoint = start_of(init)
        return recorded_origin(run) == (there.path.resolve(), checkpoint)
    except GankitError:  # it is gone since
        return False


def _kept(network: nn.Module) -> set[str]:
    """The buffers in which steps keep what they have seen."""
    return {
        f"{name}.{key}" if name else key
        for name, module in network.named_modules()
        if isinstance(module, State | ImagePool | AdaptiveProbability)
        for key in module.state_dict()
    }


def _named(names: tuple[str, ...]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
