"""What a variant's default run is worth: trained from several seeds and judged, a JSON row a run.

    python benchmarks/quality.py VARIANT [--seeds 0,1,2] [--n 1000] [--json FILE] [--keep DIR] [-- OPTIONS OF THE RUN]

Each run is ``gankit run VARIANT`` in a process of its own, with the options behind ``--``, and then ``gankit eval`` of
its best checkpoint; ``course`` has the evaluations while it trained, ``worst`` how often the class that fares worst is
right. The rows are committed as ``benchmarks/results/quality/VARIANT.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import gankit
from gankit.bench import append


def command(*arguments: str) -> tuple[dict[str, Any], float]:
    """What a gankit command prints as JSON, and the peak of its memory in MiB."""
    process = subprocess.Popen([sys.executable, "-m", "gankit", *arguments, "--json"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"exit code {process.returncode}: gankit {' '.join(arguments)}")
    return json.loads(printed), usage.ru_maxrss / 1024


def row(variant: str, seed: int, n: int, out: Path, options: list[str]) -> dict[str, Any]:
    """Trains, judges, and says what came of it."""
    started = time.perf_counter()
    trained, peak = command("run", variant, "--seed", str(seed), "--out", str(out), *options)
    minutes = (time.perf_counter() - started) / 60
    judged, _ = command("eval", trained["run"], "--n", str(n))
    run = gankit.open_run(trained["run"])
    return {
        "quality": variant,
        "dataset": run.config.dataset,
        "preset": run.config.preset,
        "options": options,
        "seed": seed,
        "steps": run.steps,
        "checkpoint": judged["checkpoint"],
        "seconds": trained["seconds"],
        "minutes_in_all": round(minutes, 1),
        "peak_mib": round(peak),
        "course": {
            str(entry["step"]): {name: round(value, 4) for name, value in entry["metrics"].items()}
            for entry in run.log
            if "metrics" in entry
        },
        "n": judged["n"],
        "metrics": judged["metrics"],
        "worst": {name: round(min(of.values()), 4) for name, of in judged["classes"].items() if of},
        "floor": judged["protocol"].get("floor", {}),
        "shares": judged["shares"],
        "judge": judged["judge"] and judged["judge"]["accuracy_on_real"],
        **json.loads((run.path / "environment.json").read_text(encoding="utf-8")),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variant")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--n", type=int, default=1000, help="samples that are judged")
    parser.add_argument("--json", type=Path, help="append the rows to this file")
    parser.add_argument("--keep", type=Path, help="directory for the runs, which are removed otherwise")
    given, options = sys.argv[1:], []
    if "--" in given:
        at = given.index("--")
        given, options = given[:at], given[at + 1 :]
    arguments = parser.parse_args(given)
    with tempfile.TemporaryDirectory() as scratch:
        for seed in map(int, arguments.seeds.split(",")):
            out = arguments.keep or Path(scratch, str(seed))
            found = row(arguments.variant, seed, arguments.n, out, options)
            append(found, arguments.json)
            print(json.dumps(found))


if __name__ == "__main__":
    main()
