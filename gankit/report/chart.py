"""A chart of curves as SVG, in colours that the page's style sheet names, so that it goes with light and dark."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from gankit.report.log import Curve
from gankit.report.scale import Scale, number, scale

WIDE, HIGH = 340, 220
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 10, 30
POINTS = 600
"""Most points of a line: of more the smallest and the largest of every few are drawn."""
COLOURS = 8
"""Colours of lines; after those they come again, dashed."""


@dataclass(frozen=True)
class Line:
    """A curve in a chart."""

    name: str
    curve: Curve
    colour: int
    """Index of its colour, from 0."""

    @property
    def look(self) -> str:
        """The classes that it is drawn with."""
        return f"line c{self.colour % COLOURS}{' dashed' if self.colour // COLOURS % 2 else ''}"


@dataclass(frozen=True)
class Level:
    """A level across a chart: what real images come to."""

    name: str
    value: float
    colour: int | None = None
    """That of the line which it belongs to; None: it has none."""

    @property
    def look(self) -> str:
        return "level" if self.colour is None else f"level c{self.colour % COLOURS}"


@dataclass(frozen=True)
class Row:
    """What the table below a chart says of a line."""

    name: str
    look: str
    last: str
    smallest: str
    largest: str


@dataclass
class Chart:
    """Lines over steps. Made by :func:`chart`."""

    title: str
    svg: Markup
    rows: list[Row]
    notes: list[str] = field(default_factory=list)
    levels: Sequence[Level] = ()
    texts: list[tuple[str, str]] = field(default_factory=list)
    """What is said beside it, each of what; "" is all of it."""


def chart(title: str, lines: Sequence[Line], levels: Sequence[Level] = (), best: float | None = None) -> Chart:
    """A chart of `lines`; values that are not finite are gaps. `best` is a step that is marked."""
    levels = [level for level in levels if math.isfinite(level.value)]
    points = [line.curve.finite for line in lines]
    values = [value for found in points for _, value in found]
    across = scale_of_steps([line.curve for line in lines])
    up = scale(values, [level.value for level in levels])
    notes = ["logarithmic"] if up.logarithmic else []
    if values and max(values) > up.high:
        notes.append(f"what is above {number(up.high)} is cut off (up to {number(max(values))})")
    if values and min(values) < up.low:
        notes.append(f"what is below {number(up.low)} is cut off (down to {number(min(values))})")
    if gaps := sum(len(line.curve) - len(found) for line, found in zip(lines, points, strict=True)):
        notes.append(f"{gaps} value{'s' if gaps > 1 else ''} not finite")
    rows = [_row(line, found) for line, found in zip(lines, points, strict=True)]
    return Chart(title, _svg(title, lines, levels, across, up, rows, best), rows, notes, levels)


def heights_of(curves: Sequence[Curve]) -> list[float]:
    """Which part of the height of a chart each of `curves` takes up in one of all of them; 0 if it is level."""
    points = [[value for _, value in curve.finite] for curve in curves]
    up = scale([value for found in points for value in found])
    return [up.place(max(found)) - up.place(min(found)) if found else 0.0 for found in points]


def scale_of_steps(curves: Sequence[Curve]) -> Scale:
    steps = [step for curve in curves for step in (min(curve.steps, default=0), max(curve.steps, default=0))]
    low, high = min(steps, default=0.0), max(steps, default=1.0)
    if low < 0.2 * high or low == high:
        low = 0.0
    return Scale(low, high) if high > low else Scale(0.0, 1.0)


def _row(line: Line, found: Sequence[tuple[float, float]]) -> Row:
    if not found:
        return Row(line.name, line.look, *["none is finite"] * 3)
    low, high = min(found, key=lambda pair: pair[1]), max(found, key=lambda pair: pair[1])
    at = [f"{number(value)} at step {number(step)}" for step, value in (low, high)]
    last = number(found[-1][1]) if math.isfinite(line.curve.values[-1]) else "not finite"
    return Row(line.name, line.look, last, *at)


def _svg(
    title: str,
    lines: Sequence[Line],
    levels: Sequence[Level],
    across: Scale,
    up: Scale,
    rows: Sequence[Row],
    best: float | None,
) -> Markup:
    told = [f"{row.name}: last {row.last}, smallest {row.smallest}, largest {row.largest}" for row in rows]
    told += [f"{level.name}: {number(level.value)}" for level in levels]
    parts = [
        Markup('<svg class="chart" viewBox="0 0 {} {}" role="img">').format(WIDE, HIGH),
        Markup("<title>{}</title><desc>{}</desc>").format(title, "; ".join(told)),
        *_axes(across, up),
    ]
    for level in levels:
        y = _y(up, level.value)
        parts.append(
            Markup('<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(level.look, LEFT, WIDE - RIGHT, y, y)
        )
    if best is not None and across.low <= best <= across.high:
        x = _x(across, best)
        parts.append(Markup('<line class="best" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(x, x, TOP, HIGH - BOTTOM))
    parts += [_path(line, across, up) for line in lines]
    return Markup("").join([*parts, Markup("</svg>")])


def _axes(across: Scale, up: Scale) -> Iterator[Markup]:
    bottom = HIGH - BOTTOM
    for tick in up.ticks(5):
        y = _y(up, tick)
        yield Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(LEFT, WIDE - RIGHT, y, y)
        yield Markup('<text class="tick" x="{}" y="{}" text-anchor="end">{}</text>').format(
            LEFT - 6, round(y + 4.5, 1), number(tick)
        )
    yield Markup('<text class="tick" x="0" y="{}">step</text>').format(bottom + 19)
    for tick in (tick for tick in across.ticks(4) if tick == int(tick)):
        x = _x(across, tick)
        anchor = "end" if x > WIDE - 30 else "middle"
        yield Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(x, x, bottom, bottom + 4)
        yield Markup('<text class="tick" x="{}" y="{}" text-anchor="{}">{}</text>').format(
            min(x + 12, WIDE - 2) if anchor == "end" else x, bottom + 19, anchor, number(tick)
        )
    yield Markup('<line class="axis" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(LEFT, WIDE - RIGHT, bottom, bottom)


def _path(line: Line, across: Scale, up: Scale) -> Markup:
    """The line with its gaps; a value that stands alone is a dot."""
    drawn, dots = [], []
    for piece in _pieces(thinned(line.curve)):
        places = [(_x(across, step), _y(up, value)) for step, value in piece]
        if len(places) == 1:
            dots.append(places[0])
        else:
            drawn.append("M" + "L".join(f"{x:g} {y:g}" for x, y in places))
    found = Markup("").join(
        Markup('<circle class="{}" cx="{}" cy="{}" r="3"/>').format(f"dot c{line.colour % COLOURS}", x, y)
        for x, y in dots
    )
    return Markup('<path class="{}" d="{}"/>').format(line.look, "".join(drawn)) + found if drawn else found


def thinned(curve: Curve) -> list[tuple[float, float]]:
    """Its points in order, NaN among them: all, or of every few the smallest, the largest and one gap."""
    points = list(zip(curve.steps, curve.values, strict=True))
    if len(points) <= POINTS:
        return points
    few = math.ceil(len(points) / (POINTS // 3))
    found: list[tuple[float, float]] = []
    for start in range(0, len(points), few):
        part = points[start : start + few]
        finite = [index for index, (_, value) in enumerate(part) if math.isfinite(value)]
        kept = {min(finite, key=lambda i: part[i][1]), max(finite, key=lambda i: part[i][1])} if finite else set()
        if len(finite) < len(part):
            kept.add(next(index for index, (_, value) in enumerate(part) if not math.isfinite(value)))
        found += [part[index] for index in sorted(kept)]
    return found


def _pieces(points: Sequence[tuple[float, float]]) -> Iterator[list[tuple[float, float]]]:
    piece: list[tuple[float, float]] = []
    for step, value in points:
        if math.isfinite(value):
            piece.append((step, value))
        elif piece:
            yield piece
            piece = []
    if piece:
        yield piece


def _x(across: Scale, step: float) -> float:
    return round(LEFT + across.place(step) * (WIDE - LEFT - RIGHT), 1)


def _y(up: Scale, value: float) -> float:
    return round(HIGH - BOTTOM - up.place(value) * (HIGH - TOP - BOTTOM), 1)


__all__ = ["Chart", "Level", "Line", "Row", "chart", "thinned"]
