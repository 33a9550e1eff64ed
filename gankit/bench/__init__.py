"""Benchmarks: the core that `gankit bench` and the suites under `benchmarks/` share."""

from gankit.bench.cases import Case, op_cases
from gankit.bench.run import bench_ops, measure
from gankit.bench.table import print_ops

__all__ = ["Case", "bench_ops", "measure", "op_cases", "print_ops"]
