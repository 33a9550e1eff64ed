"""How long `make demo` trains in one checkout beside another: whole processes, taking turns.

    python benchmarks/bench_demo.py PYTHON OTHER_PYTHON [--rounds N] [--json FILE]

Each is the interpreter of an environment that ``make install`` made in its clone. What a step takes is said of either
stage by the run's own log, of the encoders (both together, then that of images alone) by a process that takes many
steps less one that takes one; the preset's own number of steps says the rest. ``ratio``: the first to the second,
a row a round. What is not counted: installing, which is the same, and drawing sheets, of which there is one every
250 or 500 steps. Needs a machine with nothing else to do.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from gankit.bench import append
from gankit.bench.run import machine

LENGTHS = """
import gankit
from gankit_plugin_stackgan.config import PRESETS, StackGANConfig
text, preset = StackGANConfig().text, PRESETS["default"]
print(gankit.__file__)
print(text.steps, text.image_steps, preset["stage1"]["steps"], preset["stage2"]["steps"])
"""
PARTS = {"text": 60, "images": 160, "stage1": 120, "stage2": 80}
"""Steps that are timed of each."""
BATCH = 64


def command(python: str, *arguments: str) -> str:
    """What a process of that environment prints, and of no other: neither the directory nor PYTHONPATH is searched."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([python, "-P", *arguments], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{python}: {done.stderr.strip()[-500:]}")
    return done.stdout


def lengths(python: str) -> tuple[str, dict[str, int]]:
    """Where its gankit lies, and the steps of each part in the default preset."""
    place, printed = command(python, "-c", LENGTHS).splitlines()
    return place, dict(zip(PARTS, map(int, printed.split()), strict=True))


def run(python: str, out: Path, **steps: int) -> float:
    """Seconds of one process that trains stage I, or stage II on one that is there, so many steps of each part."""
    stage = 2 if "stage2" in steps else 1
    options = {"stage": stage, "steps": steps.get(f"stage{stage}", 1), "sample-every": 0, "checkpoint-every": 100_000}
    if stage == 1:
        options |= {"text.steps": steps.get("text", 1), "text.image-steps": steps.get("images", 1)}
    given = [text for name, value in (options | {"log-every": 20}).items() for text in (f"--{name}", str(value))]
    began = time.perf_counter()
    command(python, "-m", "gankit", "run", "stackgan", *given, "--out", str(out))
    return time.perf_counter() - began


def part(python: str, out: Path, name: str) -> float:
    """Seconds a step of part `name`."""
    count = PARTS[name]
    if not name.startswith("stage"):
        return (run(python, out, **{name: 1 + count}) - run(python, out, **{name: 1})) / count
    run(python, out, **{name: count})
    log = max(out.glob("stackgan-captioned-digits/*/log.jsonl"), key=lambda file: file.stat().st_mtime)
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    pace = statistics.median(row["samples_per_second"] for row in rows[1:])  # what is allocated first is slow
    return BATCH / pace


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pythons", nargs=2, metavar="PYTHON")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args(arguments)
    places, wanted = zip(*(lengths(python) for python in asked.pythons), strict=True)
    if places[0] == places[1]:
        raise SystemExit(f"both environments have the gankit of {places[0]}")
    with tempfile.TemporaryDirectory() as folder:
        outs = [Path(folder, str(number)) for number in range(2)]
        os.environ["GANKIT_CACHE"] = str(Path(folder, "cache"))
        for python, out in zip(asked.pythons, outs, strict=True):
            run(python, out)  # fills the cache, and leaves a stage I for stage II
        for number in range(asked.rounds):
            steps: list[dict[str, float]] = [{}, {}]
            for name in PARTS:
                for which in (0, 1) if number % 2 else (1, 0):
                    steps[which][name] = part(asked.pythons[which], outs[which], name)
            ours, other = (
                sum(length[name] * one[name] for name in PARTS) for one, length in zip(steps, wanted, strict=True)
            )
            row: dict[str, Any] = {
                "bench": "demo",
                "ratio": ours / other,
                "seconds": [ours, other],
                "lengths": list(wanted),
                "step_ms": [{name: value * 1e3 for name, value in one.items()} for one in steps],
                **machine(torch.device("cpu")),
            }
            append(row, asked.json)
            print(f"ratio {row['ratio']:.3f}: {ours:.0f} and {other:.0f} s of training", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
