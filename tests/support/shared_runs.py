"""A run of a small variant, as it stands on the disk, without the time of training it."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from every_variant import enliven, small
from torch import Tensor

from gankit.data.source import DataSource
from gankit.discovery.entry_points import load_dataset
from gankit.run import Run
from gankit.runs.directory import RunDir
from gankit.runs.environment import environment
from gankit.sampling.drawer import Drawer
from gankit.training.session import Session


class MadeUpSource(DataSource):
    """Made-up samples in the place of those of a class of datasets."""

    def __init__(self, cls: type, data: object) -> None:
        super().__init__(cls)
        self._data = data

    def open(self, config: object, split: str) -> object:
        return self._data


def made_run(name: str, out: Path, preset: str | None = None, **options: object) -> Run:
    """A run that stands at step 7, of weights that draw something, averages other than what they are averages of."""
    variant, data, resolved = small(name, preset, **options)
    session = Session(variant(resolved.options), data, resolved)
    for network in session.networks.values():
        enliven(network)
    session.take(session.weights.state_dict(), 7)
    for network in session.ema.networks.values() if session.ema else ():
        with torch.no_grad():
            for weight in network.parameters():
                weight.mul_(0.9)
    directory = RunDir.create(out, resolved.variant, resolved.dataset)
    directory.keep_spec(session.spec, {"train": "24", "test": ""})
    described = environment(session.device, variant)
    (directory.path / "environment.json").write_text(json.dumps(described))
    directory.save(session.checkpoint(7, 5.0, None), 2)
    (directory.path / "config.toml").write_text(resolved.to_toml())
    session.close()
    return Run(directory, resolved, variant, MadeUpSource(load_dataset(resolved.dataset), data))


def drawn(run: Run, data: object, seed: int = 3) -> Tensor:
    """Four samples of `run`, asked with rows of `data`."""
    place = torch.device("cpu")
    drawer = Drawer(run.variant, run.networks(device="cpu"), run.spec, lambda: [data], place)
    return drawer.samples(drawer.ask(4, seed=seed), None, seed=seed).values


def tensors_of(run: Run) -> dict[str, Tensor]:
    """All that its networks have."""
    networks = run.networks(device="cpu")
    return {f"{name}.{key}": value for name, net in networks.items() for key, value in net.state_dict().items()}
