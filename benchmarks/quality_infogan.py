"""What the codes of an InfoGAN stand for, measured on its samples.

    python benchmarks/quality_infogan.py RUN... [--n 1000] [--json FILE]

Prints a JSON row a run: how many of `n` samples show the digit, by the judge, that their categorical code stands for
under the best one-to-one assignment; the judge's accuracy on real images; how monotonically each continuous code moves
slant and width (mean rank correlation over 100 traversals); and `values` and `continuous` as they may be written into
the run's config.toml, so that ``--given digit=3`` draws threes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from gankit_plugin_infogan.traversals import correlations
from gankit_plugin_infogan.variant import agreement, assignment

import gankit
from gankit.bench import append
from gankit.data.images import to_float, to_uint8
from gankit.evaluate import RealImages, judge_for
from gankit.runs.environment import environment


def row(path: Path, n: int) -> dict[str, Any]:
    run = gankit.open_run(path)
    options: Any = run.config.options
    judged = judge_for(RealImages(run.dataset()), RealImages(run.dataset("test")))
    samples = run.sample(n, device="cpu")  # the values of the categorical code go in turn
    code = torch.arange(n) % options.classes
    with torch.no_grad():
        images = to_float(to_uint8(samples.images))
        label = torch.cat([judged.judge(part)["label"].argmax(1) for part in images.split(250)])
    noise = torch.randn(10, options.z, generator=torch.Generator().manual_seed(0))
    generator = run.networks(device="cpu")["generator"]
    moved = correlations(generator, noise, options.classes, len(options.continuous))
    stands_for, classes = assignment(code, label), run.spec["label"].names
    return {
        "quality": "infogan",
        "dataset": run.config.dataset,
        "preset": run.config.preset,
        "seed": run.config.run.seed,
        "steps": run.steps,
        "checkpoint": samples.checkpoint,
        "seconds": round(run.seconds, 1),
        "n": n,
        "agreement": round(agreement(code, label), 4),
        "judge_accuracy": round(judged.accuracy["label"], 4),
        **{name: [round(value, 3) for value in by_code] for name, by_code in moved.items()},
        "values": value_names(stands_for, classes, options.classes),
        "continuous": code_names(moved, options.continuous),
        **environment(torch.device("cpu"), type(run.variant), type(run.dataset())),
    }


def value_names(stands_for: dict[int, int], classes: Sequence[str], count: int) -> list[str]:
    """Names of the values 0 to count - 1: what each stands for; of those that stand for nothing one that is left."""
    found = {value: classes[label] for value, label in stands_for.items()}
    left = iter([name for name in (*classes, *map(str, range(count))) if name not in found.values()])
    return [found[value] if value in found else next(left) for value in range(count)]


def code_names(moved: dict[str, list[float]], before: Sequence[str]) -> list[str]:
    """Names of the continuous codes: after what one moves best of all, if nearly monotonically, else as before."""
    found: dict[int, str] = {}
    for name, by_code in moved.items():
        strength = [abs(value) for value in by_code]
        best = max(range(len(strength)), key=strength.__getitem__, default=0)
        others = [abs(values[best]) for other, values in moved.items() if other != name and values]
        if strength and strength[best] >= 0.8 and strength[best] >= max(others):
            found[best] = name
    left = iter([f"c{i}" for i in range(1, 2 * len(before) + 1) if f"c{i}" not in before])
    return [
        found[i] if i in found else name if name not in found.values() else next(left) for i, name in enumerate(before)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--n", type=int, default=1000, help="samples")
    parser.add_argument("--json", type=Path, help="append the rows to this file")
    arguments = parser.parse_args()
    for path in arguments.runs:
        found = row(path, arguments.n)
        append(found, arguments.json)
        print(json.dumps(found))


if __name__ == "__main__":
    main()
