"""Networks without parameters: what a variant keeps beside weights is saved, listed and goes on bit for bit."""

from __future__ import annotations

import pytest
import torch
from tiny_gan import SMALL, Blobs, BlobsConfig, Tiny
from torch.nn import functional as F
from training_helpers import Stop, final, stop_at

import gankit
from gankit.api import plan
from gankit.events import RunStarted
from gankit.nn import ImagePool, State
from gankit.plugin import Optim, Phase


class Keeping(Tiny):
    """An image pool, a counter of turns, a lazy penalty that shares an optimiser, and clipped weights."""

    averaged = ("generator", "state")

    def networks(self, spec):
        state = State(turns=torch.zeros((), dtype=torch.int64), mean=torch.zeros(()))
        return {**super().networks(spec), "pool": ImagePool(10, spec.shape_of("image")), "state": state}

    def phases(self):
        return [
            Phase(
                name="discriminator",
                updates=("discriminator", "state"),
                loss=self.discriminator_loss,
                optim={"discriminator": Optim(lr=1e-2), "state": Optim()},
                after=self.clip,
                repeat=lambda step: 2 if step < 3 else 1,
            ),
            Phase(name="penalty", updates=("discriminator",), loss=self.penalty, shares="discriminator", every=3),
            Phase(name="generator", updates=("generator",), loss=self.generator_loss, optim=Optim(lr=1e-3)),
        ]

    def discriminator_loss(self, step):
        fake = step.networks["pool"].query(step.shared("fake", lambda: self.fake(step)), step.generator)
        d = step.networks["discriminator"]
        return {"loss": F.softplus(-d(step.batch["image"])).mean() + F.softplus(d(fake)).mean()}

    def penalty(self, step):
        real = step.batch["image"].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(step.networks["discriminator"](real).sum(), real, create_graph=True)
        return {"r1": gradient.square().sum((1, 2, 3)).mean() * 3}

    def clip(self, step):
        state = step.networks["state"]
        state.update(turns=state.turns + 1, mean=0.9 * state.mean + 0.1 * step.batch["image"].mean())
        step.log("mean", state.mean)
        for p in step.networks["discriminator"].parameters():
            p.clamp_(-0.1, 0.1)


def test_it_goes_on_bit_for_bit_and_is_listed(tmp_path):
    events = []
    whole = gankit.train(Keeping, Blobs(BlobsConfig()), out=tmp_path / "a", on_event=events.append, **SMALL)
    with pytest.raises(Stop):
        gankit.train(Keeping, Blobs(BlobsConfig()), out=tmp_path / "b", on_event=stop_at(5), **SMALL)
    run = gankit.open_run(tmp_path / "b" / "keeping-blobs", Keeping, Blobs).resume()
    assert final(run.path, 12) == final(whole.path, 12)
    (started,) = [event for event in events if isinstance(event, RunStarted)]
    assert (started.parameters["pool"], started.parameters["state"]) == (0, 0)
    networks = whole.networks()
    assert int(networks["state"].turns) == 12 + 3
    assert int(networks["pool"].filled) == 10
    assert max(float(p.abs().max()) for p in networks["discriminator"].parameters()) < 0.101
    row = whole.log[-1]
    assert row["lr"] == {"discriminator": 0.01, "penalty": 0.01, "generator": 0.001}
    assert row["discriminator/mean"] == pytest.approx(float(networks["state"].mean), rel=0.5)
    assert {"penalty/r1", "generator/adversarial"} <= row.keys()


def test_it_is_planned():
    (said,) = plan(Keeping, Blobs(BlobsConfig()), **SMALL)
    phases = {phase["name"]: phase for phase in said.phases}
    assert phases["penalty"]["shares"] == "discriminator"
    assert phases["discriminator"]["repeat"] == "by step"
    assert [one["lr"] for one in phases["discriminator"]["optimizers"]] == [0.01]
    assert {network["name"]: network["parameters"] for network in said.networks}["pool"] == 0
