"""What help and lists cost beside the smallest program that typer makes.

    python benchmarks/bench_startup.py [--rounds N] [--json FILE]

Each command is a process of its own; they take turns. Seconds are of processor time, the least of all rounds, since
other processes may hold the clock up; a ratio is to the ``--help`` of a typer program of two commands. It grows with
the plugins that are installed, whose metadata is read and which `gankit run --help` lists.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import torch

from gankit.bench import append
from gankit.bench.run import machine

SMALLEST = """
import typer
app = typer.Typer()
@app.command()
def one(name: str = typer.Option("", help="A name.")): ...
@app.command()
def two(): ...
app(["--help"])
"""
OURS = "import sys; from gankit.cli.main import main; sys.exit(main({arguments!r}))"
COMMANDS = ("--help", "run --help", "run stackgan --help", "list")


def seconds(code: str) -> float:
    """Of processor time, in a process of its own that must succeed."""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"exit code {process.returncode} of: {code}")
    return usage.ru_utime + usage.ru_stime


def rows(rounds: int) -> list[dict[str, Any]]:
    codes = [SMALLEST, *(OURS.format(arguments=command.split()) for command in COMMANDS)]
    floor, *best = map(min, zip(*([seconds(code) for code in codes] for _ in range(rounds)), strict=True))
    variants = len(entry_points(group="gankit.plugins.v1"))
    common = {"rounds": rounds, "variants": variants, "floor_seconds": round(floor, 3), **machine(torch.device("cpu"))}
    return [
        {"bench": "startup", "command": f"gankit {command}", "seconds": round(own, 3), "ratio": round(own / floor, 2)}
        | common
        for command, own in zip(COMMANDS, best, strict=True)
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--json", type=Path, help="append the rows to this file")
    options = parser.parse_args()
    for row in rows(options.rounds):
        print(f"{row['command']:<28} {row['seconds']:.3f} s of processor time, {row['ratio']:.2f}x of typer's own")
        append(row, options.json)
