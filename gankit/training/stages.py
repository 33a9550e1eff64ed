"""Variants trained in stages: which earlier run a stage builds on, and what it takes over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from torch import Tensor, nn

from gankit.errors import GankitError, PluginError
from gankit.json_file import read_object
from gankit.options.resolve import Resolved, read_toml, resolve
from gankit.plugin import Dataset, Variant
from gankit.runs.directory import RunDir, runs_in
from gankit.training.networks import by_network, fits
from gankit.training.start import Start


@dataclass(frozen=True)
class EarlierStage:
    """The run that a stage builds on, and the tensors that each network of the stage starts from."""

    run: RunDir
    checkpoint: str
    weights: Mapping[str, Mapping[str, Tensor]]


def read_config(run: RunDir, variant: type[Variant[Any]], dataset: type[Dataset[Any]]) -> Resolved:
    """The config of `run`, for classes that need not be installed as plugins. UsageError names the file."""
    path = run.path / "config.toml"
    names = read_names(run)
    try:
        return resolve(variant, dataset, variant=names["variant"], dataset=names["dataset"], file=path)
    except GankitError as error:
        text = str(error)
        raise type(error)(text if str(path) in text else f"{path}: {text}") from error


def read_names(run: RunDir) -> dict[str, str]:
    """Which ``variant`` and ``dataset`` `run` is of."""
    path = run.path / "config.toml"
    content = read_toml(path)
    for name in ("variant", "dataset"):
        if name not in content:
            raise GankitError(f"{path} does not say `{name}`: it is not a run's, or was damaged.")
    return {"variant": content["variant"], "dataset": content["dataset"]}


def finished(run: RunDir, resolved: Resolved) -> bool:
    latest = run.latest
    if latest is None:
        return False
    state = run.state(latest)
    return bool(state["step"] >= resolved.run.steps and not state["owed"])


def find_earlier(
    out: Path,
    wanted: Resolved,
    variant: type[Variant[Any]],
    dataset: type[Dataset[Any]],
    inherits: Mapping[str, str],
    networks: Mapping[str, nn.Module],
) -> EarlierStage | None:
    """The newest finished run like `wanted` under `out`: same stage, same data, weights that fit `networks`."""
    check_inherits(inherits, networks)
    for run, done in _like(out, wanted, variant, dataset):
        try:
            earlier = read_earlier(run, inherits) if done else None
        except GankitError:  # damaged, or of other networks
            continue
        if earlier is not None and all(fits(networks[name], tensors) for name, tensors in earlier.weights.items()):
            return earlier
    return None


def unfinished(out: Path, wanted: Resolved, variant: type[Variant[Any]], dataset: type[Dataset[Any]]) -> RunDir | None:
    """The newest run like `wanted` under `out`, if its training has stopped before its end."""
    return next((None if done else run for run, done in _like(out, wanted, variant, dataset)), None)


def _like(
    out: Path, wanted: Resolved, variant: type[Variant[Any]], dataset: type[Dataset[Any]]
) -> Iterator[tuple[RunDir, bool]]:
    """The runs of the same stage of the same data, newest first, and whether they are finished."""
    for run in runs_in(out / f"{wanted.variant}-{wanted.dataset}"):
        try:
            resolved = read_config(run, variant, dataset)
            if resolved.stage == wanted.stage and _same_data(resolved.data, wanted.data, dataset.reading):
                yield run, finished(run, resolved)
        except GankitError:  # another version's options, or damaged: not one to build on
            continue


def _same_data(one: BaseModel, other: BaseModel, reading: frozenset[str]) -> bool:
    """Whether two datasets are made with the same options, but for those that only say how they are read."""
    return one.model_dump(exclude=set(reading)) == other.model_dump(exclude=set(reading))


def read_earlier(run: RunDir, inherits: Mapping[str, str]) -> EarlierStage:
    """What is taken over from `run`: of its best checkpoint, averaged where there is an average."""
    if not inherits:
        return EarlierStage(run, run.resolve("best"), {})
    saved = run.load("best", ("weights", "ema"))
    weights = by_network(saved.tensors["weights"]) | by_network(saved.tensors.get("ema", {}))
    if missing := sorted(set(inherits.values()) - set(weights)):
        raise PluginError(f"inherits() names {missing[0]!r}; the earlier stage has {', '.join(weights)}")
    taken = {name: weights[source] for name, source in inherits.items()}
    return EarlierStage(run, run.resolve("best"), taken)


def earlier_of(run: RunDir, inherits: Mapping[str, str]) -> EarlierStage | None:
    """The same of a `run` that exists: it says itself which one it builds on."""
    if not inherits:
        return None
    path = run.path / "environment.json"
    origin = read_object(path, "start the run anew with gankit run").get("previous_stage")
    if not isinstance(origin, dict) or not isinstance(origin.get("run"), str):
        raise GankitError(f"{path} does not say which run this one builds on: start it anew with gankit run.")
    return read_earlier(RunDir.open(run.path / origin["run"]), inherits)


def still_inherited(variant: Variant[Any], start: Start | None) -> dict[str, str]:
    """What `variant` inherits from the stage before, but for networks that `start` brings along as a whole."""
    inherits = variant.inherits()
    if start is None:
        return inherits
    lacking = {name.partition(".")[0] for name in start.new}
    return {name: source for name, source in inherits.items() if name not in start.weights or name in lacking}


def check_inherits(inherits: Mapping[str, str], networks: Mapping[str, nn.Module]) -> None:
    if missing := sorted(set(inherits) - set(networks)):
        raise PluginError(f"inherits() names {missing[0]!r}; this stage's networks are {', '.join(networks)}")
