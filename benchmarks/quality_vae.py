"""The autoencoders as gankit trains them, beside the same written by hand in plain torch, and beside PCA.

    python benchmarks/quality_vae.py [--seeds 0,1,2] [--json FILE]

Prints a JSON row a variant and seed: held-out bound (nats an image) and squared error (of a pixel in [-1, 1]) of the
best checkpoint; of a loop with as many steps of as large batches, measured as often; and the squared error of as many
principal components of the training images as a code has numbers.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import gankit
from gankit.bench import append
from gankit.runs.environment import environment

Measure = Callable[[Tensor], dict[str, float]]


def pca_error(train: Tensor, test: Tensor, dimensions: int) -> float:
    """Mean squared error of the rows of `test`, kept to the first principal components of those of `train`."""
    mean = train.double().mean(0)
    _, _, axes = torch.linalg.svd(train.double() - mean, full_matrices=False)
    centred, kept = test.double() - mean, axes[:dimensions]
    return float((centred - centred @ kept.T @ kept).square().mean())


def vae_by_hand() -> tuple[nn.ModuleList, Callable[[Tensor], Tensor], Measure]:
    """Networks, loss and measures of the 784-400-20-400-784 autoencoder with Bernoulli likelihood."""
    encoder = nn.Sequential(nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 40))
    decoder = nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784))

    def loss(x: Tensor) -> Tensor:
        mean, logvar = encoder(x).chunk(2, 1)
        logits = decoder(mean + torch.randn_like(mean) * torch.exp(logvar / 2))
        cross_entropy = F.binary_cross_entropy_with_logits(logits, (x + 1) / 2, reduction="sum")
        return (cross_entropy - 0.5 * (1 + logvar - mean**2 - logvar.exp()).sum()) / len(x)

    def measure(x: Tensor) -> dict[str, float]:
        decoded = decoder(encoder(x)[:, :20]).sigmoid() * 2 - 1
        return {"bound": -float(loss(x)), "squared_error": float(F.mse_loss(decoded, x))}

    return nn.ModuleList([encoder, decoder]), loss, measure


def ae_by_hand(width: int, slope: float) -> tuple[nn.ModuleList, Callable[[Tensor], Tensor], Measure]:
    """Networks, loss and measures of the document's convolutional autoencoder, `width` channels wide, whose code has a
    leaky ReLU of `slope`."""
    encoder = nn.Sequential(
        *(nn.Conv2d(1, width, 3, 3, 1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(width, 8, 3, 2, 1), nn.LeakyReLU(slope), nn.MaxPool2d(2, ceil_mode=True)),
    )
    decoder = nn.Sequential(
        *(nn.ConvTranspose2d(8, width, 3, 2), nn.ReLU(), nn.ConvTranspose2d(width, width // 2, 5, 3, 1), nn.ReLU()),
        nn.ConvTranspose2d(width // 2, 1, 3, 2),
    )

    def loss(x: Tensor) -> Tensor:
        maps = decoder(encoder(x.view(-1, 1, 28, 28)))[:, :, :30, :30]
        return F.mse_loss(F.interpolate(maps, (28, 28), mode="bilinear").tanh().flatten(1), x)

    return nn.ModuleList([encoder, decoder]), loss, lambda x: {"squared_error": float(loss(x))}


def train_by_hand(run: gankit.Run, train: Tensor, test: Tensor, seed: int) -> dict[str, float]:
    """The best that a loop with the options of `run` comes to on `test`, measured as often."""
    config, options = run.config.run, run.config.options.model_dump()
    torch.manual_seed(seed)
    by_hand = vae_by_hand() if run.config.variant == "vae" else ae_by_hand(options["width"], options["code_slope"])
    networks, loss, measure = by_hand
    optim = options["optim"]
    optimizer = torch.optim.Adam(networks.parameters(), optim["lr"], optim["betas"])
    batches = random_batches(len(train), config.batch_size)
    best: dict[str, float] = {}
    for step in range(config.steps):
        if optim["schedule"] == "cosine":
            left = max(0.0, step / config.steps - optim["hold"]) / (1 - optim["hold"])
            optimizer.param_groups[0]["lr"] = optim["lr"] * 0.5 * (1 + math.cos(math.pi * left))
        optimizer.zero_grad()
        loss(train[next(batches)]).backward()
        optimizer.step()
        if (step + 1) % config.eval_every == 0:
            with torch.no_grad():
                now = measure(test)
            first = next(iter(now))
            if not best or (now[first] > best[first]) == (first == "bound"):
                best = now
    return best


def random_batches(length: int, size: int) -> Iterator[Tensor]:
    while True:
        order = torch.randperm(length)
        yield from (order[i : i + size] for i in range(0, length - size + 1, size))


def row(variant: str, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        run = gankit.train(variant, out=folder, seed=seed, sample_every=0, device="cpu")
        own = run.evaluate(seed=seed, metrics=list(run.variant.metrics))["metrics"]
        train, test = (_pixels(run, split) for split in ("train", "test"))
        by_hand = train_by_hand(run, train, test, seed)
        length = 20 if variant == "vae" else 32
        return {
            "quality": variant,
            "dataset": run.config.dataset,
            "options": run.config.options.model_dump(mode="json"),
            "seed": seed,
            "steps": run.steps,
            "best": run.directory.resolve("best"),
            "seconds": round(run.seconds, 1),
            **{name: round(value, 5) for name, value in own.items()},
            **{f"{name}_by_hand": round(value, 5) for name, value in by_hand.items()},
            "squared_error_pca": round(pca_error(train, test, length), 5),
            "dimensions": length,
            **environment(torch.device("cpu"), type(run.variant), type(run.dataset())),
        }


def _pixels(run: gankit.Run, split: Any) -> Tensor:
    data = run.dataset(split)
    return data.batch(torch.arange(len(data)))["image"].flatten(1).float() / 127.5 - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2", help="comma-separated")
    parser.add_argument("--variants", default="vae,ae", help="comma-separated")
    parser.add_argument("--json", type=Path, help="append the rows to this file")
    arguments = parser.parse_args()
    for variant in arguments.variants.split(","):
        for seed in map(int, arguments.seeds.split(",")):
            found = row(variant, seed)
            append(found, arguments.json)
            print(json.dumps(found))


if __name__ == "__main__":
    main()
