"""Going on with a run: from its newest intact checkpoint, as if it had never stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gankit.data.source import DataSource
from gankit.errors import GankitError, UsageError
from gankit.events import Note, OnEvent
from gankit.files import not_regular, replace_text
from gankit.options.resolve import Resolved
from gankit.options.spelling import given_as, in_file
from gankit.plugin import Variant
from gankit.processes import ALONE, World
from gankit.runs.checkpoint import Checkpoint
from gankit.runs.directory import RunDir
from gankit.training.changes import check_continues, config_changes, explained
from gankit.training.ready import Ready, fingerprints, make_ready, tell_notes
from gankit.training.session import check_owner
from gankit.training.stages import earlier_of, read_config, still_inherited
from gankit.training.start import recorded_start
from gankit.training.trainer import Trainer


def resume(
    directory: RunDir,
    variant: type[Variant[Any]],
    source: DataSource,
    steps: int | None,
    tell: OnEvent,
    world: World = ALONE,
) -> Resolved:
    """Train the run in `directory` to its end, or to `steps` in all; its config then.

    It is this process's from before its config is read until it is trained.
    """
    with directory.lock():
        resolved = read_config(directory, variant, source.cls)
        config = directory.path / "config.toml"
        source.check(resolved.data, f"so says {config}. Give the dataset that the run was made with.")
        saved = _newest(directory, resolved, tell)
        edits = config_changes(saved.state.get("config"), resolved) if saved else []
        if steps is not None and steps != resolved.run.steps:
            if saved is not None and steps <= saved.step:
                raise UsageError(f"{directory.path} has {saved.step} steps already; --steps must be more than that.")
            resolved = _with_steps(resolved, steps)
        if saved is not None and saved.step >= resolved.run.steps and not saved.state["owed"]:
            directory.repair(saved)
            tell(Note(text=f"{directory.path} is finished at step {saved.step}. For more: --steps {2 * saved.step}"))
            return resolved
        ready = _ready(directory, variant, source, resolved, saved, edits, tell, world)
        session, earlier, start = ready.session, None, None
        if saved is None:
            start = recorded_start(directory, session.networks)
            earlier = earlier_of(directory, still_inherited(session.variant, start))
        if saved is None:  # else the trainer writes it, once it has restored what is saved
            replace_text(config, resolved.to_toml())
        Trainer(session, directory, ready.test, tell).fit(saved, earlier.weights if earlier else None, start)
        return resolved


def _ready(
    directory: RunDir,
    variant: type[Variant[Any]],
    source: DataSource,
    resolved: Resolved,
    saved: Checkpoint | None,
    edits: Sequence[str],
    tell: OnEvent,
    world: World,
) -> Ready:
    """The training that goes on from `saved`, once it was seen that it can; says what has changed since."""
    config = directory.path / "config.toml"
    changes: list[str] = []
    with explained(config, edits, changes):
        with given_as(in_file(config)):
            ready = make_ready(variant, source, resolved, tell, world)
        prints = fingerprints(ready)
        changes += directory.data_changes(prints)
        directory.keep_spec(ready.session.spec, prints)
        if saved is not None:
            check_continues(ready.session, saved)
    if edits:
        tell(Note(text=f"{config} was edited: {', '.join(edits)}. Going on with that."))
    tell_notes(ready, tell)
    for text in changes:
        tell(Note(text=f"{text} The result will differ from an uninterrupted run's."))
    _check_places(directory.path)
    return ready


def _newest(directory: RunDir, resolved: Resolved, tell: OnEvent) -> Checkpoint | None:
    """The checkpoint to go on from; None if the run was stopped before its first."""
    saved = directory.load_newest(lambda text: tell(Note(text=f"Skipped a damaged checkpoint: {text}")))
    if saved is None and (names := directory.checkpoints()):
        raise GankitError(f"{directory.path}: none of the checkpoints is intact ({', '.join(names)}).")
    if saved is not None:
        check_owner(saved, resolved)
    return saved


def _check_places(path: Path) -> None:
    """:class:`GankitError` if something stands where the training is to write: found now, not after hours."""
    log, samples = path / "log.jsonl", path / "samples"
    try:
        if what := not_regular(log.stat().st_mode):
            raise GankitError(f"{log} is {what}, not a file. Move it away.")
    except FileNotFoundError:
        if log.is_symlink():
            raise GankitError(f"{log} is a link to nowhere. Move it away.") from None
    except OSError as error:
        raise GankitError(f"{log} cannot be read: {error.strerror or error}. Move it away.") from error
    try:
        samples.mkdir(exist_ok=True)
    except OSError:
        raise GankitError(f"{samples} is not a directory. Move it away.") from None


def _with_steps(resolved: Resolved, steps: int) -> Resolved:
    return replace(resolved, run=type(resolved.run)(**{**resolved.run.model_dump(), "steps": steps}))


__all__ = ["resume"]
