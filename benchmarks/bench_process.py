"""What settling the process is worth to a run: malloc's bounds, and how long idle threads spin before they sleep.

    python benchmarks/bench_process.py [--rounds N] [--steps N] [--busy N ...] [--spins N ...] [--json FILE]

Each run is a process of its own, ``gankit run dcgan`` on digits at 64x64; its seconds are those that the run itself
counts. The settings take turns, in an order that is turned about each round, so that a ratio is one of neighbours in
time: seconds with a setting to seconds with none (0.9: a tenth less). ``--busy``: that many other processes, which
each keep a core, once with each number. Needs a machine with nothing else to do.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from gankit.bench import append
from gankit.bench.run import machine
from gankit.cli.process import SPINS

RUN = """
import sys
from gankit.cli import main, process
process.settle(**{setting!r})
sys.exit(main.main({arguments!r}))
"""
NONE: dict[str, Any] = {"malloc": False, "spins": None}
OURS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "GLIBC_TUNABLES")


def settings(spins: Sequence[int]) -> dict[str, dict[str, Any]]:
    """By name: nothing, each part alone, all."""
    alone = {f"spins={count}": {"malloc": False, "spins": count} for count in spins}
    return {"none": NONE, "malloc": {"malloc": True, "spins": None}, **alone, "all": {"malloc": True, "spins": SPINS}}


@contextmanager
def busy(count: int) -> Iterator[None]:
    """While entered, `count` processes each want a core."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def train(setting: dict[str, Any], steps: int) -> dict[str, float]:
    """One run: its seconds, the processor's, and the process's peak memory in MiB."""
    environment = {key: value for key, value in os.environ.items() if key not in OURS and not key.startswith("MALLOC_")}
    with tempfile.TemporaryDirectory() as out:
        arguments = [
            "run",
            "dcgan",
            "--dataset",
            "digits",
            "--preset",
            "paper",
            "--batch-size",
            "16",
            "--device",
            "cpu",
        ]
        arguments += ["--steps", str(steps), "--eval-every", "0", "--sample-n", "4", "--out", out, "--json"]
        code = RUN.format(setting=setting, arguments=arguments)
        process = subprocess.Popen(
            [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdout is not None
        result = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"a run failed with exit code {process.returncode}: {' '.join(arguments)}")
    return {
        "seconds": json.loads(result)["seconds"],
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_mib": usage.ru_maxrss / 1024,
    }


def measure(chosen: dict[str, dict[str, Any]], others: int, rounds: int, steps: int) -> Iterator[dict[str, Any]]:
    """A row a setting, with `others` processes beside the run."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in chosen}
    for number in range(rounds):
        for name in chosen if number % 2 else reversed(chosen):
            with busy(others):
                found[name].append(train(chosen[name], steps))
            print(
                f"busy {others}  round {number + 1}/{rounds}  {name:14} {found[name][-1]['seconds']:.2f} s",
                file=sys.stderr,
            )
    for name, runs in found.items():
        seconds = sorted(run["seconds"] for run in runs)
        ratios = sorted(run["seconds"] / none["seconds"] for run, none in zip(runs, found["none"], strict=True))
        yield {
            "bench": "process",
            "setting": name,
            **chosen[name],
            "busy": others,
            "steps": steps,
            "rounds": rounds,
            **{f"{key}_s": round(value, 3) for key, value in quantiles(seconds).items()},
            "min_s": seconds[0],
            **{f"ratio_{key}": round(value, 4) for key, value in quantiles(ratios).items()},
            "cpu_seconds": round(statistics.median(run["cpu_seconds"] for run in runs), 2),
            "peak_mib": round(max(run["peak_mib"] for run in runs)),
        }


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """Of sorted values."""
    return {
        name: values[round(fraction * (len(values) - 1))]
        for name, fraction in (("median", 0.5), ("p10", 0.1), ("p90", 0.9))
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--busy", type=int, nargs="*", default=[0, 1], help="other processes that want a core")
    parser.add_argument("--spins", type=int, nargs="*", default=[0, 1000, 10_000, 100_000])
    parser.add_argument("--json", type=Path, help="append the rows to this file")
    arguments = parser.parse_args()
    for others in arguments.busy:
        for row in measure(settings(arguments.spins), others, arguments.rounds, arguments.steps):
            print(
                f"busy {others}  {row['setting']:14} {row['median_s']:7.2f} s ({row['p10_s']:.2f}-{row['p90_s']:.2f})  "
                f"ratio {row['ratio_median']:.3f}  processor {row['cpu_seconds']:.1f} s  peak {row['peak_mib']} MiB"
            )
            append({**row, **machine(torch.device("cpu"))}, arguments.json)


if __name__ == "__main__":
    main()
