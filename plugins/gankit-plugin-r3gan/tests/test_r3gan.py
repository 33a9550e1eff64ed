"""The variant in training: its losses by hand, schedules, presets, resuming, and that it learns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from gankit_plugin_r3gan import R3GAN
from torch.nn import functional as F

import gankit
from gankit.api import make_session
from gankit.errors import UsageError
from gankit.run import Run
from gankit.training.session import Session

TINY = {"batch_size": 8, "sample_n": 10, "width": 8, "z": 8, "eval_every": 0, "data": {"size": 8}}


def session(**options: object) -> Session:
    made = make_session("r3gan", "digits", **{**TINY, "steps": 10, "augment_p": 0.0, "device": "cpu", **options})
    made.begin()
    return made


@pytest.mark.usefixtures("one_thread")
def test_losses_are_those_of_the_paper() -> None:
    made = session(gamma=3.0)
    step = made.new_step(0)
    judge, images = made.networks["discriminator"], step.batch["image"]
    terms = made.variant._discriminator(step)
    fakes = step.shared("fakes", lambda: None).detach()
    real, fake = images.clone().requires_grad_(), fakes.clone().requires_grad_()
    logits = judge(real), judge(fake)
    slopes = [
        torch.autograd.grad(one.sum(), x)[0].square().sum((1, 2, 3)).mean()
        for one, x in zip(logits, (real, fake), strict=True)
    ]
    assert terms["pairs"].item() == pytest.approx(F.softplus(logits[1] - logits[0]).mean().item(), rel=1e-5)
    assert terms["penalty"].item() == pytest.approx(1.5 * float(sum(slopes)), rel=1e-4)
    mirrored = made.variant._generator(step)["pairs"]
    assert mirrored.item() == pytest.approx(F.softplus(logits[0] - logits[1]).mean().item(), rel=1e-5)


@pytest.mark.usefixtures("one_thread")
def test_approximate_penalty_is_near_the_exact_one() -> None:
    """The same weights and batch; the finite differences averaged over many directions."""
    exact, approx = session(gamma=2.0), session(gamma=2.0, penalty="approx")
    for one in (exact, approx):
        for _ in range(3):
            one.train_step(0)
    for name, network in approx.networks.items():
        network.load_state_dict(exact.networks[name].state_dict())
    step = exact.new_step(5)
    want = exact.variant._judged(step, step.batch["image"])[2].item()
    with torch.no_grad():
        drawn = [approx.variant._judged(step, step.batch["image"])[2].item() for _ in range(300)]
    assert sum(drawn) / len(drawn) == pytest.approx(want, rel=0.1)


def test_gamma_grows_with_pixels_and_everything_goes_its_way_by_one_ramp() -> None:
    made = session(optim={"until": 0.5, "lr_end": 5e-5})
    variant = made.variant
    step = made.new_step(0)
    assert variant.gamma(made.spec, 1.0) == 10 * 8 * 8 / 1024
    assert session(gamma=3.0).variant.gamma(made.spec, 1.0) == 3
    seen = []
    for index in (0, 1, 4, 5, 9):
        step.index = index
        seen.append(variant.gamma(made.spec, variant.ramp(step)) / variant.gamma(made.spec, 1.0))
    assert seen[0] == 1
    assert seen == sorted(seen, reverse=True)
    assert seen[3] == seen[4] == pytest.approx(0.1)
    optimizer = made.turns["discriminator"].optimizers[0]
    optimizer.schedule(5, 10)
    assert optimizer.optimizer.param_groups[0]["betas"] == pytest.approx((0.0, 0.99))
    assert optimizer.optimizer.param_groups[0]["lr"] == pytest.approx(5e-5)


@pytest.mark.usefixtures("one_thread")
def test_lazy_penalties_come_now_and_then_and_weigh_as_much() -> None:
    eager, lazy = session(), session(penalty_every=3)
    each = [made.variant._discriminator(made.new_step(0)) for made in (eager, lazy)]
    assert each[1]["pairs"].item() == each[0]["pairs"].item()
    assert each[1]["penalty"].item() == pytest.approx(3 * each[0]["penalty"].item(), rel=1e-5)
    terms = [set(lazy.variant._discriminator(lazy.new_step(index))) for index in range(1, 4)]
    assert terms == [{"pairs"}, {"pairs"}, {"pairs", "penalty"}]
    for index in range(4):
        lazy.train_step(index)
    lazy.meter.drain()
    assert {"discriminator/penalty", "discriminator/r1"} <= set(lazy.meter.means())


@pytest.mark.usefixtures("one_thread")
def test_augmentation_comes_in_with_the_ramp_or_follows_the_discriminator() -> None:
    made = session(augment={"diff": ("cutout",)}, augment_p=1.0)
    step = made.new_step(0)
    images = torch.ones(8, 1, 8, 8)
    assert torch.equal(made.variant._augment(step, images), images)
    step.index = 9
    assert (made.variant._augment(step, images) == 0).flatten(1).any(1).all()
    made = session(adaptive=True, adaptive_images=40, augment={"diff": ("cutout",)}, augment_p=1.0)
    ada, step = made.networks["ada"], made.new_step(9)
    assert torch.equal(made.variant._augment(step, images), images)  # p is 0, whatever augment_p says
    for _ in range(4):
        ada.adapt(torch.ones(8))  # of a discriminator that is sure of all its reals
    assert ada.p == pytest.approx(4 * 8 / 40)
    ada.p.fill_(1.0)
    assert (made.variant._augment(step, images) == 0).flatten(1).any(1).all()
    made.train_step(0)
    assert ada.calls == 5


@pytest.mark.usefixtures("one_thread")
def test_an_adaptive_probability_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match=r"there are none: .*augment.diff"):
        session(adaptive=True).train_step(0)


@pytest.mark.usefixtures("one_thread")
def test_the_direction_of_san_goes_apart_and_keeps_its_length() -> None:
    """The weights of the last layer alone follow its term, along which reals and fakes come apart."""
    made = session(san=True, gamma=0.0, optim={"lr": 1e-2, "lr_end": 1e-2})
    judge, step = made.networks["discriminator"], made.new_step(0)
    terms = made.variant._discriminator(step)
    (slope,) = torch.autograd.grad(terms["direction"], judge.head.weight)

    def apart() -> float:
        with torch.no_grad():
            fakes = step.shared("fakes", lambda: None)
            return float(
                (judge.direction(judge.features(step.batch["image"])) - judge.direction(judge.features(fakes))).mean()
            )

    before = apart()
    with torch.no_grad():
        judge.head.weight -= 0.1 * slope / slope.norm()
        made.variant._unit_length(step)
    assert apart() > before
    made.train_step(1)
    assert judge.head.weight.norm(dim=1).item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("widths", [(0, 64), (-8, 64), ()])
def test_widths_that_are_none_are_refused(widths: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"widths.*at least 1"):
        session(widths=widths)


def test_classes_may_have_another_key(tmp_path: Path) -> None:
    options = {**TINY, "data": {"size": 16, "groups": ("activities",)}}
    with pytest.raises(UsageError, match=r"no classes under the key 'hue'; give class_key one of group"):
        gankit.train("r3gan", "emoji", out=tmp_path, steps=1, conditional=True, class_key="hue", **options)
    run = gankit.train("r3gan", "emoji", out=tmp_path, steps=1, conditional=True, **options)
    assert [record["group"] for record in run.sample(2).records] == ["activities"] * 2


@pytest.mark.parametrize("preset", ["default", "paper"])
@pytest.mark.usefixtures("one_thread")
def test_every_preset_runs_and_samples(preset: str, tmp_path: Path) -> None:
    narrow = {"widths": (16, 8)} if preset == "paper" else {"width": 8}
    small = {"steps": 2, "batch_size": 8, "sample_n": 9, "eval_every": 0, "data": {"size": 8}, **narrow}
    run = gankit.train("r3gan", "digits", preset=preset, out=tmp_path, **small)
    samples = run.sample(3)
    assert samples.images.shape == (3, 1, 8, 8)
    assert R3GAN.presets[preset]["steps"] > 2


@pytest.mark.parametrize(
    "options",
    [
        {"penalty": "approx", "augment": {"diff": ("translation", "cutout")}},
        {"adaptive": True, "conditional": True, "san": True, "augment": {"diff": ("color",)}},
        {"penalty_every": 4},
    ],
)
def test_a_run_killed_and_resumed_is_the_run_never_stopped(
    options: dict[str, object], resumes_exactly: Callable[..., Run]
) -> None:
    resumes_exactly("r3gan", "digits", steps=6, **TINY, **options)


@pytest.mark.usefixtures("one_thread")
def test_the_class_that_is_asked_for_is_drawn(tmp_path: Path) -> None:
    """150 steps on the digits in their own 8x8: most samples are what was asked for, where a tenth would be chance."""
    options = {"steps": 150, "batch_size": 32, "width": 16, "conditional": True, "sample_every": 0, "eval_every": 0}
    fast = {"optim": {"lr": 6e-3, "lr_end": 5e-4}, "ema": 0.9, "gamma": 0.2, "data": {"size": 8}}
    run = gankit.train("r3gan", "digits", out=tmp_path, **options, **fast)
    metrics = run.evaluate(300)["metrics"]
    assert metrics["accuracy"] >= 0.35
    assert metrics["diversity"] > 0.4
