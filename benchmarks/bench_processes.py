"""What two processes of one thread are worth beside one of two: samples a second of the trainer's step.

    python benchmarks/bench_processes.py VARIANT [--rounds N] [--seconds S] [--processes N] [--json FILE] [-- OPTIONS]

One process with N threads and N processes with one thread each take turns, on the same batch; the ratio is the median
over rounds of neighbours in time (1.1: the processes do a tenth more). Each keeps its networks between its turns, and
waits for its next one without using a core. `loop` is the same losses in a loop written by hand, in the one process.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from gankit.bench import append
from gankit.bench.run import machine
from gankit.bench.step import minimal_loop
from gankit.cli.options import assigned
from gankit.discovery.entry_points import load_dataset, load_variant
from gankit.options.resolve import resolve
from gankit.processes import joined
from gankit.training.session import Session


def work(variant: str, options: dict[str, Any]) -> None:
    """A process that takes `steps` at each line of its input, and says in how many seconds; of several the first."""
    world = joined()
    cls = load_variant(variant)
    dataset = load_dataset(options.pop("dataset", cls.dataset))
    preset = options.pop("preset", None)
    names = {"variant": variant, "dataset": cls.dataset}
    resolved = resolve(cls, dataset, **names, preset=preset, options={"device": "cpu", **options})
    session = Session(cls(resolved.options), dataset(resolved.data, "train"), resolved, world)
    torch.manual_seed(0)
    session.begin()
    ways = {"trainer": session.train_step}
    if world.size == 1:
        ways["loop"] = minimal_loop(session)
    index = 0
    while True:
        asked = ""
        if world.leads:
            asked = sys.stdin.readline()
            world.send({"asked": asked})
        else:
            asked = world.receive()[0]["asked"]
        if not asked:
            return
        way, steps = asked.split()
        begin = time.perf_counter()
        for _ in range(int(steps)):
            ways[way](index)
            index += 1
        session.meter.drain()
        if world.leads:
            print(time.perf_counter() - begin, flush=True)


class Group:
    """Such processes, which work together."""

    def __init__(self, count: int, threads: int, arguments: list[str]) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        command = [sys.executable, __file__, "--work", *arguments]
        if count > 1:
            where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(29500 + os.getpid() % 1000)}
            environment |= {"WORLD_SIZE": str(count), **where}
        self.processes = [
            subprocess.Popen(
                command,
                env={**environment, **({"RANK": str(rank), "LOCAL_RANK": str(rank)} if count > 1 else {})},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for rank in range(count)
        ]

    def seconds(self, way: str, steps: int) -> float:
        first = self.processes[0]
        asks, answers = first.stdin, first.stdout
        assert asks is not None
        assert answers is not None
        asks.write(f"{way} {steps}\n")
        asks.flush()
        line = answers.readline()
        if not line:
            raise SystemExit("a process has failed")
        return float(line)

    def close(self) -> None:
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.close()
        for process in self.processes:
            process.wait(30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variant")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=5.0, help="of a turn")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", type=Path, help="file that the row is appended to")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("options", nargs="*", help="options of the run, as OPTION=VALUE")
    given = parser.parse_args()
    options: dict[str, Any] = dict(assigned(given.options))
    if given.work:
        work(given.variant, options)
        return
    arguments = [given.variant, *given.options]
    number = given.processes
    groups = {"one": Group(1, number, arguments), "many": Group(number, 1, arguments)}
    turns = [("one", "trainer"), ("many", "trainer"), ("one", "loop")]
    steps = 1
    while groups["one"].seconds("trainer", steps) < given.seconds / 2:
        steps *= 2
    for group, way in turns:
        groups[group].seconds(way, 2)
    rounds: list[dict[tuple[str, str], float]] = []
    for index in range(given.rounds):
        order = turns if index % 2 else turns[::-1]
        rounds.append({turn: groups[turn[0]].seconds(turn[1], steps) / steps for turn in order})
        ratio = rounds[-1]["one", "trainer"] / rounds[-1]["many", "trainer"]
        print(f"round {index + 1}: {number} processes {ratio:.3f} times as fast as one", file=sys.stderr)
    for group in groups.values():
        group.close()
    median = {turn: statistics.median(one[turn] for one in rounds) for turn in turns}
    row = {
        "bench": "processes",
        "variant": given.variant,
        "options": options,
        "processes": number,
        "one_ms": round(median["one", "trainer"] * 1e3, 3),
        "many_ms": round(median["many", "trainer"] * 1e3, 3),
        "loop_ms": round(median["one", "loop"] * 1e3, 3),
        "throughput": round(statistics.median(r["one", "trainer"] / r["many", "trainer"] for r in rounds), 4),
        "trainer_to_loop": round(statistics.median(r["one", "trainer"] / r["one", "loop"] for r in rounds), 4),
        "rounds": given.rounds,
        "steps_per_round": steps,
        **machine(torch.device("cpu")),
    }
    print(json.dumps(row, indent=1))
    append(row, given.json)


if __name__ == "__main__":
    main()
