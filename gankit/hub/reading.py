"""A directory that :func:`~gankit.hub.writing.write_directory` wrote becomes a run again. Nothing in it is executed."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tomli_w
from torch import Tensor

from gankit.data.made_up import MadeUp
from gankit.data.source import DataSource
from gankit.discovery.entry_points import datasets, load_dataset, load_variant, variants
from gankit.errors import GankitError, PluginError, UsageError
from gankit.events import Note, OnEvent
from gankit.export.weights_file import read as read_weights
from gankit.files import replace_text
from gankit.hub.files import CHECKPOINT, CONFIG, ENVIRONMENT, EVALUATION, LOG, SPEC, WEIGHTS, checked, without_places
from gankit.json_file import finite, read_object
from gankit.options.effect import idle
from gankit.options.resolve import Resolved, read_toml, resolve
from gankit.options.schema import flattened
from gankit.options.spelling import give
from gankit.plugin import Dataset, Variant
from gankit.runs import checkpoint as checkpoints
from gankit.runs.checkpoint import Checkpoint
from gankit.runs.data_spec import KeptSpec, read_spec, write_spec
from gankit.runs.directory import RunDir
from gankit.runs.foreign_file import digest
from gankit.runs.log import JUDGED, log_lines
from gankit.training.importing import Imported, check_shapes
from gankit.training.leading import TrainedRun
from gankit.training.networks import by_network
from gankit.training.session import Session, check_owner

__all__ = ["read_directory"]

FEW = 4
"""Made-up samples that stand in for the data."""
MOST = 1 << 26
"""Values of a sample: a size that was damaged must not fill the memory."""
_PLUGIN = re.compile(r"gankit-plugin-[a-z0-9][a-z0-9-]{0,60}")


def read_directory(
    folder: Path, out: Path, options: Mapping[str, Any], tell: OnEvent, *, said: str = "", links: bool = False
) -> Imported:
    """The run that `folder` holds, as a new one under `out`: it draws the same samples, and training can go on.

    `options` by dotted name are laid over its own: where its data lies here, more steps. `said`: where it came from, if
    not from there; `links`: see :func:`~gankit.hub.files.checked`. :class:`UsageError` if a file is missing, damaged or
    not what a run holds, before anything is written; :class:`PluginError` if its plugin is not installed.
    """
    files = checked(folder, links=links)
    facts, tensors = read_weights(files[WEIGHTS])
    variant, source, resolved = _resolved(folder, files, facts, options)
    kept = _spec(files[SPEC])
    made = variant(resolved.options)
    whole = checkpoints.read(folder / CHECKPOINT) if f"{CHECKPOINT}/state.json" in files else None
    tensors = {**whole.tensors["weights"], **whole.tensors.get("ema", {})} if whole else tensors
    try:
        check_shapes(made, kept.spec, by_network(tensors), whole=True)
        session = Session(made, MadeUp(kept.spec, FEW), resolved)
    except UsageError as error:
        raise UsageError(f"{folder}: {error}") from error
    try:
        content = _restored(session, whole) if whole else _begun(session, folder, facts, tensors)
        tell(Note(text=_told(content, resolved, whole=whole is not None)))
        file = {"name": WEIGHTS, "sha256": digest(files[WEIGHTS])}
        imported = {"format": "gankit", "from": said or folder.absolute().name, "files": [file]}
        directory = _write(content, resolved, kept, files, imported, out)
    finally:
        session.close()
    return Imported(TrainedRun(directory, resolved), variant, source)


def _resolved(
    folder: Path, files: Mapping[str, Path], facts: Mapping[str, Any], options: Mapping[str, Any]
) -> tuple[type[Variant[Any]], DataSource, Resolved]:
    """The variant, the dataset and the options that the directory is of."""
    content = read_toml(files[CONFIG])
    names = {kind: content.get(kind) for kind in ("variant", "dataset")}
    for kind, installed in (("variant", variants()), ("dataset", datasets())):
        name = names[kind]
        if not isinstance(name, str):
            raise UsageError(f"{files[CONFIG]} does not say `{kind}`: it is no run's, or was damaged.")
        if name not in installed:
            raise PluginError(_lacking(folder, kind, name, files))
    if facts["variant"] != names["variant"]:
        raise UsageError(
            f"{files[WEIGHTS]} is of {facts['variant']!r:.60}, and {files[CONFIG]} of {names['variant']!r:.60}."
        )
    variant, dataset = load_variant(str(names["variant"])), load_dataset(str(names["dataset"]))
    resolved = _of_config(variant, dataset, files[CONFIG], content, options)
    places = [name for name in _places(resolved.to_dict()) if name not in options]
    for name in places:
        if not name.startswith("data."):  # that is read, and here is another file of such a name, if any
            raise UsageError(f"{files[CONFIG]}: {name} names a file of another machine. Give it: {give(name, 'FILE')}")
        del content["data"][name.removeprefix("data.")]  # where the data lies here is for the user to say
    if places:
        resolved = _of_config(variant, dataset, files[CONFIG], content, options)
    given = set(options)
    if no_effect := {**idle(resolved.run, given), **idle(resolved.options, given)}:
        raise UsageError(next(iter(no_effect.values())))
    return variant, DataSource(dataset), resolved


def _of_config(
    variant: type[Variant[Any]],
    dataset: type[Dataset[Any]],
    path: Path,
    content: Mapping[str, Any],
    options: Mapping[str, Any],
) -> Resolved:
    """The options that `path` holds as `content`, and those given laid over them."""
    names: Any = {kind: content[kind] for kind in ("variant", "dataset")}
    with TemporaryDirectory(prefix="gankit-") as place:
        plain = Path(place) / CONFIG
        plain.write_text(tomli_w.dumps(without_places(content)), encoding="utf-8")
        given = {"device": "auto", **options}  # which one it was is another machine's affair
        try:
            return resolve(variant, dataset, **names, file=plain, options=given)
        except UsageError as error:
            raise UsageError(str(error).replace(str(plain), str(path))) from error


def _places(options: Mapping[str, Any]) -> Iterator[str]:
    """The options that have become paths, by dotted name: what is read makes them whole."""
    for name, value in flattened(options):
        if isinstance(value, str) and Path(value).is_absolute():
            yield name


def _lacking(folder: Path, kind: str, name: str, files: Mapping[str, Path]) -> str:
    """Which package is to be installed, as far as the directory says it in a name that a plugin of gankit can have."""
    text = f"{folder} is of the {kind} {name!r:.60}, which no installed plugin brings"
    said = _facts(files, ENVIRONMENT).get("plugins")
    names = [one for one in said if _PLUGIN.fullmatch(one)] if isinstance(said, dict) else []
    if not names:
        return f"{text}, and it does not say which does."
    return f"{text}\ntry: pip install {' '.join(names)}  (so it says itself: a plugin is a program, look at it first)"


def _spec(path: Path) -> KeptSpec:
    kept = read_spec(path)
    assert kept is not None  # it was seen to be there
    for name, key in kept.spec.keys.items():
        if math.prod(key.shape) > MOST:
            raise UsageError(f"{path}: {name!r:.60} would have {math.prod(key.shape):,} values a sample.")
    return kept


def _begun(session: Session, folder: Path, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Checkpoint:
    """A checkpoint of the networks that were shared, with optimisers that have done nothing yet."""
    step = facts.get("step")
    if not isinstance(step, int) or isinstance(step, bool) or not 0 <= step < 2**53:
        raise UsageError(f"{folder / WEIGHTS} does not say at which step it is: its header has {step!r:.60}.")
    _take(session, folder / WEIGHTS, tensors, step)
    content = session.checkpoint(step, 0.0, None)
    content.state["parts"]["loader"] |= {"streams": {}, "begun": False}
    return content


def _take(session: Session, path: Path, tensors: Mapping[str, Tensor], step: int) -> None:
    try:
        session.take(tensors, step)
    except (UsageError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from error


def _restored(session: Session, whole: Checkpoint) -> Checkpoint:
    """The checkpoint itself, once it was seen to fit."""
    check_owner(whole, session.resolved)
    _take(session, whole.folder or Path(), whole.tensors["weights"], whole.step)
    for name in ("ema", "optimizers"):
        if name in session.parts:
            session.restore_part(name, whole)
    return replace(whole, folder=None)


def _told(content: Checkpoint, resolved: Resolved, *, whole: bool) -> str:
    at = f"It stands at step {content.step} of {resolved.run.steps}"
    if whole:
        return f"{at}, with all that gankit resume needs."
    return f"{at}. Optimisers were not shared: where training goes on, they begin anew."


def _write(
    content: Checkpoint,
    resolved: Resolved,
    kept: KeptSpec,
    files: Mapping[str, Path],
    imported: Mapping[str, Any],
    out: Path,
) -> RunDir:
    environment, evaluation = _facts(files, ENVIRONMENT), _facts(files, EVALUATION)
    described = {name: value for name, value in environment.items() if _plain(value)} | {"imported": dict(imported)}
    config = resolved.to_toml()
    directory = RunDir.create(out, resolved.variant, resolved.dataset)
    with directory.lock():
        replace_text(directory.path / ENVIRONMENT, json.dumps(described, indent=1) + "\n")
        write_spec(directory.path / SPEC, kept)
        if evaluation:
            replace_text(directory.path / EVALUATION, json.dumps(finite(evaluation), indent=1) + "\n")
        for name in {LOG, JUDGED} & files.keys():
            rows = [row for row in log_lines(files[name]) if row is not None]
            replace_text(directory.path / name, "".join(json.dumps(finite(row)) + "\n" for row in rows))
        directory.save(content, resolved.run.keep)
        replace_text(directory.path / CONFIG, config)  # last: with it the directory is a run
    return directory


def _facts(files: Mapping[str, Path], name: str) -> dict[str, Any]:
    """A JSON file that need not be there; :class:`UsageError` if it is damaged."""
    if name not in files:
        return {}
    try:
        return read_object(files[name], "remove it, and nothing of it is told")
    except GankitError as error:
        raise UsageError(str(error)) from error


def _plain(value: object) -> bool:
    """Whether a fact of an environment is what such facts are: a word, a number, versions by name."""
    if isinstance(value, dict):
        return len(value) < 100 and all(isinstance(one, str) and len(one) < 100 for one in value.values())
    return isinstance(value, int) or (isinstance(value, str) and len(value) < 200)
