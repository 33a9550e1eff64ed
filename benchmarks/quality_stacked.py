"""How many of the 1,000 modes of Stacked MNIST a run draws, at each of its checkpoints.

    gankit run VARIANT --dataset mnist --data.stack 3 --data.size 32 --eval-every 0 --keep 20 --checkpoint-every 1000
    python benchmarks/quality_stacked.py RUN... [--steps 1000,6000] [--n 25600] [--json FILE]

Prints a JSON row a checkpoint that is kept, or asked for: steps, real images that the discriminator saw, seconds of
training, modes (combinations of three digits, by the judge) among `n` samples, and the KL divergence of their shares
from uniform ones, in nats (Metz et al. 2017, "Unrolled Generative Adversarial Networks"; Lin et al. 2018, "PacGAN").
The row ``real`` says what held-out stacks of real digits come to, which bounds what the judge can see.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import gankit
from gankit.bench import append
from gankit.data.images import to_float, to_uint8
from gankit.evaluate import RealImages, judge_for
from gankit.evaluate.metrics import modes
from gankit.plugin import Variant
from gankit.runs.environment import environment

PART = 800
"""Samples that are drawn and judged at once."""


def figures(classes: Tensor, count: int) -> dict[str, Any]:
    """Modes and KL to uniform shares of `classes`, int64 (N, K), which may be `count` combinations."""
    found, kl = modes(classes[:0], classes, count)
    return {"modes": found, "modes_kl_to_uniform": round(kl, 4)}


def batches(variant: Variant[Any], steps: int) -> int:
    """How many batches the first network of `variant`, its discriminator, has seen after so many steps."""
    repeat = variant.phases()[0].repeat
    return steps * repeat if isinstance(repeat, int) else sum(map(repeat, range(steps)))


def rows(path: Path, n: int, steps: set[int] | None = None) -> Iterator[dict[str, Any]]:
    run = gankit.open_run(path)
    held_out = run.dataset("test")
    known = judge_for(RealImages(run.dataset()), RealImages(held_out))
    # as many real stacks as samples: of fewer, fewer modes are seen
    test = RealImages(type(held_out)(held_out.config.model_copy(update={"stacks": 5 * n}), "test"))
    count = 1
    for name in test.heads:
        count *= run.spec.classes(name)

    def seen(images: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.stack([logits.argmax(1) for logits in known.judge(images).values()], 1)

    options: Any = run.config.options.model_dump()
    about = {
        "quality": "stacked",
        "variant": run.config.variant,
        "preset": run.config.preset,
        "lipschitz": options.get("lipschitz"),
        "seed": run.config.run.seed,
        "batch_size": run.config.run.batch_size,
    }
    tail = {
        "judge": {name: round(value, 4) for name, value in known.accuracy.items()},
        **environment(torch.device("cpu"), type(run.variant), type(run.dataset())),
    }
    real = torch.cat([seen(test.floats(part, 32)[0]) for part in torch.arange(len(test)).split(PART)])
    yield {"quality": "stacked", "variant": "real", "n": len(real), **figures(real, count), **tail}
    for name in run.directory.checkpoints():
        state = run.directory.state(name)
        if steps is not None and state["step"] not in steps:
            continue
        drawn = [
            seen(to_float(to_uint8(run.sample(min(PART, n - at), seed=at, checkpoint=name, device="cpu").images)))
            for at in range(0, n, PART)
        ]
        yield {
            **about,
            "steps": state["step"],
            "images": batches(run.variant, state["step"]) * run.config.run.batch_size,
            "seconds": round(state["seconds"], 1),
            "n": n,
            **figures(torch.cat(drawn), count),
            **tail,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--steps", help="comma-separated: the checkpoints of these steps alone")
    parser.add_argument("--n", type=int, default=25_600, help="samples")
    parser.add_argument("--json", type=Path, help="append the rows to this file")
    arguments = parser.parse_args()
    steps = {int(step) for step in arguments.steps.split(",")} if arguments.steps else None
    for path in arguments.runs:
        for row in rows(path, arguments.n, steps):
            append(row, arguments.json)
            print(json.dumps(row))


if __name__ == "__main__":
    main()
