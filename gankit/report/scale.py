"""Axes: which values a chart spans, whether it is logarithmic, where its ticks stand, how numbers are written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

APART = 30.0
"""Largest value over the median from which on an axis of positive values is logarithmic."""
PEAK = 3.0
"""How often the span of 98% of the values may fit beyond them before what lies there is cut off."""
FEW = 20
"""Values from which on any are cut off."""


@dataclass(frozen=True)
class Scale:
    """From values to places: 0 at `low`, 1 at `high`. What is beyond them is drawn at the edge."""

    low: float
    high: float
    logarithmic: bool = False

    def place(self, value: float) -> float:
        value = min(max(value, self.low), self.high)
        if self.logarithmic:
            low, high = math.log(self.low), math.log(self.high)
            return (math.log(value) - low) / (high - low)
        return value / (self.high - self.low) - self.low / (self.high - self.low)

    def ticks(self, about: int = 4) -> list[float]:
        """Round numbers between `low` and `high`."""
        if self.logarithmic:
            return _powers(self.low, self.high, about)
        span = self.high - self.low
        rough = span / about
        power = 10.0 ** math.floor(math.log10(rough))
        unit = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
        first = math.ceil(self.low / unit - 1e-9)
        found = [index * unit for index in range(first, first + 3 * about) if index * unit <= self.high + span * 1e-9]
        return [0.0 if abs(tick) < unit * 1e-9 else tick for tick in found]


def scale(values: Sequence[float], always: Sequence[float] = ()) -> Scale:
    """The axis for `values` that are drawn, and some that it `always` reaches; all as `log.plain` has them."""
    found = sorted([*values, *always])
    if not found:
        return Scale(0.0, 1.0)
    low, high = found[0], found[-1]
    if low > 0 and high / found[len(found) // 2] > APART and high / low > APART:
        low, high = map(math.exp, _trimmed([math.log(value) for value in found]))
        low, high = min([low, *always]), max([high, *always])
        return Scale(low / 1.1, high * 1.1, True)
    low, high = _trimmed(found)
    low, high = min([low, *always]), max([high, *always])
    margin = (high - low) * 0.05 or abs(high) * 0.1 or 1.0
    return Scale(0.0 if 0 <= low < margin else low - margin, high + margin)


def _trimmed(values: Sequence[float]) -> tuple[float, float]:
    """The span of sorted `values` without what lies far from nearly all of them."""
    low, high = values[0], values[-1]
    if len(values) < FEW:
        return low, high
    some = len(values) // 100 + 1
    inner_low, inner_high = values[some], values[-1 - some]
    span = inner_high - inner_low
    if high - inner_high > PEAK * span > 0:
        high = inner_high + span / 2
    if inner_low - low > PEAK * span > 0:
        low = inner_low - span / 2
    return low, high


def _powers(low: float, high: float, about: int) -> list[float]:
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    powers = [10.0**power for power in range(first, last + 1)]
    if len(powers) > about:
        return powers[:: math.ceil(len(powers) / about)]
    if len(powers) >= 3:
        return powers
    between = [factor * 10.0**power for power in range(first - 1, last + 1) for factor in (1, 2, 5)]
    return [value for value in between if low <= value <= high]


def number(value: float) -> str:
    """Four significant digits, with a true minus and thousands apart where it has more."""
    if not math.isfinite(value):
        return "not finite"
    if value == int(value) and abs(value) < 1e7:
        text = f"{int(value):,}"
    elif 1e-3 <= abs(value) < 1e5:
        text = f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    else:
        digits, _, power = f"{value:.2e}".partition("e")
        text = f"{float(digits):g}e{int(power)}"
    return text.replace("-", "−")


__all__ = ["Scale", "number", "scale"]
