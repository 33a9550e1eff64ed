"""The figures that come of samples and what they are compared with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Set

import torch
from torch import Tensor

from gankit.dataset import DataSpec
from gankit.evaluate.judged import JudgedSamples
from gankit.evaluate.metrics import diversity, frechet_distance, modes, precision_recall
from gankit.evaluate.neighbours import memorised
from gankit.evaluate.patches import distance, levels
from gankit.evaluate.reference import Reference, View

SURE = 0.9
"""Probability from which on the judge counts as sure of a class."""


def measure(samples: JudgedSamples, reference: Reference, chosen: Set[str]) -> dict[str, float]:
    """The figures of the metrics `chosen`, by name; NaN where one is not defined."""
    train, test = reference.train, reference.test
    figures: dict[str, float] = {}
    if "accuracy" in chosen and samples.view is not None:
        right = {key: samples.view.classes[key] == target for key, target in samples.wanted.items()}
        figures["accuracy"] = sum(float(hits.double().mean()) for hits in right.values()) / len(right)
        if len(right) > 1:
            figures |= {f"accuracy_{key}": float(hits.double().mean()) for key, hits in right.items()}
            figures["accuracy_all"] = float(torch.stack(list(right.values())).all(0).double().mean())
    if "r_precision" in chosen and samples.pairs is not None:
        figures["r_precision"] = samples.pairs.precision()
    if "mask_agreement" in chosen:
        figures["mask_agreement"] = samples.agreement
    if samples.view is not None and train.view is not None:
        figures |= _seen(samples.view, train.view, train.classes, train.real.heads, chosen)
    if "diversity" in chosen:
        key = samples.group
        groups = (train.classes[key], samples.wanted[key]) if key else (None, None)
        figures["diversity"], figures["diversity_min"] = diversity(train.small, samples.small, *groups)
    if samples.patches is not None:
        found = distance(train.patches(samples.patches.levels, len(samples.patches)), samples.patches)
        figures["swd"] = sum(found.values()) / len(found)
        figures |= {f"swd_{side}": value for side, value in found.items()}
    if "memorised" in chosen:
        figure = memorised(samples.small, train.small, test.small if test else None)
        figures["memorised"] = math.nan if figure is None else figure
    return figures


def _seen(
    view: View, real: View, classes: Mapping[str, Tensor], heads: Mapping[str, int], chosen: Set[str]
) -> dict[str, float]:
    """The figures of `view`, what the judge sees in images, beside the `real` ones, whose `classes` are known."""
    figures: dict[str, float] = {}
    if "fid_judge" in chosen:
        figures["fid_judge"] = frechet_distance(real.features, view.features)
    if "precision_recall" in chosen:
        few = min(len(real.features), len(view.features)) <= 3
        pair = (math.nan, math.nan) if few else precision_recall(real.features, view.features)
        figures["precision"], figures["recall"] = pair
    if "modes" in chosen:
        known, drawn = (torch.stack([given[name] for name in heads], 1) for given in (classes, view.classes))
        figures["modes"], figures["modes_kl"] = modes(known, drawn, math.prod(heads.values()))
        figures["sure"] = float((view.sure >= SURE).double().mean())
    return figures


def shares_by_class(view: View | None, spec: DataSpec) -> dict[str, dict[str, float]]:
    """Fraction of samples in which the judge sees each class, by class key and name of class."""
    found = {}
    for key, classes in (view.classes if view else {}).items():
        counts = torch.bincount(classes, minlength=len(spec[key].names)).double() / max(len(classes), 1)
        found[key] = dict(zip(spec[key].names, counts.tolist(), strict=True))
    return found


def right_by_class(samples: JudgedSamples, spec: DataSpec) -> dict[str, dict[str, float]]:
    """Accuracy by class key and name of class, of the classes that were wanted."""
    found: dict[str, dict[str, float]] = {}
    seen = samples.view.classes if samples.view else {}
    for key, target in samples.wanted.items() if seen else ():
        hits = seen[key] == target
        found[key] = {spec[key].names[c]: float(hits[target == c].double().mean()) for c in target.unique().tolist()}
    return found


def floor(reference: Reference, chosen: Set[str], most: int, seed: int) -> dict[str, float]:
    """The figures of held-out real images, as far as they make sense; `most`: images whose patches are compared."""
    train, test = reference.train, reference.test
    found: dict[str, float] = {}
    if test is None:
        return found
    if "r_precision" in chosen and reference.read is not None:
        found |= reference.read.accuracy
    if train.view is not None and test.view is not None:
        found |= _seen(test.view, train.view, train.classes, train.real.heads, chosen)
    if "swd" in chosen:
        some = min(most, len(test.rows), len(train.rows))
        wanted = levels(some, train.real.shape, seed)
        values = distance(train.patches(wanted, some), test.patches(wanted, some))
        found["swd"] = sum(values.values()) / len(values)
    return {name: value for name, value in found.items() if math.isfinite(value)}
