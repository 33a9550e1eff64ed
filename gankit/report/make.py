"""Making the report of a run, or of several side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from gankit.errors import UsageError
from gankit.files import write_whole
from gankit.plugin import Dataset, Variant
from gankit.report.facts import Facts, gather
from gankit.report.page import page
from gankit.report.pictures import embed
from gankit.runs.directory import RunDir

NAME = "report.html"
"""What the report is called that a run writes at its end."""
MOST = 16
"""Most runs of a report: the curves of more could not be told from one another."""


@dataclass(frozen=True)
class Report:
    """A report that was written."""

    path: Path
    runs: Sequence[Path]
    """The directories of the runs that it is about."""
    problems: Sequence[str]
    """What of them could not be shown, a line each."""


def make_report(
    runs: Sequence[str | Path],
    out: str | Path | None = None,
    *,
    overwrite: bool = False,
) -> Report:
    """Write one HTML file about `runs`, each a run's directory or one of runs, of which the latest counts.

    `out` is the file; by default a new one, ``report.html`` if there is none, else ``report-0001.html``, ...: of one
    run in its directory, of several in the current one. With `overwrite` it replaces what is there. What is missing or
    damaged in a run is said in the page, and in the result. :class:`UsageError` if there is no run at a path, or the
    file cannot be written.
    """
    opened = {(run := RunDir.open(path)).path.resolve(): run for path in runs}  # each once
    if not 1 <= len(opened) <= MOST:
        raise UsageError(f"{len(opened)} runs: a report is about 1 to {MOST} of them.")
    directories = list(opened.values())
    place = _place(directories[0].path if len(directories) == 1 else Path(), out, overwrite=overwrite)
    found = [gather(directory) for directory in directories]
    for facts, name in zip(found, _names([path.parts for path in opened]), strict=True):
        facts.name = name
    return _write(found, place, overwrite=overwrite)


def report_of(
    directory: RunDir,
    variant: type[Variant[Any]],
    dataset: type[Dataset[Any]],
    out: str | Path | None = None,
    *,
    overwrite: bool = False,
    training: bool = False,
) -> Report:
    """As :func:`make_report`, of one run of classes that need not be installed as plugins.

    `training`: it is this process that trains it.
    """
    place = _place(directory.path, out, overwrite=overwrite)
    return _write([gather(directory, variant, dataset, training=training)], place, overwrite=overwrite)


def _names(paths: Sequence[Sequence[str]]) -> list[str]:
    """The last parts of different `paths`, as few as tell them apart, but with the numbers of runs what they are of."""
    longest = max(len(parts) for parts in paths)
    alike = len({tuple(parts[:-1]) for parts in paths}) == 1
    for number in range(1 if alike else 2, longest + 1):
        names = ["/".join(parts[-number:]) for parts in paths]
        if len(set(names)) == len(names):
            return names
    return ["/".join(parts) for parts in paths]


def _place(home: Path, out: str | Path | None, *, overwrite: bool) -> Path:
    """Where a report is written; :class:`UsageError`, before it is made, where it could not be."""
    if out is None:
        if overwrite or not (home / NAME).exists():
            return home / NAME
        return next(path for i in count(1) if not (path := home / f"report-{i:04d}.html").exists())
    place = Path(out).expanduser()
    if place.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{place}: a report is an HTML file. Give {place.with_suffix('.html')}.")
    if place.exists() and not overwrite:
        raise UsageError(f"{place} exists already. Give another --out, or --overwrite.")
    return place


def _write(runs: Sequence[Facts], place: Path, *, overwrite: bool) -> Report:
    embed([picture for run in runs for picture in run.pictures])
    for run in runs:
        run.problems += [picture.problem for picture in run.pictures if picture.problem]
    try:
        write_whole(place, page(runs).encode("utf-8", "replace"), overwrite=overwrite)
    except OSError as error:
        raise UsageError(f"cannot write to {place}: {error.strerror or error}. Give another --out.") from error
    told = [problem if len(runs) == 1 else f"{run.name}: {problem}" for run in runs for problem in run.problems]
    return Report(place, [run.path for run in runs], told)


__all__ = ["NAME", "Report", "make_report", "report_of"]
