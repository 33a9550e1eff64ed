"""Whether the critic's estimate falls as the samples get better (Arjovsky et al. 2017, figure 3).

    python benchmarks/quality_wgan.py RUN...

Of each run that was evaluated while it trained, prints a JSON row: over its evaluations, Spearman's rank correlation of
`fid_judge` with the critic's estimate on held-out images, and with the one that training logged.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from gankit_plugin_infogan.moments import rank_correlation

import gankit
from gankit.bench import append
from gankit.runs.environment import environment


def row(path: Path) -> dict[str, Any]:
    run = gankit.open_run(path)
    evaluated = {r["step"]: r["metrics"] for r in run.log if "metrics" in r}
    logged = {r["step"]: r["critic/estimate"] for r in run.log if "critic/estimate" in r}
    steps = [step for step, metrics in evaluated.items() if {"fid_judge", "estimate"} <= set(metrics)]
    if len(steps) < 3:
        raise SystemExit(f"{path}: {len(steps)} evaluations with fid_judge and estimate; 3 or more are needed")
    fid = [evaluated[step]["fid_judge"] for step in steps]
    held_out = [evaluated[step]["estimate"] for step in steps]
    training = [logged[max(at for at in logged if at <= step)] for step in steps]

    def correlation(estimate: list[float]) -> float:
        return round(float(rank_correlation(torch.tensor(fid), torch.tensor(estimate))), 3)

    return {
        "quality": "wgan",
        "dataset": run.config.dataset,
        "lipschitz": run.config.options.model_dump()["lipschitz"],
        "seed": run.config.run.seed,
        "steps": steps,
        "seconds": round(run.seconds, 1),
        "fid_judge": [round(value, 3) for value in fid],
        "estimate": [round(value, 4) for value in held_out],
        "estimate_in_training": [round(value, 4) for value in training],
        "rank_correlation": correlation(held_out),
        "rank_correlation_in_training": correlation(training),
        **environment(torch.device("cpu"), type(run.variant), type(run.dataset())),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="directories of runs, runs/wgan-mnist")
    parser.add_argument("--json", type=Path, help="append the rows to this file")
    arguments = parser.parse_args()
    for path in arguments.runs:
        found = row(path)
        append(found, arguments.json)
        print(json.dumps(found))


if __name__ == "__main__":
    main()
