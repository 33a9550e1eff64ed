"""Weights that another program wrote become a run: its networks, and a checkpoint of step 0 to go on from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gankit.data.made_up import MadeUp
from gankit.data.source import DataSource
from gankit.discovery.entry_points import formats, load_dataset, load_format, load_variant
from gankit.errors import PluginError, UsageError
from gankit.events import Note, OnEvent
from gankit.files import replace_text
from gankit.foreign import Asked, Foreign, WeightFile, WeightFormat
from gankit.options.effect import idle
from gankit.options.resolve import Resolved, resolve
from gankit.options.spelling import nearest, shown
from gankit.plugin import Dataset, DataSpec, Variant
from gankit.runs.directory import RunDir
from gankit.runs.environment import environment
from gankit.runs.foreign_file import digest, read_weights
from gankit.training.leading import TrainedRun
from gankit.training.ready import Ready, fingerprints, make_ready, tell_notes
from gankit.training.session import Session

__all__ = ["Imported", "check_shapes", "import_run"]

FEW = 4
"""Made-up samples that stand in for data which is not given."""


@dataclass(frozen=True)
class Imported:
    """A run made of the weights of another program."""

    run: TrainedRun
    variant: type[Variant[Any]]
    source: DataSource


def import_run(
    format: str,
    paths: Sequence[Path],
    dataset: str | None,
    options: Mapping[str, Any],
    out: Path,
    tell: OnEvent,
    *,
    size: int | None = None,
    classes: Sequence[str] = (),
) -> Imported:
    """Reads the files at `paths` as weights of `format`, and writes a run that starts from them, under `out`.

    Without a `dataset` the run is of the one that the format names, and draws without it. What is refused is refused
    before anything is written.
    """
    asked = Asked(size=size, classes=classes, options=options)
    name, found = _recognised(format, paths, asked)
    label = dataset or found.dataset
    variant, source = load_variant(name), DataSource(load_dataset(label))
    given = {**_fitting(found.options, source.cls), **options}
    resolved = resolve(variant, source.cls, variant=name, dataset=label, preset=found.preset, options=given)
    made = variant(resolved.options)
    if no_effect := {**idle(resolved.run, set(options)), **idle(resolved.options, set(options))}:
        raise UsageError(next(iter(no_effect.values())))
    check_shapes(made, source.open(resolved.data, "train").spec if dataset else found.spec, found.weights)
    ready = make_ready(variant, source, resolved, tell) if dataset else None
    session = ready.session if ready else Session(made, MadeUp(found.spec, FEW), resolved)
    try:
        session.begin(tell, found.weights)
        for note in [*found.notes, *_new(session, found)]:
            tell(Note(text=note))
        if ready:
            tell_notes(ready, tell)
        directory = _write(session, ready, {"format": format, "files": list(_described(paths))}, source, out)
    finally:
        session.close()
    return Imported(TrainedRun(directory, resolved), variant, source)


def _recognised(format: str, paths: Sequence[Path], asked: Asked) -> tuple[str, Foreign]:
    """The variant whose weights the files are, and what it has recognised."""
    entries = formats()
    able = [name for name in entries if name.partition(".")[0] == format]
    if not able:
        known = sorted({name.partition(".")[0] for name in entries})
        installed = f"installed: {', '.join(known)}" if known else "no plugin that is installed reads weights of others"
        raise UsageError(f"unknown format {shown(format)}{nearest(format, known)}\n{installed}")
    readers: dict[str, WeightFormat] = {}
    broken: PluginError | None = None
    for name in able:
        try:
            readers[name.partition(".")[2]] = load_format(name)()
        except PluginError as error:  # the files may be another's
            broken = error
    files = [read_weights(path) for path in paths]
    if doubled := [file.name for file in files if sum(other.name == file.name for other in files) > 1]:
        raise UsageError(f"two of the files are called {doubled[0]}: give the files of one model.")
    for variant, reader in readers.items():
        try:
            found = reader.read(files, asked)
        except (ValueError, LookupError, TypeError, ArithmeticError) as error:  # shapes of no such network
            names = ", ".join(file.name for file in files)
            raise UsageError(f"{names}: tensors have the names of {format}, and shapes that none has.") from error
        if found is not None:
            return variant, found
    if broken:
        raise broken
    raise UsageError(_unknown(format, files[0], list(readers)))


def _unknown(format: str, file: WeightFile, variants: Sequence[str]) -> str:
    first = next(iter(file.tensors))
    what = f"{file.name} holds no weights of {format} for {' or '.join(variants)}"
    return f"{what}: its {len(file.tensors)} tensors begin with {shown(first)} {file.shape(first)}."


def check_shapes(
    variant: Variant[Any], spec: DataSpec, weights: Mapping[str, Mapping[str, Tensor]], *, whole: bool = False
) -> None:
    """:class:`UsageError` with the first tensor that does not fit, before memory is taken for networks.

    `whole`: `weights` are of all networks, and all that they have.
    """
    try:
        with torch.device("meta"):
            networks = variant.networks(spec)
    except UsageError:
        raise
    except Exception:  # networks that need values to be built: those of a session are then looked at
        return
    for name in networks if whole else weights:
        tensors = weights.get(name, {})
        own = networks[name].state_dict() if name in networks else {}
        for key, value in own.items():
            if whole and key not in tensors:
                raise UsageError(f"the weights do not fit network {name!r}: there is no {key}.")
            if key in tensors and tensors[key].shape != value.shape:
                shapes = f"{tuple(tensors[key].shape)}, not {tuple(value.shape)}"
                raise UsageError(f"the weights do not fit network {name!r}: {key} is {shapes}.")


def _fitting(options: Mapping[str, Any], dataset: type[Dataset[Any]]) -> dict[str, Any]:
    """`options` without those of the data that `dataset` does not have."""
    known = dataset.Config.model_fields
    return {
        name: value for name, value in options.items() if not name.startswith("data.") or name.split(".")[1] in known
    }


def _new(session: Session, found: Foreign) -> Iterator[str]:
    """What is said of networks that no file had."""
    new = [
        name
        for name, network in session.networks.items()
        if name not in found.weights and any(p.requires_grad for p in network.parameters())
    ]
    if new:
        yield f"The files have no {' and no '.join(new)}: new ones, which have learnt nothing."


def _described(paths: Sequence[Path]) -> Iterator[dict[str, str]]:
    """Of each file its name and its digest. Not where it was: runs are shared."""
    for path in paths:
        yield {"name": path.name, "sha256": digest(path)}


def _write(session: Session, ready: Ready | None, imported: Mapping[str, Any], source: DataSource, out: Path) -> RunDir:
    resolved: Resolved = session.resolved
    config = resolved.to_toml()
    directory = RunDir.create(out, resolved.variant, resolved.dataset)
    described = environment(session.device, type(session.variant), source.cls) | {"imported": dict(imported)}
    with directory.lock():
        replace_text(directory.path / "environment.json", json.dumps(described, indent=1) + "\n")
        directory.keep_spec(session.spec, fingerprints(ready) if ready else {})
        content = session.checkpoint(0, 0.0, None, ["sample"])
        if ready is None:  # data that config.toml is given later is begun with
            content.state["parts"]["loader"] |= {"streams": {}, "begun": False}
        directory.save(content, resolved.run.keep)
        replace_text(directory.path / "config.toml", config)  # last: with it the directory is a run
    return directory
