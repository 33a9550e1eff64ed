"""Networks by torch.compile: the losses, gradients and draws of networks as they are written."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial

import pytest
import torch
from every_variant import small
from in_double import apart, in_double, trained
from tiny_gan import Blobs, BlobsConfig, Tiny
from torch import nn
from training_helpers import Stop, final, stop_at, train

import gankit
from gankit.discovery.entry_points import variants
from gankit.errors import PluginError
from gankit.events import Note
from gankit.losses import r1_penalty
from gankit.options.resolve import resolve
from gankit.processes import World
from gankit.training.session import Session

WHOLE = "GANKIT_COMPILE" in os.environ
"""Whether code is made for every variant, as a training makes it: minutes. Else what torch has traced is run."""


@pytest.fixture
def traced(monkeypatch):
    """Graphs are traced, taken apart and put together again by autograd, without code of their own."""
    if not WHOLE:
        compile = torch.compile
        monkeypatch.setattr(torch, "compile", lambda called, **_: compile(called, dynamic=False, backend="aot_eager"))
    torch._dynamo.utils.counters.clear()
    yield
    torch._dynamo.reset()


def gradients(session):
    """Of a step whose optimisers do nothing: by phase, those of all its parameters in a row, and of each apart."""
    found = {}

    def take(turn):
        kept = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in turn.parameters]
        found.setdefault(turn.name, []).append(kept)

    for turn in session.turns:
        for one in turn.optimizers[:1]:
            one.optimizer.step = partial(take, turn)
        for one in turn.optimizers[1:]:
            one.optimizer.step = lambda: None
    session.train_step(0)
    session.close()
    return found


@pytest.mark.parametrize("name", variants())
def test_gradients_of_every_variant(name, traced):
    variant, data, resolved = small(name)
    options = resolved.run.model_copy(update={"workers": 0, "device": "cpu", "precision": "float32", "batch_size": 4})
    start, found = None, []
    for compile in (False, True):
        run = options.model_copy(update={"compile": compile})
        session = Session(variant(resolved.options), data, replace(resolved, run=run))
        torch.manual_seed(0)
        if start is None:
            session.begin()
            start = {key: value.clone() for key, value in session.weights.state_dict().items()}
        session.weights.load_state_dict(start)
        torch.manual_seed(1)
        session.generator.manual_seed(1)
        found.append(gradients(session))
    written, compiled = found
    assert written.keys() == compiled.keys()
    for phase, turns in written.items():
        for ours, theirs in zip(turns, compiled[phase], strict=True):
            size = torch.stack([g.norm() for g in ours]).norm()
            assert size > 0
            worst = max(float((a - b).norm() / size) for a, b in zip(ours, theirs, strict=True))
            assert worst < 1e-4, phase


def test_a_run_and_its_resumption(tmp_path):
    """By the compiler itself: what is killed and goes on ends as what is not, and draws as what is not compiled."""
    told = []
    short = {"hidden": 4, "steps": 6, "checkpoint_every": 3}
    written = train(tmp_path / "written", **short)
    whole = train(tmp_path / "whole", compile=True, on_event=told.append, **short)
    with pytest.raises(Stop):
        train(tmp_path / "stopped", compile=True, on_event=stop_at(3), **short)
    stopped = next((tmp_path / "stopped").glob("*/*"))
    gankit.open_run(stopped, variant=Tiny, dataset=Blobs).resume()
    assert final(stopped, 6) == final(whole.path, 6)
    one, other = (run.sample(3, label=1).images for run in (written, whole))
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)
    assert sum(isinstance(event, Note) and "compiled" in event.text for event in told) == 1


class Slopes(Tiny):
    """With a penalty on what its discriminator says of reals."""

    def discriminator_loss(self, step):
        slope = self.slope(step.networks["discriminator"], step.batch["image"])
        return {**super().discriminator_loss(step), "slope": slope}

    def slope(self, judge, image):
        return r1_penalty(judge, image)


class Twice(Slopes):
    """Takes the gradient of a gradient by itself."""

    def slope(self, judge, image):
        image = image.clone().requires_grad_()
        return torch.autograd.grad(judge(image).sum(), image, create_graph=True)[0].square().mean()


def test_a_penalty(traced):
    resolved = resolve(Slopes, Blobs, variant="tiny", dataset="blobs", options={"batch_size": 4})
    step = partial(trained, Slopes, Blobs(BlobsConfig(), "train"), resolved, 1, 3)
    with in_double():
        off, where = apart(*step(), *step(compile=True))
    assert off < 1e-9, where


class Plain(Slopes):
    """With a discriminator without dropout."""

    def networks(self, spec):
        networks = super().networks(spec)
        networks["discriminator"][2] = nn.Identity()
        return networks


def test_several_processes(traced):
    """A network with batch norm or dropout, which exchange and draw for all, stays as written; another is compiled."""
    resolved = resolve(Plain, Blobs, variant="tiny", dataset="blobs", options={"batch_size": 4, "repeat": 2})
    data = Blobs(BlobsConfig(), "train")
    step = partial(trained, Plain, data, resolved, steps=3)
    made = torch._dynamo.utils.counters["stats"]
    with in_double():
        (alone,) = step(size=1)
        assert not made["unique_graphs"]
        for one in step(size=2, compile=True):
            off, where = apart(alone, one)
            assert off < 1e-9, where
    assert made["unique_graphs"] > 0
    run = replace(resolved, run=resolved.run.model_copy(update={"compile": True, "device": "cpu", "workers": 0}))
    for size, kept in ((1, []), (2, ["generator"])):
        session = Session(Plain(resolved.options), data, run, World(0, size))
        assert session.as_written == kept
        session.close()


def test_a_second_derivative_by_hand_says_what_to_do(traced, tmp_path):
    with pytest.raises(
        PluginError, match=r"'discriminator': .* a gradient of a gradient.*as_written.* without compile"
    ):
        train(tmp_path, Twice, compile=True)


def test_a_compiler_that_fails_says_what_to_do(tmp_path, monkeypatch):
    def compiler(graph, inputs):
        raise OSError("no room for what is compiled")

    compile = torch.compile
    monkeypatch.setattr(torch, "compile", lambda called, **_: compile(called, backend=compiler))
    with pytest.raises(PluginError, match=r"torch.compile failed: .*\. Train without compile"):
        train(tmp_path, compile=True)
    torch._dynamo.reset()


def test_what_is_drawn_is_not_compiled(tmp_path, traced):
    """Else every batch size that is drawn would be, in eval mode."""
    seen = []

    class Watched(Tiny):
        averaged = ()  # so that what is drawn from is what is trained

        def sample(self, networks, request):
            before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
            drawn = super().sample(networks, request)
            seen.append(torch._dynamo.utils.counters["stats"]["unique_graphs"] - before)
            return drawn

    train(tmp_path, Watched, compile=True, sample_every=3)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    assert seen
    assert not any(seen)
