"""Curves as they are drawn: nothing that matters is lost, whatever the numbers are."""

from __future__ import annotations

import math
import re

import pytest

from gankit.report.chart import HIGH, LEFT, POINTS, RIGHT, WIDE, Level, Line, chart, thinned
from gankit.report.log import Curve
from gankit.report.scale import number, scale


def curve(values, start=1):
    made = Curve()
    for step, value in enumerate(values, start):
        made.add(step, value)
    return made


def places(svg, kind="path"):
    """The coordinates in an SVG's lines: each (x, y)."""
    found = re.search(rf'<{kind} class="line[^"]*" d="([^"]*)"', str(svg))
    return [tuple(map(float, pair.split())) for pair in re.split("[ML]", found[1]) if pair] if found else []


def test_of_many_points_the_extremes_stay():
    values = [math.sin(i / 50) for i in range(20_000)]
    values[12_345], values[678] = 40.0, -30.0
    points = thinned(curve(values))
    assert len(points) <= POINTS
    assert (12_346, 40.0) in points
    assert (679, -30.0) in points
    assert points == sorted(points)


def test_what_is_not_finite_is_a_gap():
    made = chart("a", [Line("a", curve([1.0, 2.0, None, 3.0, math.inf, 4.0, 5.0]), 0)])
    path = re.search(r' d="([^"]*)"', str(made.svg))[1]
    assert path.count("M") == 2
    assert str(made.svg).count("<circle") == 1  # the value that stands alone
    assert made.notes == ["2 values not finite"]
    long = chart("a", [Line("a", curve([math.nan if 4000 < i < 5000 else 1.0 for i in range(9000)]), 0)])
    assert re.search(r' d="([^"]*)"', str(long.svg))[1].count("M") == 2


@pytest.mark.parametrize(
    "values",
    [
        [],
        [0.5],
        [0.0, 0.0],
        [-3.0] * 40,
        [math.nan],
        [1e300, -1e308, 1e308, 1e99, -1e99],
        [1e-320, 2e-320, 1e-99],
        [7, 1e6, 3],
    ],
)
def test_odd_curves_are_drawn_within_the_frame(values):
    made = chart("odd", [Line("a", curve(values), 0)], [Level("real", 0.25)])
    text = str(made.svg)
    assert "nan" not in text
    assert "inf" not in text
    numbers = [float(value) for value in re.findall(r' (?:x1|x2|cx)="([^"]*)"', text)]
    assert all(0 <= value <= WIDE for value in numbers)
    assert all(LEFT <= x <= WIDE - RIGHT and 0 <= y <= HIGH for x, y in places(made.svg))
    assert len(made.rows) == 1


def test_a_level_that_curves_are_held_to_is_always_in_sight():
    made = chart("fid", [Line("a", curve([50.0, 40.0, 30.0]), 0)], [Level("real images", 2.0)])
    (y,) = re.findall(r'class="level" x1="[^"]*" x2="[^"]*" y1="([^"]*)"', str(made.svg))
    assert max(y for _, y in places(made.svg)) < float(y) < HIGH


def test_one_peak_does_not_flatten_the_rest():
    values = [900.0, *(1 + math.sin(i) / 10 for i in range(200)), -2.0]
    made = chart("peak", [Line("a", curve(values), 0)])
    heights = [y for _, y in places(made.svg)][5:-5]
    assert max(heights) - min(heights) > HIGH / 4
    assert made.notes[0].endswith("is cut off (up to 900)")
    assert made.rows[0].largest == "900 at step 1"


def test_values_of_many_magnitudes_are_on_a_logarithmic_axis():
    wide = scale([10.0**-i for i in range(6)])
    assert wide.logarithmic
    assert [wide.place(10.0**-i) for i in range(6)] == sorted((wide.place(10.0**-i) for i in range(6)), reverse=True)
    assert all(wide.low <= tick <= wide.high for tick in wide.ticks())
    assert not scale([-1.0, 1000.0, 0.001]).logarithmic


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (-3.7, 12), (0.7, 0.71), (1e-9, 2e-9), (1e6, 5e6), (0.5, 60), (1, 1e9)]
)
def test_ticks_are_few_and_within(low, high):
    for made in (scale([low, high]), scale([low] * 9 + [high]) if low > 0 else scale([low, high])):
        ticks = made.ticks()
        assert 2 <= len(ticks) <= 9
        assert all(made.low <= tick <= made.high * (1 + 1e-9) for tick in ticks)
        assert len({number(tick) for tick in ticks}) == len(ticks)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1234.0, "1,234"),
        (-0.5, "−0.5"),
        (0.123456, "0.1235"),
        (1e-6, "1e−6"),
        (2.5e12, "2.5e12"),
        (math.nan, "not finite"),
    ],
)
def test_numbers_are_short(value, text):
    assert number(value) == text
