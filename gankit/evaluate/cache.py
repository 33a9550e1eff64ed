"""Trained judges are kept, under the digest of the data and the settings that made them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from gankit.cache import cache_directory, keep
from gankit.evaluate.judge import Judge, JudgeConfig, accuracy_on, arrange, describe, train_judge
from gankit.evaluate.real import RealImages, subset
from gankit.events import Note, OnEvent, ignore
from gankit.files import read_regular
from gankit.random_state import fork_rng

SAMPLED = 512
"""Most images of a split that go into the digest."""


M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class KnownJudge(Generic[M]):
    """A judge, of classes or of captions, and what is known of it."""

    judge: M
    digest: str
    accuracy: dict[str, float]
    """On held-out real images, by class key; empty if there are none."""
    held_out: int
    """How many held-out images that accuracy stands on."""
    settings: dict[str, Any]

    def protocol(self) -> dict[str, Any]:
        """What a reader must know to trust the judge. JSON-able."""
        return {
            "accuracy_on_real": self.accuracy,
            "held_out_images": self.held_out,
            "trained_on": "train split, real images only",
            "digest": self.digest,
            "settings": self.settings,
        }


def judge_for(
    train: RealImages,
    test: RealImages | None,
    config: JudgeConfig | None = None,
    device: torch.device | str = "cpu",
    tell: OnEvent = ignore,
) -> KnownJudge[Judge]:
    """The judge of the classes of these images: from the cache if there is one, else trained now and kept."""
    config = config or JudgeConfig()

    def make() -> tuple[Judge, dict[str, float], int]:
        judge = train_judge(train, config, device, tell)
        held_out = len(subset(len(test), 5000)) if test is not None else 0
        return judge, accuracy_on(judge, test, device) if test is not None and held_out else {}, held_out

    build = partial(Judge, train.shape, train.heads, config.width)
    found = known(train, test, describe(config), build, make, tell)
    arrange(found.judge, device)
    return found


def known(
    train: RealImages,
    test: RealImages | None,
    settings: dict[str, Any],
    build: Callable[[], M],
    make: Callable[[], tuple[M, dict[str, float], int]],
    tell: OnEvent,
) -> KnownJudge[M]:
    """What `make` returns (a judge, its accuracy, on how many images), for the same data and settings made once.

    `build` makes an untrained one, for the weights that are kept. A cache that cannot be read or written costs time,
    nothing else. What is read back is checked; a damaged judge is made again, and `tell` is told.
    """
    name, found = digest(train, test, settings), None
    try:
        found = _load(name, build, settings)
    except _Damaged as error:
        tell(Note(text=f"{error}; it is made again."))
    if found is None:
        judge, accuracy, held_out = make()
        found = KnownJudge(judge, name, accuracy, held_out, settings)
        _save(found)
    return found


def digest(train: RealImages, test: RealImages | None, settings: dict[str, Any]) -> str:
    """Hexadecimal digest of the settings, the specs and the images and what describes them of both splits (512 of
    each)."""
    made = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for real in (train, test):
        if real is None:
            continue
        keys = [real.key, *real.described]
        made.update(repr([(key, real.data.spec[key]) for key in keys] + [len(real)]).encode())
        for indices in subset(len(real), SAMPLED).split(64):
            batch = real.batch(indices)
            for key in keys:
                made.update(batch[key].contiguous().numpy().tobytes())
    return made.hexdigest()[:20]


class _Damaged(Exception):
    """A kept judge is not what was written. The message names the file."""


def _paths(name: str) -> tuple[Path, Path]:
    folder = cache_directory() / "judges"
    return folder / f"{name}.safetensors", folder / f"{name}.json"


def _load(name: str, build: Callable[[], M], settings: dict[str, Any]) -> KnownJudge[M] | None:
    """The kept judge; None if there is none, :class:`_Damaged` if it cannot be trusted."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        weights, facts = _paths(name)
        text = read_regular(facts)
    except OSError:
        return None
    try:
        known = json.loads(text)
        if known.pop("sha256") != _sha256(_canonical(known)):
            raise ValueError
        accuracy = {str(key): float(value) for key, value in known["accuracy"].items()}
        held_out = int(known["held_out"])
        if not all(math.isfinite(value) for value in accuracy.values()):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _Damaged(f"{facts} is damaged") from None
    try:
        content = read_regular(weights)
        if _sha256(content) != known["weights"]:
            raise ValueError
        state = load(content)
        with fork_rng(torch.device("cpu")):  # making a module draws weights; a run's random state must not notice
            judge = build()
        judge.load_state_dict(state)
        if not _finite(judge):
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError):
        raise _Damaged(f"{weights} is damaged") from None
    return KnownJudge(judge.eval().requires_grad_(False), name, accuracy, held_out, settings)


def _save(judged: KnownJudge[Any]) -> None:
    from safetensors.torch import save

    if not _finite(judged.judge):
        return
    content = save({key: value.detach().cpu().contiguous() for key, value in judged.judge.state_dict().items()})
    known = {
        "accuracy": judged.accuracy,
        "held_out": judged.held_out,
        "settings": judged.settings,
        "weights": _sha256(content),
    }
    try:
        weights, facts = _paths(judged.digest)
        keep(weights, content)
        # last: with it the entry counts
        keep(facts, json.dumps({**known, "sha256": _sha256(_canonical(known))}, indent=1).encode())
    except OSError:
        return


def _canonical(known: dict[str, Any]) -> bytes:
    return json.dumps(known, sort_keys=True).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _finite(judge: nn.Module) -> bool:
    return all(bool(value.isfinite().all()) for value in judge.state_dict().values())
