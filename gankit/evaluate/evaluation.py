"""Draw samples of a trained variant and measure them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gankit.errors import GankitError, UsageError
from gankit.evaluate import metrics as measure
from gankit.evaluate.neighbours import memorised, write_neighbours
from gankit.evaluate.reference import Reference, fit, look, reference_for
from gankit.events import OnEvent, ignore
from gankit.plugin import DataSpec

if TYPE_CHECKING:
    from torch import nn

    from gankit.plugin import Dataset, Variant

METRICS: Mapping[str, str] = {
    "accuracy": "fraction of samples that show the class they were asked for, by the judge",
    "fid_judge": "Fréchet distance between the judge's features of samples and of training images",
    "precision_recall": "fraction of samples among the real images, and of real images among the samples",
    "diversity": "distance between samples of a class over that between real images of it",
    "swd": "sliced Wasserstein distance of patches of a Laplacian pyramid, x 1000",
    "memorised": "fraction of samples nearer to one training image than 99% of real images are",
}
"""What can be measured. `fid_judge` and `precision_recall` need a dataset with classes, `accuracy` also a variant
that can be asked for one."""

FIGURES = ("accuracy", "fid_judge", "precision", "recall", "diversity", "swd", "memorised")
"""Names of the figures that come of them; some also with a suffix: ``accuracy_<key>``, ``swd_<side>``."""

PATCHED = 512
"""Most images whose patches `swd` compares."""


@dataclass(frozen=True)
class Samples:
    """Samples as they are judged."""

    images: Tensor
    """float (n, C, H, W) of 8-bit precision, in the size of the data."""
    asked: dict[str, Tensor]
    """Class asked for, int64 (n,), by class key."""
    predicted: dict[str, Tensor]
    """Class that the judge sees, int64 (n,), by class key."""
    features: Tensor | None
    """The judge's, (n, D)."""

    @property
    def group(self) -> str | None:
        """The class key by which samples are grouped."""
        return next(iter(self.asked), None)


def evaluate(
    variant: Variant[Any],
    networks: Mapping[str, nn.Module],
    spec: DataSpec,
    train: Dataset[Any],
    test: Dataset[Any] | None,
    *,
    n: int = 1000,
    seed: int = 0,
    device: torch.device | str = "cpu",
    metrics: Iterable[str] | None = None,
    sheet: Path | None = None,
    tell: OnEvent = ignore,
) -> dict[str, Any]:
    """Draw `n` samples and measure them. The same arguments give the same figures.

    Args:
        networks: as samples are to be drawn from: averaged where the variant says so. They are put into eval mode for
            the time of sampling.
        train: the real images samples are compared with, and the judge is trained on.
        test: real images that only check the judge, give captions and attributes to ask for, and say how far real
            images are from one another. None or empty if there are none.
        metrics: names out of :data:`METRICS`; None for those that apply, among them the variant's own.
        tell: is told what takes long, and how far it is.
        sheet: where to write a PNG of samples beside their nearest training images; a note says if that fails.

    Returns:
        ``metrics`` (name to float; only finite values), ``classes`` (accuracy by class key and class), ``judge`` (what
        it is and its accuracy on held-out real images, or None), ``n``, ``seed``, ``protocol`` (how the figures came
        about, among them `floor`: the same figures for held-out real images), ``notes``. JSON-able.

    Raises:
        UsageError: `n` below 1, an unknown metric, or one that does not apply.
    """
    if n < 1:
        raise UsageError(f"n must be at least 1, got {n}.")
    if len(train) == 0:
        raise UsageError("The train split is empty: there is nothing to compare samples with.")
    device = torch.device(device)
    chosen = _choose(metrics, variant, spec)
    reference = reference_for(train, test, device, tell)
    samples, notes = _draw(variant, networks, spec, reference, n, seed, device, tell)
    figures = _measure(samples, reference, chosen, seed)
    if sheet is not None:
        if spec.image_shape[0] in (1, 3):
            try:
                write_neighbours(sheet, samples.images, train, reference.train.rows, reference.train.small)
            except GankitError as error:  # the figures took longer, and are not to be lost with it
                notes.append(f"no sheet of neighbours: {error}")
        else:
            notes.append(f"no sheet of neighbours: images of {spec.image_shape[0]} channels cannot be shown")
    missing = sorted(name for name, value in figures.items() if not math.isfinite(value))
    if missing:
        notes.append(f"not defined for these samples: {', '.join(missing)}")
    return {
        "metrics": {name: value for name, value in figures.items() if math.isfinite(value)},
        "classes": _by_class(samples, spec) if "accuracy" in chosen else {},
        "judge": reference.judged.protocol() if reference.judged else None,
        "n": n,
        "seed": seed,
        "protocol": _protocol(reference, chosen, spec, seed),
        "notes": notes,
    }


def _choose(metrics: Iterable[str] | None, variant: Variant[Any], spec: DataSpec) -> set[str]:
    from gankit.evaluate.judge import class_keys

    judge = bool(class_keys(spec))
    applies = {"diversity", "memorised", "swd"}
    if judge:
        applies |= {"fid_judge", "precision_recall"}
    if judge and _asked_keys(variant, spec):
        applies.add("accuracy")
    if min(spec.image_shape[1:]) < 7:
        applies.remove("swd")
    if metrics is None:
        # patches say little where a judge can look; they are also the slowest
        return applies - ({"swd"} if judge and not (variant.metric or "").startswith("swd") else set())
    chosen = set(metrics)
    for name in sorted(chosen - METRICS.keys()):
        near = get_close_matches(name, METRICS, 1)
        raise UsageError(
            f"unknown metric {name!r}; {f'did you mean {near[0]}?' if near else 'one of'} ({', '.join(METRICS)})"
        )
    for name in sorted(chosen - applies):
        raise UsageError(
            f"the metric {name!r} does not apply to this variant and data; {', '.join(sorted(applies))} do."
        )
    return chosen


def _asked_keys(variant: Variant[Any], spec: DataSpec) -> list[str]:
    """The class keys that a sample can be held to: those asked for, and with a text (or its embedding) all."""
    from gankit.evaluate.judge import class_keys

    kinds = {spec[name].kind for name in variant.conditions if name in spec.keys}
    return [key for key in class_keys(spec) if key in variant.conditions or kinds & {"text", "vector"}]


def _draw(
    variant: Variant[Any],
    networks: Mapping[str, nn.Module],
    spec: DataSpec,
    reference: Reference,
    n: int,
    seed: int,
    device: torch.device,
    tell: OnEvent,
) -> tuple[Samples, list[str]]:
    from gankit.data.images import to_float, to_uint8
    from gankit.sampling.conditions import conditions
    from gankit.sampling.draw import draw

    rows = (reference.test or reference.train).data
    asked_for = conditions(variant, spec, n, rows=lambda: [rows], seed=seed)
    batch, records = asked_for.batch, asked_for.records
    images = draw(variant, networks, spec, batch, n, seed=seed, device=device, tell=tell)
    notes = []
    broken = int((~images.isfinite()).flatten(1).any(1).sum())
    if broken:
        notes.append(f"{broken} of {n} samples hold NaN or infinite values; those pixels count as mid-grey")
    if reference.test is None and set(variant.conditions) - {
        key for key, one in spec.keys.items() if one.kind == "class"
    }:
        notes.append("there is no held-out split: conditions come from the training rows")
    if tuple(images.shape[-2:]) != spec.image_shape[1:]:
        size = f"{images.shape[-1]}x{images.shape[-2]}"
        notes.append(f"samples of {size} were resized to the data's {spec.image_shape[2]}x{spec.image_shape[1]}")
    # as a user sees them: 8 bits a channel
    images = fit(to_float(to_uint8(images)), spec.image_shape)
    asked = {}
    for key in _asked_keys(variant, spec):
        names = {name: i for i, name in enumerate(spec[key].names)}
        asked[key] = torch.tensor([names[str(record[key])] for record in records])
    if reference.judged is None:
        return Samples(images, asked, {}, None), notes
    features, predicted = look(reference.judged.judge, images, device)
    return Samples(images, asked, predicted, features), notes


def _measure(samples: Samples, reference: Reference, chosen: set[str], seed: int) -> dict[str, float]:
    train, test = reference.train, reference.test
    figures: dict[str, float] = {}
    if "accuracy" in chosen:
        right = {key: samples.predicted[key] == target for key, target in samples.asked.items()}
        figures["accuracy"] = sum(float(hits.double().mean()) for hits in right.values()) / len(right)
        if len(right) > 1:
            figures |= {f"accuracy_{key}": float(hits.double().mean()) for key, hits in right.items()}
            figures["accuracy_all"] = float(torch.stack(list(right.values())).all(0).double().mean())
    if samples.features is not None and train.features is not None:
        if "fid_judge" in chosen:
            figures["fid_judge"] = measure.frechet_distance(train.features, samples.features)
        if "precision_recall" in chosen:
            few = min(len(train.features), len(samples.features)) <= 3
            pair = (math.nan, math.nan) if few else measure.precision_recall(train.features, samples.features)
            figures["precision"], figures["recall"] = pair
    if "diversity" in chosen:
        key = samples.group
        groups = (train.classes[key], samples.asked[key]) if key else (None, None)
        figures["diversity"], figures["diversity_min"] = measure.diversity(train.small, samples.images, *groups)
    if "swd" in chosen:
        levels = measure.sliced_wasserstein(train.images(min(PATCHED, len(samples.images))), samples.images, seed=seed)
        figures["swd"] = sum(levels.values()) / len(levels)
        figures |= {f"swd_{side}": value for side, value in levels.items()}
    if "memorised" in chosen:
        figure = memorised(measure.reduce_to(samples.images, 32), train.small, test.small if test else None)
        figures["memorised"] = math.nan if figure is None else figure
    return figures


def _by_class(samples: Samples, spec: DataSpec) -> dict[str, dict[str, float]]:
    """Accuracy by class key and name of class, of the classes that were asked for."""
    found: dict[str, dict[str, float]] = {}
    for key, target in samples.asked.items():
        hits = samples.predicted[key] == target
        found[key] = {spec[key].names[c]: float(hits[target == c].double().mean()) for c in target.unique().tolist()}
    return found


def _protocol(reference: Reference, chosen: set[str], spec: DataSpec, seed: int) -> dict[str, Any]:
    train, test = reference.train, reference.test
    floor: dict[str, float] = {}
    if test is not None and train.features is not None and test.features is not None:
        if "fid_judge" in chosen:
            floor["fid_judge"] = measure.frechet_distance(train.features, test.features)
        if "precision_recall" in chosen and min(len(train.features), len(test.features)) > 3:
            floor["precision"], floor["recall"] = measure.precision_recall(train.features, test.features)
    if test is not None and "swd" in chosen:
        some = min(PATCHED, len(test.rows), len(train.rows))
        levels = measure.sliced_wasserstein(train.images(some), test.images(some), seed=seed)
        floor["swd"] = sum(levels.values()) / len(levels)
    return {
        "metrics": {name: METRICS[name] for name in METRICS if name in chosen},
        "image_shape": list(spec.image_shape),
        "real_images": len(train.rows),
        "real_images_of": len(train.data),
        "samples": "8 bits a channel, networks in eval mode, averaged weights where the variant keeps them",
        "floor": floor,
    }
