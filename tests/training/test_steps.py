"""What a step does: gradients where they belong, shared fakes, repeats, accumulation, averages, schedules."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from tiny_gan import SMALL, Blobs, Tiny
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from gankit.errors import PluginError
from gankit.options.resolve import resolve
from gankit.plugin import Optim, Phase
from gankit.training.ema import Ema
from gankit.training.optim import make_optimizer, scheduled_lr
from gankit.training.session import Session
from gankit.training.step import TrainStep
from gankit.training.turn import Turn

CPU = torch.device("cpu")


class Fixed(TrainStep):
    """A step outside of any session, with `batch` as it is given."""

    def __init__(self, batch=None):
        super().__init__(1, 1, CPU, {}, torch.Generator(), lambda: batch, None)


def make_session(variant: type[Tiny] = Tiny, data: dict | None = None, **options) -> Session:
    options = {**SMALL, **options, "data": data or {}}
    resolved = resolve(variant, Blobs, variant="tiny", dataset="blobs", options=options)
    session = Session(variant(resolved.options), Blobs(resolved.data), resolved)
    session.begin()
    return session


def test_only_the_phases_networks_get_gradients():
    session = make_session()
    g, d = (list(session.networks[name].parameters()) for name in ("generator", "discriminator"))
    step = session.new_step(0)
    session.turns["discriminator"].run([step])
    assert all(p.grad is not None for p in d)
    assert all(p.grad is None for p in g)
    kept = [p.grad.clone() for p in d]
    session.turns["generator"].run([step])
    assert all(p.grad is not None for p in g)
    assert all(torch.equal(p.grad, old) for p, old in zip(d, kept, strict=True))  # nothing was added


def test_no_weight_gradients_are_computed_for_the_network_in_between():
    """The generator's turn runs back through the discriminator: one of its two backward products, not both."""
    generator, discriminator = nn.Linear(16, 16), nn.Linear(16, 16)
    networks = {"g": generator, "d": discriminator}
    phase = Phase(
        name="g", updates=("g",), loss=lambda step: {"x": discriminator(generator(step.batch)).square().mean()}
    )
    turn = Turn(phase, networks, "float32", CPU)
    with FlopCounterMode(display=False) as counter:
        turn.run([Fixed(torch.randn(16, 16))])
    product = 2 * 16**3
    # forward of both, input gradient of d, weight gradient of g
    assert counter.get_total_flops() == 4 * product


def test_fakes_are_drawn_once_a_step():
    session = make_session()
    calls = []
    session.networks["generator"].register_forward_hook(lambda *args: calls.append(1))
    session.train_step(0)
    assert len(calls) == 1


def test_a_repeated_turn_sees_a_batch_of_its_own_and_every_skips():
    session = make_session(repeat=3, every=2)
    calls = []
    session.networks["generator"].register_forward_hook(lambda *args: calls.append(1))
    session.train_step(0)
    assert len(calls) == 3
    assert session.loader.state_dict()["streams"] == {"": {"length": 20, "epoch": 1, "position": 4}}
    session.train_step(1)  # the generator rests, its fakes are still the discriminator's
    assert len(calls) == 6
    phases = [phase for _, phase, *_ in session.meter._pending]
    assert phases == ["discriminator"] * 3 + ["generator"] + ["discriminator"] * 3


def test_a_batch_is_read_only_when_asked_for():
    session = make_session()
    step = session.new_step(0)
    before = session.loader.state_dict()
    assert step.batch is step.batch
    assert before["streams"][""]["position"] == 0
    assert session.loader.state_dict()["streams"][""]["position"] == 8
    image = step.batch["image"]
    assert image.dtype is torch.float32
    assert -1 <= image.min() <= image.max() <= 1


class Plain(Tiny):
    """Without batch norm, dropout and noise: then a batch in two halves is the same batch."""

    def networks(self, spec):
        self.classes = spec.classes()
        size = spec.image_shape[1]
        generator = nn.Sequential(nn.Linear(self.classes, size * size), nn.Tanh(), nn.Unflatten(1, (1, size, size)))
        return {"generator": generator, "discriminator": nn.Sequential(nn.Flatten(), nn.Linear(size * size, 1))}

    def fake(self, step):
        label = nn.functional.one_hot(step.batch["label"], self.classes).float()
        return step.networks["generator"](label)

    def sample(self, networks, request):
        return networks["generator"](nn.functional.one_hot(request.batch["label"], self.classes).float())


def test_accumulating_two_halves_is_the_whole_batch():
    sgd = {"kind": "sgd", "betas": (0.0, 0.0), "lr": 0.1}
    whole = make_session(Plain, batch_size=8, optim=sgd)
    halves = make_session(Plain, batch_size=4, accumulate=2, optim=sgd)
    for index in range(5):
        whole.train_step(index)
        halves.train_step(index)
    for a, b in zip(whole.networks["generator"].parameters(), halves.networks["generator"].parameters(), strict=True):
        torch.testing.assert_close(a, b)
    assert whole.loader.state_dict() == halves.loader.state_dict()


def test_ema_follows_its_formula_and_copies_buffers():
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    ema = Ema({"net": net}, decay=0.9)
    expected = net[0].weight.detach().clone()
    for t in range(30):
        with torch.no_grad():
            net[0].weight.add_(torch.randn(2, 2))
        net(torch.randn(4, 2))
        ema.update()
        decay = min(0.9, (1 + t) / (10 + t))
        expected = decay * expected + (1 - decay) * net[0].weight.detach()
    torch.testing.assert_close(ema.networks["net"][0].weight, expected)
    ema.sync_buffers()
    assert torch.equal(ema.networks["net"][1].running_mean, net[1].running_mean)
    assert ema.networks["net"][1].num_batches_tracked == 30
    assert not ema.networks["net"].training


def test_ema_keeps_ties():
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    second.weight = first.weight
    ema = Ema({"a": first, "b": second}, 0.5)
    ema.update()
    assert ema.networks["a"].weight is ema.networks["b"].weight
    with torch.no_grad():
        first.weight.zero_()
    before = ema.networks["a"].weight.clone()
    ema.update()
    torch.testing.assert_close(ema.networks["b"].weight, before * (2 / 11))  # once, not twice


@pytest.mark.parametrize(
    ("optim", "at"),
    [
        (Optim(lr=1.0), {0: 1.0, 99: 1.0}),
        (Optim(lr=1.0, schedule="linear", hold=0.5), {0: 1.0, 50: 1.0, 75: 0.5, 100: 0.0}),
        (Optim(lr=1.0, schedule="cosine", hold=0.0), {0: 1.0, 50: 0.5, 100: 0.0}),
        (Optim(lr=1.0, schedule="halve", halvings=3), {0: 1.0, 24: 1.0, 25: 0.5, 50: 0.25, 99: 0.125, 100: 0.125}),
        (Optim(lr=1.0, schedule="halve"), {0: 1.0, 99: 1.0}),
    ],
)
def test_schedules(optim, at):
    for step, expected in at.items():
        assert scheduled_lr(optim, step, 100) == pytest.approx(expected), step


def test_the_schedule_reaches_the_optimiser():
    session = make_session(steps=10, optim={"schedule": "linear", "hold": 0.0, "lr": 0.1})
    for index in range(6):
        session.train_step(index)
    assert session.turns["discriminator"].optimizers[0].optimizer.param_groups[0]["lr"] == pytest.approx(0.05)


@pytest.mark.parametrize("kind", ["adam", "adamw", "rmsprop", "sgd"])
def test_every_optimiser_lowers_a_loss(kind):
    w = nn.Parameter(torch.ones(3))
    optimizer = make_optimizer(Optim(kind=kind, lr=0.05, weight_decay=0.01), [w])
    for _ in range(20):
        w.grad = 2 * w.detach()
        optimizer.step()
    assert w.abs().max() < 0.9


def test_a_non_scalar_term_and_a_loss_without_gradient_are_explained():
    networks = {"g": nn.Linear(2, 2)}
    vector = Phase(name="p", updates=("g",), loss=lambda step: {"v": networks["g"](torch.ones(2))})
    with pytest.raises(PluginError, match=r"'p': term 'v' must be a scalar, its shape is \(2,\)"):
        Turn(vector, networks, "float32", CPU).run([Fixed()])
    flat = Phase(name="p", updates=("g",), loss=lambda step: {"v": torch.tensor(1.0)})
    with pytest.raises(PluginError, match="'p': no term of its loss depends on a parameter of g"):
        Turn(flat, networks, "float32", CPU).run([Fixed()])
    with pytest.raises(PluginError, match="updates 'h'; the networks are g"):
        Turn(Phase(name="p", updates=("h",), loss=flat.loss), networks, "float32", CPU)


def test_frozen_parameters_stay_and_tied_ones_move_once():
    shared = nn.Linear(2, 2)
    shared.bias.requires_grad_(False)
    networks = {"a": shared, "b": nn.Sequential(shared, nn.Linear(2, 1))}
    phase = Phase(name="p", updates=("a", "b"), loss=lambda step: {"v": networks["b"](torch.ones(1, 2)).sum()})
    turn = Turn(phase, networks, "float32", CPU)
    assert turn.names == ["a.weight", "b.1.weight", "b.1.bias"]
    bias = shared.bias.clone()
    turn.run([Fixed()])
    assert torch.equal(shared.bias, bias)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_precision_and_layout(layout, precision):
    session = make_session(memory_format=layout, precision=precision, data={"size": 6})
    seen = []
    session.networks["discriminator"][0].register_forward_hook(lambda m, args, out: seen.append((args[0], out)))
    for index in range(2):
        session.train_step(index)
    session.meter.drain()
    assert all(math.isfinite(v) for v in session.meter.means().values())
    assert seen[0][1].dtype is (torch.bfloat16 if precision == "bf16" else torch.float32)
    weight = session.networks["discriminator"][0].weight
    assert weight.dtype is torch.float32
    if layout == "channels_last":
        assert session.networks["generator"][5].weight.is_contiguous(memory_format=torch.channels_last)


def test_scaled_gradients_give_the_same_step_and_an_overflow_gives_none():
    """What fp16 on CUDA uses, here with the scaler of the CPU."""
    plain, scaled = make_session(Plain), make_session(Plain)
    for turn in scaled.turns:
        turn.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=2)
    for index in range(3):
        plain.train_step(index)
        scaled.train_step(index)
    before = [p.detach().clone() for p in scaled.networks["generator"].parameters()]
    for a, b in zip(plain.networks["generator"].parameters(), before, strict=True):
        torch.testing.assert_close(a, b)
    turn = scaled.turns["generator"]
    state = turn.state_dict()
    assert state["scaler"]["scale"] == 2048.0
    turn.load_state_dict({**state, "scaler": {**state["scaler"], "scale": 2.0**100}})
    small, loss = turn.phase, turn.phase.loss
    turn.phase = replace(small, loss=lambda step: {"large": 1e30 * loss(step)["adversarial"]})
    turn.run([scaled.new_step(3)])
    for p, old in zip(scaled.networks["generator"].parameters(), before, strict=True):
        assert torch.equal(p, old)
    assert turn.scaler.get_scale() == 2.0**99


@pytest.mark.parametrize("kind", ["adam", "adamw", "rmsprop", "sgd"])
def test_an_optimisers_state_comes_back_whole(kind):
    session = make_session(optim={"kind": kind}, memory_format="channels_last")
    for index in range(2):
        session.train_step(index)
    turn = session.turns["generator"]
    (one,) = turn.optimizers
    before = {k: dict(v) for k, v in one.optimizer.state.items()}
    turn.load_state_dict({k: v.contiguous() for k, v in turn.state_dict().items()})
    assert one.optimizer.state.keys() == before.keys()
    for p, state in before.items():
        for name, value in state.items():
            back = one.optimizer.state[p][name]
            assert torch.equal(back, value)
            assert (back.dtype, back.stride(), back.device) == (value.dtype, value.stride(), value.device)
