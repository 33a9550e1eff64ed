"""Benchmarks: the core that `gankit bench` and the suites under `benchmarks/` share."""

from gankit.bench.cases import Case, op_cases
from gankit.bench.clock import Clock, EventClock, HostClock
from gankit.bench.plot import check_plot, plot_ops
from gankit.bench.rows import append
from gankit.bench.run import bench_ops, measure
from gankit.bench.table import print_ops

__all__ = [
    "Case",
    "Clock",
    "EventClock",
    "HostClock",
    "append",
    "bench_ops",
    "check_plot",
    "measure",
    "op_cases",
    "plot_ops",
    "print_ops",
]
