"""Which charts a page has: of one run a chart a phase, of several runs a chart a term."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gankit.evaluate.table import better, metric_of
from gankit.report.chart import COLOURS, Chart, Level, Line, chart, heights_of
from gankit.report.facts import Facts
from gankit.report.log import Curve

MOST = 60
"""Most charts of a page, of losses and of metrics each."""
FLAT = 0.02
"""Part of a chart's height below which nothing is to be seen of a line's ups and downs."""


@dataclass
class Group:
    """Charts that belong together, and what is said of them."""

    title: str
    charts: list[Chart] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)
    """Each of what; "" is all of them."""


def losses(runs: Sequence[Facts]) -> tuple[list[Group], int]:
    """The charts of loss terms by phase, and the number of curves that there is no room for."""
    names = _names(run.log.terms for run in runs)
    phases: dict[str, list[str]] = {}
    for name in names:
        phases.setdefault(name.partition("/")[0], []).append(name)
    groups, room, left = [], MOST, 0
    for phase, terms in phases.items():
        group = Group(phase, texts=expected(runs, phase))
        for some in _together(runs[0], terms) if len(runs) == 1 else [[term] for term in terms]:
            if not room:
                left += len(some)
                continue
            room -= 1
            group.charts.append(_of_terms(runs, phase, some))
        groups.append(group)
    return [group for group in groups if group.charts], left


def metrics(runs: Sequence[Facts]) -> tuple[Group, int]:
    """A chart a metric, with the figure of held-out real images."""
    names = _names(run.log.metrics for run in runs)
    group = Group("metrics")
    for name in names[:MOST]:
        lines = [
            Line(_called(runs, run, name), run.log.metrics[name], i)
            for i, run in enumerate(runs)
            if name in run.log.metrics
        ]
        floors = _floors(runs, name)
        made = chart(name, lines, floors, runs[0].best_step if len(runs) == 1 else None)
        made.texts = [*(("", text) for text in _direction(runs, name)), *expected(runs, name)]
        group.charts.append(made)
    return group, max(0, len(names) - MOST)


def _floors(runs: Sequence[Facts], name: str) -> list[Level]:
    """What real images come to, each value once: the runs that it is of are named, unless it is of all."""
    found: dict[float, list[int]] = {}
    for index, run in enumerate(runs):
        if name in run.floor:
            found.setdefault(run.floor[name], []).append(index)
    if len(found) == 1:
        return [Level("real images", value) for value in found]
    return [
        Level(f"real images, {', '.join(runs[index].name for index in of)}", value, of[0] if len(of) == 1 else None)
        for value, of in found.items()
    ]


def paces(runs: Sequence[Facts]) -> Group:
    """Learning rates, and speed."""
    group = Group("pace")
    names = _names(run.log.rates for run in runs)
    if len(runs) == 1:
        lines = [
            Line(", ".join(same), runs[0].log.rates[same[0]], i) for i, same in enumerate(_alike(runs[0].log.rates))
        ]
        for start in range(0, min(len(lines), 4 * COLOURS), COLOURS):
            group.charts.append(chart("learning rate", lines[start : start + COLOURS]))
    else:
        for name in names[: MOST // 4]:
            found = [Line(run.name, run.log.rates[name], i) for i, run in enumerate(runs) if name in run.log.rates]
            group.charts.append(chart(f"learning rate, {name}", found))
    speeds = [
        Line(_called(runs, run, "samples/s"), run.log.speed, i) for i, run in enumerate(runs) if len(run.log.speed)
    ]
    if speeds:
        group.charts.append(chart("samples a second", speeds))
    return group


def _of_terms(runs: Sequence[Facts], phase: str, names: Sequence[str]) -> Chart:
    """A chart of terms of one run, or of one term of several."""
    if len(runs) == 1:
        lines = [Line(name.partition("/")[2], runs[0].log.terms[name], i) for i, name in enumerate(names)]
    else:
        lines = [Line(run.name, run.log.terms[names[0]], i) for i, run in enumerate(runs) if names[0] in run.log.terms]
    made = chart(names[0] if len(names) == 1 else phase, lines)
    if len(runs) > 1:
        made.texts = expected(runs, names[0])
        return made
    told: dict[str, list[str]] = {}
    for name in names:
        for _, text in expected(runs, name):
            told.setdefault(text, []).append(name.partition("/")[2])
    made.texts = [("" if len(names) == 1 else ", ".join(of), text) for text, of in told.items()]
    return made


def _together(run: Facts, names: Sequence[str]) -> list[list[str]]:
    """`names` of terms of one phase in groups that can be drawn in one chart: no line is flat beside another."""
    groups: list[list[str]] = []
    for start in range(0, len(names), COLOURS):
        left = list(names[start : start + COLOURS])
        while left:
            heights = heights_of([run.log.terms[name] for name in left])
            flat = [name for name, height in zip(left, heights, strict=True) if 0 < height < FLAT]
            flat = flat if len(flat) < len(left) else left[1:]  # all are far from each other: one by one
            groups.append([name for name in left if name not in flat])
            left = flat
    return groups


def expected(runs: Sequence[Facts], name: str) -> list[tuple[str, str]]:
    """What the variants of `runs` say of `name`, each text once, after the names of the runs that it is of: "" if it is
    of all that say something, or there is one run."""
    found: dict[str, list[str]] = {}
    for run in runs:
        if text := run.expected.get(name):
            found.setdefault(text, []).append(run.name)
    alike = len(found) == 1 and len({run.variant for run in runs}) == 1
    return [("" if alike else ", ".join(names), text) for text, names in found.items()]


def _direction(runs: Sequence[Facts], name: str) -> list[str]:
    """How a metric is measured, and which values are better."""
    way = better(name, runs[0].own_metrics)
    meaning = next((m for run in runs if (m := run.meanings.get(metric_of(name) or name))), "")
    told = [f"{meaning[:1].upper()}{meaning[1:]}."] if meaning else []
    return told + ([f"{way.capitalize()} is better."] if way and not meaning.endswith("better") else [])


def _alike(curves: Mapping[str, Curve]) -> list[list[str]]:
    """The names of curves, those together that would lie on one another."""
    found: dict[tuple[bytes, bytes], list[str]] = {}
    for name, curve in curves.items():
        found.setdefault((curve.steps.tobytes(), curve.values.tobytes()), []).append(name)
    return list(found.values())


def _called(runs: Sequence[Facts], run: Facts, name: str) -> str:
    return name if len(runs) == 1 else run.name


def _names(of: Iterable[Mapping[str, Curve]]) -> list[str]:
    """All names in order of appearance."""
    return list(dict.fromkeys(name for curves in of for name in curves))


__all__ = ["Group", "expected", "losses", "metrics", "paces"]
