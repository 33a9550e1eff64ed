"""The dry run: what it says is what would be."""

from __future__ import annotations

import pytest
import torch
from tiny_gan import SMALL, Blobs, BlobsConfig, Tiny
from torch import nn

from gankit.api import make_session, plan
from gankit.errors import UsageError
from gankit.ops import patchgan_g_loss
from gankit.plugin import Phase
from gankit.training.plan import activations


def make_plan(variant=Tiny, **options):
    (only,) = plan(variant, Blobs(BlobsConfig()), **{**SMALL, **options})
    return only


def test_it_says_what_would_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = make_plan(repeat=2).to_dict()
    session = make_session(Tiny, Blobs(BlobsConfig()), **SMALL)
    counts = {name: sum(p.numel() for p in net.parameters()) for name, net in session.networks.items()}
    assert {n["name"]: n["parameters"] for n in said["networks"]} == counts
    assert [n["averaged"] for n in said["networks"]] == [True, False]
    assert [(p["name"], p["repeat"], p["updates"]) for p in said["phases"]] == [
        ("discriminator", 2, ["discriminator"]),
        ("generator", 1, ["generator"]),
    ]
    assert said["data"] == {"image": "image 1x8x8", "label": "class, one of 3"}
    assert said["memory"]["gradients"] == 4 * sum(counts.values())
    assert said["memory"]["optimizers"] == 8 * sum(counts.values())
    assert said["samples"] == 20
    assert not list(tmp_path.iterdir())


def test_of_several_processes_it_says_what_each_needs():
    alone, each = make_plan(), make_plan(processes=4)
    assert (each.processes, each.batch_size) == (4, alone.batch_size)
    assert each.memory["batch"] * 4 == alone.memory["batch"]
    assert 0 < each.memory["activations"] < alone.memory["activations"]
    with pytest.raises(UsageError, match="8 cannot be shared evenly by 3 processes"):
        make_plan(processes=3)


class Chain(Tiny):
    """Layers whose kept activations can be counted by hand."""

    def networks(self, spec):
        return {"net": nn.Sequential(nn.Linear(64, 64, bias=False), nn.Tanh(), nn.Linear(64, 64, bias=False))}

    def phases(self):
        def loss(step):
            return {"x": step.networks["net"](step.batch["image"].flatten(1)).sum()}

        return [Phase(name="p", updates=("net",), loss=loss)]

    def sample(self, networks, request):
        return networks["net"](request.noise(request.n, 64)).view(-1, 1, 8, 8)

    averaged = ()


def test_activations_are_counted_and_grow_with_the_batch():
    # each linear layer keeps its input (the second's is the tanh's output, which the tanh keeps too)
    small = make_plan(Chain, batch_size=8).memory["activations"]
    assert small == 2 * 8 * 64 * 4
    assert make_plan(Chain, batch_size=80).memory["activations"] == 10 * small
    assert make_plan(Chain, batch_size=8, precision="bf16").memory["activations"] == small // 2


class Careful(Chain):
    """Its loss asks for the device by name, switches autocast off, and is gankit's own."""

    def phases(self):
        def loss(step):
            with torch.autocast(step.batch["image"].device.type, enabled=False):
                return {"x": patchgan_g_loss(step.networks["net"](step.batch["image"].flatten(1)))}

        return [Phase(name="p", updates=("net",), loss=loss)]


def test_losses_of_the_toolkit_without_autocast_are_counted():
    assert make_plan(Careful, batch_size=8).memory["activations"] >= 2 * 8 * 64 * 4


class Peeking(Chain):
    """Its loss looks at values, which a step without data does not have."""

    def phases(self):
        def loss(step):
            assert step.batch["image"].max().item() <= 1
            return {"x": step.networks["net"](step.batch["image"].flatten(1)).sum()}

        return [Phase(name="p", updates=("net",), loss=loss)]


def test_a_loss_that_needs_values_leaves_activations_out():
    made = make_plan(Peeking)
    memory = made.memory
    assert memory["activations"] is None
    assert made.unknown.startswith("the losses cannot be run without data")
    assert make_plan().unknown == ""
    assert memory["total"] == sum(v for k, v in memory.items() if v is not None and k != "total")


def test_planning_changes_nothing():
    session = make_session(Tiny, Blobs(BlobsConfig()), **SMALL)
    before = {k: v.clone() for k, v in session.networks["generator"].state_dict().items()}
    state = session.generator.get_state()
    assert activations(session) > 0
    assert all(torch.equal(v, before[k]) for k, v in session.networks["generator"].state_dict().items())
    assert torch.equal(state, session.generator.get_state())
    assert session.loader.state_dict()["streams"][""]["position"] == 0
