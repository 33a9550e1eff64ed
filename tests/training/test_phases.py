"""Phases: whose optimiser steps, when, with what; and what is said of gradients that would be wrong."""

from __future__ import annotations

import json
import math

import pytest
import torch
from phase_toys import CPU, SGD, Toy, loss
from tiny_gan import SMALL, Blobs, BlobsConfig, Tiny

import gankit
from gankit.errors import PluginError
from gankit.plugin import Optim, Phase
from gankit.training.step import TrainStep


def both(step):
    return {"sum": loss("a")(step)["a"] + loss("b")(step)["b"]}


def weights(toy: Toy) -> list[torch.Tensor]:
    return [p.detach().clone() for name in ("a", "b") for p in toy.networks[name].parameters()]


def test_an_optimiser_for_each_network_in_one_backward_is_as_two_phases():
    fast, slow = Optim(lr=0.1), Optim(kind="rmsprop", lr=0.01)
    one = Toy(Phase(name="p", updates=("a", "b"), loss=both, optim={"a": fast, "b": slow}))
    two = Toy(
        Phase(name="p", updates=("a",), loss=loss("a"), optim=fast),
        Phase(name="q", updates=("b",), loss=loss("b"), optim=slow),
    )
    one.run(5)
    two.run(5)
    assert all(torch.equal(x, y) for x, y in zip(weights(one), weights(two), strict=True))
    assert one.turns[0].rates(5, 10) == {"p/a": 0.1, "p/b": 0.01}
    state = one.turns[0].state_dict()
    again = Toy(one.turns[0].phase)
    again.turns[0].load_state_dict(state)
    assert again.turns[0].state_dict().keys() == state.keys() == {*state}
    assert any(key.startswith("b.") for key in state)


def test_a_phase_that_shares_steps_the_earlier_phases_optimiser():
    """Its moments and its learning rate: the two together are one phase with two turns."""
    optim = Optim(lr=0.1, schedule="linear", hold=0.0)
    shared = Toy(
        Phase(name="p", updates=("a", "b"), loss=both, optim=optim),
        Phase(name="q", updates=("a",), loss=lambda step: {"r1": loss("a")(step)["a"] * 3}, shares="p", every=2),
    )
    before = weights(shared)
    shared.run(4)
    assert not torch.equal(before[0], weights(shared)[0])
    assert shared.turns[1].optimizers == shared.turns[0].optimizers
    state = shared.turns[0].optimizers[0].optimizer.state
    assert float(state[shared.networks["a"].weight]["step"]) == 6  # 4 turns of p, 2 of q
    assert float(state[shared.networks["b"].weight]["step"]) == 4  # not stepped by q
    assert shared.turns[1].state_dict() == {}
    assert shared.turns[0].rates(4, 10) == {"p": pytest.approx(0.07)}
    assert shared.turns[1].rates(4, 10) == {"q": pytest.approx(0.08)}  # which rested at step 3


def test_the_rate_of_a_phase_that_rests_is_that_of_its_last_turn():
    optim = Optim(lr=1.0, schedule="linear", hold=0.0)
    toy = Toy(Phase(name="p", updates=("a",), loss=loss("a"), optim=optim, every=4))
    rates = [toy.turns[0].rates(done, 20)["p"] for done in (0, 1, 4, 5, 8, 9)]
    assert rates == pytest.approx([1.0, 1.0, 1.0, 0.8, 0.8, 0.6])
    toy.run(5)
    assert toy.turns[0].rates(5, 10)["p"] == toy.turns[0].optimizers[0].optimizer.param_groups[0]["lr"]


def test_a_loss_of_other_networks_alone_is_refused():
    """Gradients with respect to the phase's own would all be missing, and nothing be trained."""
    with pytest.raises(PluginError, match="phase 'p': no term of its loss depends on a parameter of a"):
        Toy(Phase(name="p", updates=("a",), loss=loss("b"))).run()


@pytest.mark.parametrize(
    "change",
    [
        {"scale": 0.0},
        {"scale": float("inf")},
        {"scale": "1"},
        {"scale": None},
        {"growth_interval": 0},
        {"growth_interval": 2.5},
        {"_growth_tracker": -1},
        {"more": 1},
    ],
)
def test_a_scalers_state_that_is_none_is_refused(change):
    toy = Toy(Phase(name="p", updates=("a",), loss=loss("a"), optim=SGD))
    turn = toy.turns[0]
    turn.scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    toy.run()
    state = turn.state_dict()
    turn.load_state_dict(state)
    with pytest.raises(ValueError, match="gradient scaler"):
        turn.load_state_dict({**state, "scaler": {**state["scaler"], **change}})


def test_after_comes_after_the_step_without_gradients():
    def clip(step):
        assert not torch.is_grad_enabled()
        step.log("largest", step.networks["a"].weight.abs().max())
        for p in step.networks["a"].parameters():
            p.clamp_(-0.01, 0.01)

    toy = Toy(Phase(name="p", updates=("a",), loss=loss("a"), optim=SGD, after=clip))
    toy.run()
    assert toy.networks["a"].weight.abs().max() <= 0.01
    assert toy.step.take_logged()["largest"] > 0.01


def test_repeat_may_depend_on_the_step():
    turns = []
    phase = Phase(
        name="p",
        updates=("a",),
        loss=lambda step: turns.append(step.index) or loss("a")(step),
        repeat=lambda step: 3 if step < 2 else 1,
        every=2,
    )
    Toy(phase).run(5)
    assert turns == [0, 0, 0, 2, 4]


@pytest.mark.parametrize("number", [0, -1, 1.5, True, None, "3"])
def test_a_repeat_that_is_no_number_of_turns_is_refused(number):
    toy = Toy(Phase(name="p", updates=("a",), loss=loss("a"), repeat=lambda step: number))
    with pytest.raises(PluginError, match=r"phase 'p': repeat\(0\) is .*; it must be a whole number from 1 on"):
        toy.run()
    if number is not None:
        with pytest.raises(PluginError, match=r"phase 'p': every \(1\) and repeat \(.*\) are whole numbers"):
            Toy(Phase(name="p", updates=("a",), loss=loss("a"), repeat=number))


WRONG = {
    "unknown network": (Phase(name="q", updates=("c",), loss=both), "'q': updates 'c'; the networks are a, b"),
    "no network": (Phase(name="q", updates=(), loss=both), "'q': it has no parameters to train"),
    "optimiser missing": (
        Phase(name="q", updates=("a", "b"), loss=both, optim={"a": SGD}),
        "'q': `optim` is by network and lacks 'b'; the phase updates a, b",
    ),
    "optimiser too many": (
        Phase(name="q", updates=("a",), loss=both, optim={"a": SGD, "z": SGD}),
        "'q': `optim` is by network and names 'z'; the phase updates a",
    ),
    "shares unknown": (
        Phase(name="q", updates=("a",), loss=both, shares="r"),
        "'q': shares the optimiser of 'r'; the phases before it are: p",
    ),
    "shares itself": (
        Phase(name="q", updates=("a",), loss=both, shares="q"),
        "'q': shares the optimiser of 'q'; the phases before it are: p",
    ),
    "shares too little": (
        Phase(name="q", updates=("a", "b"), loss=both, shares="p"),
        "'q': updates 'b', but 'p', whose optimiser it shares, updates a alone",
    ),
    "shares and has one": (
        Phase(name="q", updates=("a",), loss=both, shares="p", optim=SGD),
        "'q': shares the optimiser of 'p' and has an `optim` too",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_a_phase_is_named(case):
    phase, text = WRONG[case]
    with pytest.raises(PluginError) as caught:
        Toy(Phase(name="p", updates=("a",), loss=both), phase)
    assert text in str(caught.value)


class Logging(Tiny):
    """Logs what it does not minimise; one of the values is not a number."""

    def generator_loss(self, step):
        step.log("index", torch.tensor(float(step.index)))
        step.log("undefined", torch.tensor(float("nan")))
        assert step.steps == 12
        assert step.spec.classes() == 3
        return super().generator_loss(step)


def test_what_is_logged_may_be_nan_and_the_log_is_json(tmp_path):
    run = gankit.train(Logging, Blobs(BlobsConfig()), out=tmp_path, **SMALL)
    lines = (run.path / "log.jsonl").read_text().splitlines()
    rows = [json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON")) for line in lines]
    assert [row["generator/index"] for row in rows] == [1.5, 5.5, 9.5]
    assert [row["generator/undefined"] for row in rows] == [None] * 3


def test_a_logged_state_is_the_value_at_that_time():
    toy = Toy(Phase(name="p", updates=("a",), loss=loss("a")))
    kept = torch.zeros(1)
    toy.step.log("state", kept)
    kept.add_(1)
    assert toy.step.take_logged()["state"] == 0
    with pytest.raises(PluginError, match=r"step\.log\('v'\) takes a scalar tensor, not \(2,\)"):
        toy.step.log("v", torch.zeros(2))
    with pytest.raises(PluginError, match="not float"):
        toy.step.log("v", 1.0)


def test_noise_of_a_step_that_is_filled_anew_is_that_of_a_new_one():
    step = TrainStep(10, 2, CPU, {}, torch.Generator().manual_seed(1), dict, None)
    generator = torch.Generator().manual_seed(1)
    places = set()
    for index in range(3):
        step.begin(index)
        for shape in ((2, 5), (3,), (2, 5)):
            noise = step.noise(*shape)
            assert torch.equal(noise, torch.randn(shape, generator=generator))
            if len(shape) == 2:
                places.add(noise.data_ptr())
            noise.requires_grad_(index == 0)
    assert len(places) == 4  # two, and two more after a loss had asked for gradients of the first two


@pytest.mark.parametrize(("kind", "name"), [("adam", "betas"), ("rmsprop", "alpha"), ("sgd", "momentum")])
def test_scheduled_betas_reach_the_optimiser(kind, name):
    optim = Optim(kind=kind, betas=(0.4, 0.8), betas_end=(0.8, 0.4), schedule="linear", hold=0.0)
    toy = Toy(Phase(name="p", updates=("a",), loss=loss("a"), optim=optim))
    toy.run(6)
    expected = {"betas": (0.6, 0.6), "alpha": 0.6, "momentum": 0.6}[name]
    assert toy.turns[0].optimizers[0].optimizer.param_groups[0][name] == pytest.approx(expected)


def test_losses_scaled_for_two_optimisers_and_a_shared_one():
    """What fp16 on CUDA uses, here with the scaler of the CPU."""
    phases = (
        Phase(name="p", updates=("a", "b"), loss=both, optim={"a": SGD, "b": SGD}),
        Phase(name="q", updates=("a",), loss=loss("a"), shares="p"),
    )
    plain, scaled = Toy(*phases), Toy(*phases)
    for turn in scaled.turns:
        turn.scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    for toy in (plain, scaled):
        toy.run(2)
    for one, other in zip(weights(plain), weights(scaled), strict=True):
        torch.testing.assert_close(one, other)
    assert all(math.isfinite(float(p.sum())) for p in weights(scaled))
    assert set(scaled.turns[1].state_dict()) == {"scaler"}
