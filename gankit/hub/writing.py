"""A run becomes a directory for the Hugging Face Hub: a card, weights, and what makes a run of them again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_hex
from typing import Any

import tomli_w

from gankit.data.image_files import write_png
from gankit.data.source import DataSource
from gankit.errors import GankitError, UsageError
from gankit.events import OnEvent, ignore
from gankit.export import TOLERANCE, Exported, Job, export
from gankit.files import remove, write_whole
from gankit.hub.card import About, card
from gankit.hub.files import (
    CARD,
    CHECKPOINT,
    CONFIG,
    ENVIRONMENT,
    EVALUATION,
    KNOWN,
    LOG,
    SHEET,
    SPEC,
    WEIGHTS,
    without_places,
)
from gankit.json_file import finite, read_object
from gankit.options.changed import changed
from gankit.options.resolve import HEADER, WHOLE, Resolved
from gankit.runs import checkpoint as checkpoints
from gankit.runs.data_spec import KeptSpec, read_spec, write_spec
from gankit.runs.directory import RunDir
from gankit.runs.log import JUDGED, log_lines
from gankit.sampling.conditions import Rows
from gankit.sampling.samples import Samples

__all__ = ["Shared", "check_directory", "write_directory"]

KEPT = ("gankit", "plugins", "python", "torch", "system", "device", "threads", "cpu_capability", "processes")
KEPT_OF_CUDA = ("cuda", "gpu", "compute_capability", "cudnn")
"""What of a run's environment is told: not where the runs lie that it began with."""


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What of a run is shared, and what is said of it."""

    run: RunDir
    checkpoint: str
    resolved: Resolved
    source: DataSource
    job: Job
    """How it draws, with all its networks, averaged ones where there are averages."""
    rows: Rows
    draw: Callable[[], Samples]
    """The samples of the picture."""
    license: str = "unknown"
    datasets: Sequence[str] = ()
    training: bool = False
    """Whether what resuming bit for bit needs is written too."""


def check_directory(out: Path, *, overwrite: bool) -> None:
    """:class:`UsageError` where :func:`write_directory` could not write: to be told before anything is drawn."""
    if os.path.lexists(out):
        if not out.is_dir():
            raise UsageError(f"{out} exists already and is no directory. Give another name.")
        if not overwrite and any(out.iterdir()):
            raise UsageError(f"{out} is not empty. Give another name, or --overwrite.")
    elif not out.absolute().parent.is_dir():
        raise UsageError(f"there is no directory {out.parent}.")


def write_directory(
    shared: Shared, out: Path, *, tolerance: float = TOLERANCE, overwrite: bool = False, tell: OnEvent = ignore
) -> Exported:
    """Writes the directory `out`, and how its weights, loaded again, compare with the run's.

    With `overwrite` the files that are written take the place of those that are there, and files that an earlier call
    wrote are removed; whatever else stands there (``.git``) stays. Else `out` is new, and there once it is whole.
    """
    check_directory(out, overwrite=overwrite)
    try:
        with _gathered(out) as beside:
            return _write_all(shared, beside, out.absolute().name, tolerance, tell)
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror or error}. Give another name.") from error


def _write_all(shared: Shared, folder: Path, name: str, tolerance: float, tell: OnEvent) -> Exported:
    run, resolved, job = shared.run, shared.resolved, shared.job
    state = run.state(shared.checkpoint)
    options = without_places(job.variant.config.model_dump(mode="json"))
    facts = {"variant": resolved.variant, "dataset": resolved.dataset, "checkpoint": shared.checkpoint}
    job.used.update(job.networks)  # discriminators too: a training goes on from them
    made = export(
        job, folder / WEIGHTS, shared.rows, {**facts, "step": state["step"], "options": options},
        tolerance=tolerance, tell=tell,
    )  # fmt: skip
    names = {"variant": resolved.variant, "dataset": resolved.dataset, "preset": resolved.preset, WHOLE: True}
    _write_text(folder / CONFIG, HEADER + tomli_w.dumps(names | without_places(resolved.to_dict())))
    kept = read_spec(run.path / "spec.json")
    write_spec(folder / SPEC, kept or KeptSpec(job.spec, {}))
    environment = _read(run.path / "environment.json")
    told = {fact: environment[fact] for fact in (*KEPT, *KEPT_OF_CUDA) if fact in environment}
    _write_text(folder / ENVIRONMENT, json.dumps(told, indent=1) + "\n")
    evaluation = _plain(_read(run.path / "evaluation.json"), run)
    if evaluation:
        _write_text(folder / EVALUATION, json.dumps(finite(evaluation), indent=1) + "\n")
    of_another: dict[str, Any] = {"notes": []} if evaluation.get("step", state["step"]) != state["step"] else {}
    metrics = _write_log(run.path / LOG, folder / LOG, state["step"])
    measured = [evaluation | of_another | {"metrics": metrics}]
    judged = [row for row in log_lines(run.path / JUDGED) if row and row.get("checkpoint") == shared.checkpoint]
    if judged := [_plain(row, run) for row in judged if isinstance(row.get("metrics"), dict)]:
        _write_text(folder / JUDGED, _lines(judged))
    measured += judged
    if shared.training:
        whole = run.load(shared.checkpoint)
        config = {"config": without_places(whole.state.get("config", {}))}
        checkpoints.write(folder / CHECKPOINT, replace(whole, state=whole.state | config))
    sheet = _write_sheet(shared, folder)
    text = card(_about(shared, name, state, told, measured, sheet, _began(environment)))
    _write_text(folder / CARD, text)
    return made


def _about(
    shared: Shared,
    name: str,
    state: Mapping[str, Any],
    environment: Mapping[str, Any],
    measured: Sequence[Mapping[str, Any]],
    sheet: str,
    began: str,
) -> About:
    job, resolved = shared.job, shared.resolved
    variant, dataset = type(job.variant), shared.source.cls
    plain = without_places({name: one.value for name, one in changed(resolved, variant, dataset).items()})
    try:
        images = max(shared.source.open(resolved.data, "train").streams().values())
    except (GankitError, OSError):  # the data is gone
        images = None
    return About(
        name=name,
        resolved=resolved,
        spec=job.spec,
        asks=job.keys,
        produces=job.produces,
        stages=variant.stages,
        parameters={name: sum(p.numel() for p in network.parameters()) for name, network in job.networks.items()},
        step=state["step"],
        seconds=state["seconds"],
        of_variant=_summary(variant),
        of_data=_summary(dataset),
        images=images,
        changes=plain,
        environment=environment,
        measured=[one for one in measured if one["metrics"]],
        license=shared.license,
        datasets=shared.datasets,
        sheet=sheet,
        training=shared.training,
        began=began,
    )


def _summary(cls: type) -> str:
    """What a plugin says of its variant or of its dataset, in a line."""
    return (cls.__doc__ or "").strip().partition("\n")[0] or cls.__name__


def _began(environment: Mapping[str, Any]) -> str:
    """What a run says of weights that were there before it."""
    if isinstance(environment.get("imported"), Mapping):
        return f"It began with weights of another program ({environment['imported'].get('format', '?')})."
    if "init" in environment:
        return "It began with the weights of another run."
    return "It builds on an earlier stage, whose weights are in here." if "previous_stage" in environment else ""


def _write_sheet(shared: Shared, folder: Path) -> str:
    """The picture of the card: samples, or a figure of theirs; "" if there is none to be had."""
    try:
        samples = shared.draw()
    except (GankitError, OSError):  # what it is asked with came from data that is gone
        return ""
    if samples.are_images:
        write_png(folder / SHEET, samples.page())
    elif samples.figures:
        write_png(folder / SHEET, next(iter(samples.figures.values())))
    else:
        return ""
    return SHEET


def _write_log(log: Path, out: Path, step: int) -> dict[str, Any]:
    """Writes the rows up to `step`, since what comes later is of other weights; the metrics of that step."""
    rows = [row for row in log_lines(log) if row is not None and isinstance(row.get("step"), int)]
    rows = [row for row in rows if row["step"] <= step]
    if rows:
        _write_text(out, _lines(rows))
    found = [row["metrics"] for row in rows if row["step"] == step and isinstance(row.get("metrics"), dict)]
    return found[-1] if found else {}


def _lines(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(finite(row)) + "\n" for row in rows)


def _plain(found: Mapping[str, Any], run: RunDir) -> dict[str, Any]:
    """An evaluation without the places of files, of which a note may name one that could not be written."""
    plain: dict[str, Any] = without_places(found)
    if isinstance(notes := plain.get("notes"), list):
        plain["notes"] = [note for note in notes if str(run.path) not in str(note)]
    return plain


def _read(path: Path) -> dict[str, Any]:
    """A file of facts about a run, of which none has to be there."""
    return read_object(path, "remove it, and nothing of it is told") if path.exists() else {}


def _write_text(path: Path, text: str) -> None:
    write_whole(path, text.encode("utf-8"))


@contextmanager
def _gathered(out: Path) -> Iterator[Path]:
    """A folder beside `out` whose files are moved into it at the end of the block. If that fails, nothing is left."""
    beside = out.absolute().with_name(f".tmp-{token_hex(6)}")
    beside.mkdir()
    try:
        yield beside
        if not os.path.lexists(out):
            os.rename(beside, out)
            return
        for name in KNOWN:  # files of an earlier call; a folder of another's that has such a name stays
            with suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError):
                if not (beside / name).exists():
                    (out / name).unlink()
        for path in sorted(beside.rglob("*")):
            if path.is_file():
                place = out / path.relative_to(beside)
                place.parent.mkdir(exist_ok=True)
                os.replace(path, place)
        with suppress(OSError):
            (out / CHECKPOINT).rmdir()
    finally:
        remove(beside)
