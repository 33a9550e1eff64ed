"""A variant's step with some options against its step with others, taking turns in one process.

    python benchmarks/bench_options.py VARIANT,... [--than A=B,...] --options A=B,... [--rounds N] [--json FILE]

``ratio`` is the median over rounds of the time with ``--options`` to that with ``--than``, by default none: 0.9 is a
tenth faster. Each takes what comes first every other round. A text encoder is not trained: it takes its time before the
first step. Of a variant with stages it is the first one's step.

    python benchmarks/bench_options.py dcgan,cut --options memory_format=channels_last --than memory_format=contiguous
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from gankit.api import make_session
from gankit.bench import append
from gankit.bench.run import machine
from gankit.training.session import Session

UNTRAINED: dict[str, Any] = {"stackgan": {"text.steps": 1, "text.image_steps": 0}}
UNTRAINED["gawwn"] = UNTRAINED["stackgan"]


def read(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.split(",") if part)


def prepared(variant: str, options: dict[str, str]) -> Session:
    preset = options.get("preset")
    rest: dict[str, Any] = {**UNTRAINED.get(variant, {}), **{k: v for k, v in options.items() if k != "preset"}}
    session = make_session(variant, preset=preset, **rest)
    session.begin()
    return session


def compare(variant: str, options: dict[str, str], than: dict[str, str], rounds: int) -> dict[str, Any]:
    """A row."""
    sessions = {"options": prepared(variant, options), "than": prepared(variant, than)}
    seconds: dict[str, list[float]] = {name: [] for name in sessions}
    for number in range(rounds + 2):
        for name, session in sorted(sessions.items(), reverse=bool(number % 2)):
            began = time.perf_counter()
            session.train_step(number)
            session.meter.drain()  # waits for a GPU
            seconds[name].append(time.perf_counter() - began)
    for session in sessions.values():
        session.close()
    ours, theirs = (seconds[name][2:] for name in ("options", "than"))
    device = sessions["options"].device
    return {
        "bench": "options",
        "variant": variant,
        "options": options,
        "than": than,
        "ratio": statistics.median(a / b for a, b in zip(ours, theirs, strict=True)),
        "ratio_of_best": min(ours) / min(theirs),
        "ms": statistics.median(ours) * 1e3,
        "than_ms": statistics.median(theirs) * 1e3,
        "rounds": rounds,
        **machine(device),
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants")
    parser.add_argument("--options", type=read, required=True)
    parser.add_argument("--than", type=read, default={})
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args(arguments)
    for variant in asked.variants.split(","):
        row = compare(variant, asked.options, asked.than, asked.rounds)
        append(row, asked.json)
        print(
            f"{variant}: {row['ratio']:.3f} (of the best {row['ratio_of_best']:.3f}), {row['than_ms']:.0f} ms",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
