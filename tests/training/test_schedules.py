"""Schedules of learning rates, decay rates and averages: pure functions of the step."""

from __future__ import annotations

import pytest

from gankit.options.run import RunConfig
from gankit.plugin import Optim
from gankit.training.optim import scheduled_betas, scheduled_ema, scheduled_lr


@pytest.mark.parametrize(
    ("optim", "lr", "betas"),
    [
        (Optim(lr=1.0, lr_end=0.2, schedule="linear", hold=0.0, until=0.5), {0: 1.0, 25: 0.6, 50: 0.2, 99: 0.2}, {}),
        (Optim(lr=1.0, lr_end=2.0, schedule="cosine", hold=0.0), {0: 1.0, 50: 1.5, 100: 2.0}, {}),
        (
            Optim(lr=1.0, betas=(0.5, 0.9), betas_end=(0.0, 0.99), schedule="linear", hold=0.2, until=0.6),
            {20: 1.0, 40: 0.5, 60: 0.0},
            {20: (0.5, 0.9), 40: (0.25, 0.945), 60: (0.0, 0.99), 90: (0.0, 0.99)},
        ),
        (Optim(lr=1.0, betas_end=(0.1, 0.2)), {50: 1.0}, {50: (0.5, 0.999)}),
    ],
)
def test_schedules_end_where_they_say(optim, lr, betas):
    for step, expected in lr.items():
        assert scheduled_lr(optim, step, 100) == pytest.approx(expected), step
    for step, expected in betas.items():
        assert scheduled_betas(optim, step, 100) == pytest.approx(expected), step


def test_a_schedule_that_ends_before_it_begins_is_refused():
    with pytest.raises(ValueError, match=r"until \(0\.4\) must be more than hold \(0\.5\)"):
        Optim(schedule="linear", until=0.4)


def test_the_decay_of_averages_may_go_from_one_value_to_another():
    assert [scheduled_ema(RunConfig(steps=100), step) for step in (0, 99)] == [0.999, 0.999]
    run = RunConfig(steps=100, ema=0.9, ema_start=0.5, ema_until=0.5)
    assert [scheduled_ema(run, step) for step in (0, 25, 50, 99)] == pytest.approx([0.5, 0.7, 0.9, 0.9])
