"""How much of the way from a classifier of `a` to one that was told the labels of `b` a run of ``cycada`` goes.

    python benchmarks/quality_cycada.py RUN [WITHOUT] [--json FILE]

RUN is a finished run of ``cycada``, WITHOUT one of the same data and steps with ``--semantic 0 --features 0
--no-recolour``: a CycleGAN beside which the same classifiers learn. Prints a JSON row: how often each classifier is
right of held-out images of b; the same of two classifiers of the same form, trained with as many batches of a and its
labels as it is, and of b and its labels; what part of the gap between these two the run's closes; and how often
translations no longer show their class, by the judge of b. All of the last checkpoint, since the best
one is chosen by labels of b.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from gankit_plugin_cycada.networks import Classifier
from of_run import machine
from torch import Tensor, nn
from torch.nn import functional as F

import gankit
from gankit.bench import append
from gankit.data.images import to_float


def taught(run: gankit.Run, domain: str) -> nn.Module:
    """A classifier of the run's form, trained on `domain` and its labels with as many batches as the run."""
    data, options = run.dataset(), run.config.options
    torch.manual_seed(run.config.run.seed)
    network = Classifier(run.spec.shape_of(domain), run.spec.classes(f"label_{domain}"), options.width)  # type: ignore[attr-defined]
    optim = options.class_optim  # type: ignore[attr-defined]
    optimizer = torch.optim.Adam(network.parameters(), optim.lr, optim.betas)
    length, size = data.streams()[domain], run.config.run.batch_size
    for _ in range(run.config.run.steps):
        batch = data.batch({domain: torch.randint(length, (size,))})
        optimizer.zero_grad()
        F.cross_entropy(network(to_float(batch[domain])), batch[f"label_{domain}"]).backward()
        optimizer.step()
    return network.eval()


@torch.no_grad()
def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    answers = torch.cat([network(to_float(part)).argmax(1) for part in images.split(250)])
    return float((answers == labels).float().mean())


def row(run: gankit.Run, without: gankit.Run | None) -> dict[str, Any]:
    runs = {"cyclegan": without, "cycada": run} if without else {"cycada": run}
    test = run.dataset("test")
    batch = test.batch({"b": torch.arange(test.streams()["b"])})
    held_out = batch["b"], batch["label_b"]
    right = {
        "a": accuracy(taught(run, "a"), *held_out),
        "source": accuracy(run.networks("latest")["source"], *held_out),
        **{name: accuracy(one.networks("latest")["target"], *held_out) for name, one in runs.items()},
        "b": accuracy(taught(run, "b"), *held_out),
    }
    judged = {name: one.evaluate(metrics=["accuracy"], checkpoint="latest") for name, one in runs.items()}
    flips = {name: 1 - result["metrics"]["accuracy"] for name, result in judged.items()}
    return {
        "quality": "cycada",
        "dataset": f"{run.config.data.first} -> {run.config.data.second}",  # type: ignore[attr-defined]
        "seed": run.config.run.seed,
        "steps": run.steps,
        "seconds": round(run.seconds, 1),
        "accuracy_on_b": {name: round(value, 4) for name, value in right.items()},
        "gap_closed": round((right["cycada"] - right["a"]) / (right["b"] - right["a"]), 3),
        "flips": {name: round(value, 4) for name, value in flips.items()},
        "judge": judged["cycada"]["judge"]["accuracy_on_real"],
        **machine(run),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("without", type=Path, nargs="?")
    parser.add_argument("--json", type=Path, help="append the row to this file")
    arguments = parser.parse_args()
    found = row(gankit.open_run(arguments.run), gankit.open_run(arguments.without) if arguments.without else None)
    append(found, arguments.json)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
