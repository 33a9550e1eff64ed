"""The figures that come of samples and what they are compared with."""

from __future__ import annotations

import math
from collections.abc import Set

import torch

from gankit.dataset import DataSpec
from gankit.evaluate.judged import JudgedSamples
from gankit.evaluate.metrics import diversity, frechet_distance, precision_recall
from gankit.evaluate.neighbours import memorised
from gankit.evaluate.patches import distance, levels
from gankit.evaluate.reference import Reference


def measure(samples: JudgedSamples, reference: Reference, chosen: Set[str]) -> dict[str, float]:
    """The figures of the metrics `chosen`, by name; NaN where one is not defined."""
    train, test = reference.train, reference.test
    figures: dict[str, float] = {}
    if "accuracy" in chosen:
        right = {key: samples.predicted[key] == target for key, target in samples.wanted.items()}
        figures["accuracy"] = sum(float(hits.double().mean()) for hits in right.values()) / len(right)
        if len(right) > 1:
            figures |= {f"accuracy_{key}": float(hits.double().mean()) for key, hits in right.items()}
            figures["accuracy_all"] = float(torch.stack(list(right.values())).all(0).double().mean())
    if samples.features is not None and train.features is not None:
        if "fid_judge" in chosen:
            figures["fid_judge"] = frechet_distance(train.features, samples.features)
        if "precision_recall" in chosen:
            few = min(len(train.features), len(samples.features)) <= 3
            pair = (math.nan, math.nan) if few else precision_recall(train.features, samples.features)
            figures["precision"], figures["recall"] = pair
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


def right_by_class(samples: JudgedSamples, spec: DataSpec) -> dict[str, dict[str, float]]:
    """Accuracy by class key and name of class, of the classes that were wanted."""
    found: dict[str, dict[str, float]] = {}
    for key, target in samples.wanted.items():
        hits = samples.predicted[key] == target
        found[key] = {spec[key].names[c]: float(hits[target == c].double().mean()) for c in target.unique().tolist()}
    return found


def floor(reference: Reference, chosen: Set[str], most: int, seed: int) -> dict[str, float]:
    """The figures of held-out real images, as far as they make sense; `most`: images whose patches are compared."""
    train, test = reference.train, reference.test
    found: dict[str, float] = {}
    if test is None:
        return found
    if train.features is not None and test.features is not None:
        if "fid_judge" in chosen:
            found["fid_judge"] = frechet_distance(train.features, test.features)
        if "precision_recall" in chosen and min(len(train.features), len(test.features)) > 3:
            found["precision"], found["recall"] = precision_recall(train.features, test.features)
    if "swd" in chosen:
        some = min(most, len(test.rows), len(train.rows))
        wanted = levels(some, train.real.shape, seed)
        values = distance(train.patches(wanted, some), test.patches(wanted, some))
        found["swd"] = sum(values.values()) / len(values)
    return {name: value for name, value in found.items() if math.isfinite(value)}
