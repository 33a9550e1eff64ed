"""N processes are one: after some steps the weights of 2 and of 4 are those of one process with the whole batch."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial

import pytest
import torch
from every_variant import small
from in_double import apart, in_double, prepared, trained
from tiny_gan import Blobs, BlobsConfig, Tiny
from torch import nn
from torch.nn import functional as F

from gankit import whole_batch
from gankit.check.checker import Failed
from gankit.check.processes import check_processes
from gankit.check.simulated import together
from gankit.discovery.entry_points import variants
from gankit.errors import PluginError, UsageError
from gankit.events import TrainingDiverged
from gankit.options.resolve import resolve
from gankit.processes import ALONE, World
from gankit.runs.log import Meter
from gankit.training.session import Session

CASES: dict[str, tuple[dict[str, object], ...]] = {
    "cgan": ({}, {"preset": "conv"}),
    "cyclegan": ({}, {"preset": "wasserstein"}),
    "gan": ({"dropout": 0.3},),
    "gawwn": ({"misplaced": 0.5, "d_norm": "batch"},),
    "infogan": ({"consistency": 1.0},),
    "inpaint": ({}, {"preset": "context-encoder"}),
    "pix2pix": ({"norm": "batch"},),
    "r3gan": ({"adaptive": True, "augment.diff": "color,translation,cutout"},),
    "stackgan": ({"stage": 1, "d_norm": "batch", "seek": 0.1}, {"stage": 2}),
    "stargan": ({}, {"loss": "wgan"}),
    "vae": ({"likelihood": "squared"},),
    "wgan": ({}, {"lipschitz": "approx"}),
}
"""Options of which a variant has more than its default; of every other one the default."""


TRIED = ((2, 2), (4, 1)) if "GANKIT_KILLS" in os.environ else ((2, 2),)
"""How many processes, and batches over which gradients are gathered; of four where there is time, as for kills."""


def cases():
    both = ((name, options) for name in variants() for options in CASES.get(name, ({},)))
    return [pytest.param(*one, id="-".join([one[0], *map(str, one[1].values())])) for one in both]


@pytest.mark.parametrize(("name", "options"), cases())
def test_every_variant(name, options):
    options = dict(options)
    preset = options.pop("preset", None)
    variant, data, resolved = small(name, preset, **options)
    # a bias before a norm has no gradient but what rounding leaves of second derivatives; Adam makes steps of that
    close = 1e-7 if preset == "wasserstein" else 1e-9
    with in_double():
        start = prepared(variant, data, resolved)
        for size, accumulate in TRIED:
            run = {"batch_size": 4, "accumulate": accumulate, "start": start}
            (alone,) = trained(variant, data, resolved, 1, 2, **run)
            for one in trained(variant, data, resolved, size, 2, **run):
                off, where = apart(alone, one)
                assert off < close, where


@pytest.mark.skipif("GANKIT_KILLS" not in os.environ, reason="takes minutes: set GANKIT_KILLS=1")
@pytest.mark.parametrize(("name", "options"), cases())
def test_fifty_steps(name, options):
    """They come no further apart than two runs of one process whose first weights differ in the last digit."""
    options = dict(options)
    preset = options.pop("preset", None)
    variant, data, resolved = small(name, preset, **options)
    with in_double():
        start = prepared(variant, data, resolved)
        noise = torch.Generator().manual_seed(0)
        rounded = {
            key: value * (1 + 1e-15 * torch.randn(value.shape, generator=noise)) if value.is_floating_point() else value
            for key, value in start.items()
        }
        run = partial(trained, variant, data, resolved, steps=50, batch_size=4, accumulate=2)
        (alone,) = run(size=1, start=start)
        (other,) = run(size=1, start=rounded)
        grown, _ = apart(alone, other)
        for one in run(size=2, start=start):
            off, where = apart(alone, one)
            assert off < max(1e-7, 10 * grown), where


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("augment", [{}, {"flip": True, "crop": 0.25, "diff": ("color", "translation", "cutout")}])
def test_batch_norm_dropout_and_augmentation(size, augment):
    resolved = resolve(Tiny, Blobs, variant="tiny", dataset="blobs", options={"augment": augment, "repeat": 2})
    data = Blobs(BlobsConfig(count=21), "train")  # batches run across the ends of epochs
    with in_double():
        (alone,) = trained(Tiny, data, resolved, 1, 20, batch_size=8)
        for one in trained(Tiny, data, resolved, size, 20, batch_size=8):
            off, where = apart(alone, one)
            assert off < 1e-9, where


def test_every_process_has_rows_of_its_own():
    """Else they would agree without having shared anything."""
    seen = []

    class Watched(Blobs):
        def batch(self, indices):
            seen.append(sorted(indices.tolist()))
            return super().batch(indices)

    resolved = resolve(Tiny, Blobs, variant="tiny", dataset="blobs", options={})
    trained(Tiny, Watched(BlobsConfig(count=8), "train"), resolved, 4, 1, batch_size=8)
    assert sorted(index for rows in seen for index in rows) == list(range(8))
    assert [len(rows) for rows in seen] == [2] * 4


def test_a_batch_that_cannot_be_shared():
    resolved = resolve(Tiny, Blobs, variant="tiny", dataset="blobs", options={"batch_size": 10})
    with pytest.raises(UsageError, match=r"10 cannot be shared evenly by 4 processes. Use --batch-size 8"):
        Session(Tiny(resolved.options), Blobs(BlobsConfig(), "train"), resolved, World(0, 4))
    small = replace(resolved, run=resolved.run.model_copy(update={"batch_size": 1}))
    with pytest.raises(UsageError, match="Use --batch-size 2"):
        Session(Tiny(small.options), Blobs(BlobsConfig(), "train"), small, World(0, 2))


def sessions(variant, world):
    resolved = resolve(variant, Blobs, variant="tiny", dataset="blobs", options={"batch_size": 8, "device": "cpu"})
    return Session(variant(resolved.options), Blobs(BlobsConfig(), "train"), resolved, world)


class Drawn(Tiny):
    """Draws for its own samples what the other process draws for its."""

    def fake(self, step):
        label = F.one_hot(step.batch["label"], self.classes).float()
        noise = torch.randn(step.size, 4, generator=step.generator)
        return step.networks["generator"](torch.cat([noise, label], 1))


class Coupled(Tiny):
    """Compares samples with those of one process alone."""

    def generator_loss(self, step):
        fake = step.shared("fake", lambda: self.fake(step))
        return {"alike": fake.flatten(1).var(0).log().mean()}


class Kept(Tiny):
    """Keeps what it has seen of its own samples."""

    def networks(self, spec):
        seen = nn.Module()
        seen.register_buffer("mean", torch.zeros(()))
        return {**super().networks(spec), "seen": seen}

    def discriminator_loss(self, step):
        step.networks["seen"].mean.copy_(step.batch["label"].float().mean())
        return super().discriminator_loss(step)


class Uneven(Tiny):
    """Asks for what depends on the samples of one process."""

    def generator_loss(self, step):
        terms = super().generator_loss(step)
        if whole_batch.rows(torch.arange(whole_batch.whole(1)))[0] == 0:  # of the first process
            terms["more"] = whole_batch.mean(terms["adversarial"])
        return terms


@pytest.mark.parametrize(
    ("variant", "complaint"),
    [
        (Drawn, r"phase 'discriminator': the gradient of 'discriminator' is \d+% off"),
        (Coupled, r"phase 'generator': the gradient of 'generator' is \d+% off"),
        (Kept, r"the buffer seen.mean is \d+% off"),
        (Uneven, "two processes do not train together"),
    ],
)
def test_the_check_tells_authors(variant, complaint):
    with pytest.raises(Failed, match=complaint) as caught:
        check_processes(sessions(variant, ALONE), lambda world: sessions(variant, world))
    assert "whole_batch" in str(caught.value)
    assert "agree" in check_processes(sessions(Tiny, ALONE), lambda world: sessions(Tiny, world))


def test_processes_that_have_come_apart():
    """Seen by all at once, where the next checkpoint is due."""

    def work(world):
        session = sessions(Kept, world)
        session.begin()
        session.train_step(0)
        session.look_back(1, ["log"])
        with pytest.raises(PluginError, match=r"step 1: seen\.mean is no longer the same in all processes"):
            session.look_back(1, ["log", "save"])
        return True

    assert together(2, work) == [True, True]


def test_a_nan_is_seen_by_all():
    def work(world):
        meter = Meter(world)
        meter.add(3, "generator", {"loss": torch.tensor(float("nan") if world.rank else 1.0)})
        with pytest.raises(TrainingDiverged, match="step 4: phase 'generator', loss term 'loss' is nan"):
            meter.drain()
        return world.rank

    assert together(3, work) == [0, 1, 2]
