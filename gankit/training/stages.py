"""Variants trained in stages: which earlier run a stage builds on, and what it takes over."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from gankit.errors import GankitError, PluginError
from gankit.options.resolve import Resolved, read_toml, resolve
from gankit.plugin import Dataset, Variant
from gankit.runs import checkpoint
from gankit.runs.directory import RunDir
from gankit.training.session import by_network


def read_config(run: RunDir, variant: type[Variant[Any]], dataset: type[Dataset[Any]]) -> Resolved:
    """The config of `run`, for classes that need not be installed as plugins."""
    path = run.path / "config.toml"
    names = read_toml(path)
    return resolve(variant, dataset, variant=names["variant"], dataset=names["dataset"], file=path)


def finished(run: RunDir, resolved: Resolved) -> bool:
    latest = run.latest
    return latest is not None and checkpoint.read_state(run.store / latest)["step"] >= resolved.run.steps


def find_previous(
    out: Path,
    wanted: Resolved,
    variant: type[Variant[Any]],
    dataset: type[Dataset[Any]],
    inherits: Mapping[str, str],
    networks: Mapping[str, nn.Module],
) -> RunDir | None:
    """The newest finished run like `wanted` under `out`: same stage, same data options, weights that fit `networks`."""
    for run, done in _like(out, wanted, variant, dataset):
        try:
            weights = inherited_weights(run, inherits) if done else None
        except GankitError:  # damaged, or of other networks
            continue
        if weights is not None and all(_fits(networks[name], tensors) for name, tensors in weights.items()):
            return run
    return None


def unfinished(out: Path, wanted: Resolved, variant: type[Variant[Any]], dataset: type[Dataset[Any]]) -> RunDir | None:
    """The newest run like `wanted` under `out`, if its training has stopped before its end."""
    return next((None if done else run for run, done in _like(out, wanted, variant, dataset)), None)


def _like(
    out: Path, wanted: Resolved, variant: type[Variant[Any]], dataset: type[Dataset[Any]]
) -> Iterator[tuple[RunDir, bool]]:
    """The runs of the same stage with the same data options, newest first, and whether they are finished."""
    for run in _newest_first(out / f"{wanted.variant}-{wanted.dataset}"):
        try:
            resolved = read_config(run, variant, dataset)
            if resolved.stage == wanted.stage and resolved.data == wanted.data:
                yield run, finished(run, resolved)
        except GankitError:  # another version's options, or damaged: not one to build on
            continue


def inherited_weights(run: RunDir, inherits: Mapping[str, str]) -> dict[str, dict[str, Tensor]]:
    """For each network of this stage, the tensors it starts from: `run`'s best, averaged where there is an average."""
    if not inherits:
        return {}
    saved = run.load("best", ("weights", "ema"))
    weights = by_network(saved.tensors["weights"]) | by_network(saved.tensors.get("ema", {}))
    if missing := sorted(set(inherits.values()) - set(weights)):
        raise PluginError(f"inherits() names {missing[0]!r}; the earlier stage has {', '.join(weights)}")
    return {name: weights[source] for name, source in inherits.items()}


def inherited_by(run: RunDir, inherits: Mapping[str, str]) -> dict[str, dict[str, Tensor]]:
    """The same of a `run` that exists: it says itself which one it builds on."""
    if not inherits:
        return {}
    origin = json.loads((run.path / "environment.json").read_text()).get("previous_stage")
    if not origin:
        raise GankitError(f"{run.path} does not say which run it builds on; start it anew with gankit run.")
    return inherited_weights(RunDir.open(run.path / origin["run"]), inherits)


def check_inherits(inherits: Mapping[str, str], networks: Mapping[str, nn.Module]) -> None:
    if missing := sorted(set(inherits) - set(networks)):
        raise PluginError(f"inherits() names {missing[0]!r}; this stage's networks are {', '.join(networks)}")


def _newest_first(home: Path) -> Iterable[RunDir]:
    if not home.is_dir():
        return []
    runs = [p for p in home.iterdir() if p.name.isdecimal() and (p / "config.toml").is_file()]
    return [RunDir(p) for p in sorted(runs, key=lambda p: int(p.name), reverse=True)]


def _fits(network: nn.Module, tensors: Mapping[str, Tensor]) -> bool:
    shapes = {key: value.shape for key, value in network.state_dict().items()}
    return shapes == {key: value.shape for key, value in tensors.items()}
