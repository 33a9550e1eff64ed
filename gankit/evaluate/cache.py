"""Trained judges are kept, under the digest of the data and the settings that made them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from gankit.cache import cache_directory, keep
from gankit.evaluate.judge import Judge, JudgeConfig, accuracy_on, arrange, class_keys, describe, subset, train_judge
from gankit.events import OnEvent, ignore

if TYPE_CHECKING:
    from gankit.plugin import Dataset, DataSpec

SAMPLED = 512
"""Most images of a split that go into the digest."""


@dataclass(frozen=True)
class Judged:
    """A judge, and what is known of it."""

    judge: Judge
    digest: str
    accuracy: dict[str, float]
    """On held-out real images, by class key; empty if there are none."""
    held_out: int
    """How many held-out images that accuracy stands on."""
    config: JudgeConfig

    def protocol(self) -> dict[str, Any]:
        """What a reader must know to trust the judge. JSON-able."""
        return {
            "accuracy_on_real": self.accuracy,
            "held_out_images": self.held_out,
            "trained_on": "train split, real images only",
            "digest": self.digest,
            "settings": describe(self.config),
        }


def judge_for(
    train: Dataset[Any],
    test: Dataset[Any] | None,
    config: JudgeConfig | None = None,
    device: torch.device | str = "cpu",
    tell: OnEvent = ignore,
) -> Judged:
    """The judge of a dataset: from the cache if there is one, else trained now and kept.

    A cache that cannot be read or written costs time, nothing else.
    """
    config = config or JudgeConfig()
    name = digest(train, test, config)
    found = _load(name, train.spec, config)
    if found is None:
        judge = train_judge(train, config, device, tell)
        held_out = len(subset(len(test), 5000)) if test is not None else 0
        accuracy = accuracy_on(judge, test, device) if test is not None and held_out else {}
        found = Judged(judge, name, accuracy, held_out, config)
        _save(found)
    arrange(found.judge, device)
    return found


def digest(train: Dataset[Any], test: Dataset[Any] | None, config: JudgeConfig) -> str:
    """Hexadecimal digest of the settings, the specs and the images and classes of both splits (512 of each)."""
    made = hashlib.sha256(json.dumps(describe(config), sort_keys=True).encode())
    for data in (train, test):
        if data is None:
            continue
        keys = ["image", *class_keys(data.spec)]
        made.update(repr([(key, data.spec[key]) for key in keys] + [len(data)]).encode())
        for indices in subset(len(data), SAMPLED).split(64):
            batch = data.batch(indices)
            for key in keys:
                made.update(batch[key].contiguous().numpy().tobytes())
    return made.hexdigest()[:20]


def _paths(name: str) -> tuple[Path, Path]:
    folder = cache_directory() / "judges"
    return folder / f"{name}.safetensors", folder / f"{name}.json"


def _load(name: str, spec: DataSpec, config: JudgeConfig) -> Judged | None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights, facts = _paths(name)
        known = json.loads(facts.read_text(encoding="utf-8"))
        with torch.random.fork_rng(devices=[]):  # making a module draws weights; a run's random state must not notice
            judge = Judge(spec.image_shape, class_keys(spec), config.width)
        judge.load_state_dict(load_file(weights))
        accuracy = {str(key): float(value) for key, value in known["accuracy"].items()}
        held_out = int(known["held_out"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError):
        return None  # not there, or not whole: it is trained again
    return Judged(judge.eval().requires_grad_(False), name, accuracy, held_out, config)


def _save(judged: Judged) -> None:
    from safetensors.torch import save

    state = {key: value.detach().cpu().contiguous() for key, value in judged.judge.state_dict().items()}
    known = {"accuracy": judged.accuracy, "held_out": judged.held_out, "settings": describe(judged.config)}
    try:
        weights, facts = _paths(judged.digest)
        keep(weights, save(state))
        keep(facts, json.dumps(known, indent=1).encode())  # last: with it the entry counts
    except OSError:
        return
