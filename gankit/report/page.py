"""The page itself: what its sections hold, put into the template with everything of a run escaped."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from gankit.evaluate.table import better
from gankit.options.schema import flattened
from gankit.report import curves, log
from gankit.report.facts import Facts
from gankit.report.scale import number
from gankit.version import __version__

LONGEST = 400
"""Characters of a value that are shown."""
JUDGED_LAST = 8
"""Columns of what ``gankit eval`` found of a run: the latest."""
MOST = 1000
"""Most rows of a table."""
HOME = Path(__file__).parent


@dataclass(frozen=True)
class Row:
    """A row of a table: a name, and a value for each run."""

    name: str
    values: Sequence[str]
    differs: bool = False


@dataclass(frozen=True)
class Measured:
    """A row of the table of metrics."""

    name: str
    cells: Sequence[str]
    better: str


@dataclass(frozen=True)
class Judged:
    """A table of what ``gankit eval`` found of a run: an evaluation a column."""

    run: str
    heads: Sequence[str]
    rows: Sequence[Row]
    how: Sequence[str]
    left_out: int


def page(runs: Sequence[Facts]) -> str:
    """The HTML of the report of `runs`, whose pictures are embedded."""
    several = len(runs) > 1
    groups, left_out = curves.losses(runs)
    pace = curves.paces(runs)
    metrics, metrics_left_out = curves.metrics(runs)
    style, script = _own("page.css"), _own("page.js")
    sections = {
        "samples": any(run.series or run.numbers for run in runs),
        "curves": bool(groups or pace.charts),
        "metrics": True,
        "neighbours": any(run.neighbours and run.neighbours.uri for run in runs),
        "options": True,
        "command": True,
        "environment": any(run.environment for run in runs),
    }
    return _template().render(
        title=_title(runs),
        version=__version__,
        policy=_policy(style, script),
        style=Markup(style),
        script=Markup(script),
        runs=runs,
        several=several,
        sections=[(anchor, TITLES[anchor]) for anchor, there in sections.items() if there],
        has_samples=sections["samples"],
        has_curves=sections["curves"],
        has_neighbours=sections["neighbours"],
        expectations=curves.expected(runs, ""),
        groups=[*groups, *([pace] if pace.charts else [])],
        left_out=left_out,
        metrics=metrics,
        metrics_left_out=metrics_left_out,
        measured=_measured(runs),
        judged=_judged(runs),
        floors=any(run.floor for run in runs),
        known=all(run.changes is not None for run in runs),
        changed=_changed(runs),
        options=_table([run.options for run in runs], absent=False),
        environment=_table([dict(flattened(run.environment)) for run in runs]),
    )


TITLES = {
    "samples": "Samples",
    "curves": "Curves",
    "metrics": "Metrics",
    "neighbours": "Neighbours",
    "options": "Options",
    "command": "To repeat it",
    "environment": "Environment",
}


def _title(runs: Sequence[Facts]) -> str:
    of = {f"{run.variant} on {run.dataset}" for run in runs}
    names = [run.name for run in runs]
    named = f"run {names[0]}" if len(names) == 1 else f"runs {', '.join(names[:-1])} and {names[-1]}"
    return f"{of.pop()}, {named}" if len(of) == 1 else f"{len(runs)} runs"


@cache
def _template() -> Template:
    made = Environment(
        loader=FileSystemLoader(HOME), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.filters |= {"number": _shown, "duration": _duration, "parts": _parts}
    return made.get_template("page.html")


@cache
def _own(name: str) -> str:
    return (HOME / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """What the page may do: show its own pictures, and run and be styled by what is written here. No more, ever."""
    return (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return "sha256-" + b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _measured(runs: Sequence[Facts]) -> list[Measured]:
    names = list(dict.fromkeys(name for run in runs for name in run.log.metrics))
    return [Measured(name, _cells(runs, name), better(name, runs[0].own_metrics) or "") for name in names[:MOST]]


def _judged(runs: Sequence[Facts]) -> list[Judged]:
    found = []
    for run in runs:
        if not (kept := run.judged[-JUDGED_LAST:]):
            continue
        heads, hows = [], []
        for one in kept:
            drawn = f", {_shown(one['n'])} samples" if one.get("n") else ""
            heads.append(f"{_shown(one.get('checkpoint', '?'))}{drawn}, seed {_shown(one.get('seed', '?'))}")
            protocol = one.get("protocol")
            for kind in ("standard", "lpips"):
                standard = protocol.get(kind) if isinstance(protocol, Mapping) else None
                if isinstance(standard, Mapping):
                    hows.append(", ".join(f"{name} {_shown(value)}" for name, value in flattened(standard)))
        metrics = [{str(name): log.plain(value) for name, value in one["metrics"].items()} for one in kept]
        found.append(Judged(run.name, heads, _table(metrics), list(dict.fromkeys(hows)), len(run.judged) - len(kept)))
    return found


def _cells(runs: Sequence[Facts], name: str) -> list[str]:
    cells = []
    for run in runs:
        curve = run.log.metrics.get(name)
        cells.append(f"{number(curve.values[-1])} (step {number(curve.steps[-1])})" if curve else "")
        if len(runs) == 1 and run.best_step is not None:
            at = dict(zip(curve.steps, curve.values, strict=True)) if curve else {}
            cells.append(number(at[run.best_step]) if run.best_step in at else "")
        if any(one.floor for one in runs):
            cells.append(number(run.floor[name]) if name in run.floor else "")
    return cells


def _changed(runs: Sequence[Facts]) -> list[Row]:
    """The options that differ from a preset: of one run its value and the preset's, of several each one's value."""
    if len(runs) == 1:
        found = runs[0].changes or {}
        return [Row(name, [_shown(one.value), _shown(one.usual)]) for name, one in list(found.items())[:MOST]]
    names = {name for run in runs for name in run.changes or {}}
    every = _table([run.options for run in runs], absent=False)
    return [row for row in every if row.name in names or row.differs]


def _table(of: Sequence[Mapping[str, Any]], *, absent: bool = True) -> list[Row]:
    """A row a name, a value for each of several mappings, and whether they differ; with `absent` also in having it."""
    names = list(dict.fromkeys(name for one in of for name in one))
    rows = []
    for name in names[:MOST]:
        values = [_shown(one[name]) if name in one else "" for one in of]
        there = [value for one, value in zip(of, values, strict=True) if absent or name in one]
        rows.append(Row(name, values, len(set(there)) > 1))
    return rows


def _shown(value: Any) -> str:
    """A value as text."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, int) and abs(value) < 10**18:
        return f"{value:,}"
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _parts(command: str) -> list[str]:
    """A command in parts between which a narrow screen may break it: before its options, and not after a hyphen."""
    return re.split(" (?=--)", command)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60:02d} min"


__all__ = ["page"]
