"""Several threads of one process: torch's random state is shared, and nobody's numbers change."""

from __future__ import annotations

import threading

import pytest
import torch
from tiny_gan import SMALL, Blobs, BlobsConfig, Tiny
from training_helpers import final

import gankit
from gankit.events import Logged
from gankit.random_state import fork_rng

CPU = torch.device("cpu")
OPTIONS = {**SMALL, "steps": 40, "log_every": 2, "sample_every": 7}


def train(out, seed, on_event=None):
    return gankit.train(Tiny, Blobs(BlobsConfig()), out=out, seed=seed, on_event=on_event, **OPTIONS)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return {seed: final(train(tmp_path_factory.mktemp("alone"), seed).path, 40) for seed in (1, 2, 3)}


def in_threads(*jobs):
    results: dict[int, object] = {}

    def call(number, job):
        try:
            results[number] = job()
        except BaseException as error:
            results[number] = error

    threads = [threading.Thread(target=call, args=pair, daemon=True) for pair in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive(), "two threads wait for each other"
    return [results[number] for number in range(len(jobs))]


def test_trainings_in_threads_have_their_seeds_weights(tmp_path, alone):
    before = torch.get_rng_state()
    runs = in_threads(*(lambda seed=seed: train(tmp_path, seed) for seed in (1, 2, 3)))
    for seed, run in zip((1, 2, 3), runs, strict=True):
        assert final(run.path, 40) == alone[seed], seed
    assert torch.equal(torch.get_rng_state(), before)


def test_they_take_turns_and_the_first_does_not_wait_for_the_second(tmp_path):
    order = []
    jobs = [lambda seed=seed: train(tmp_path, seed, lambda e: order.append(seed)) for seed in (1, 2)]
    in_threads(*jobs)
    assert len(set(order[5:15])) == 2
    last = [max(i for i, seed in enumerate(order) if seed == s) for s in (1, 2)]
    first = [order.index(s) for s in (1, 2)]
    assert max(first) < min(last)


def test_sampling_in_a_thread_changes_nothing(tmp_path, alone):
    """Of a training with dropout: it draws from torch's global random state at every step."""
    other = train(tmp_path / "other", 3)
    expected = other.sample(5).images
    started = threading.Event()

    def sample():
        started.wait(60)
        return [other.sample(5).images for _ in range(5)]

    run, drawn = in_threads(lambda: train(tmp_path, 1, lambda event: started.set()), sample)
    assert final(run.path, 40) == alone[1]
    assert all(torch.equal(images, expected) for images in drawn)


def test_a_listener_may_draw_and_may_wait_for_a_thread_that_draws(tmp_path, alone):
    other = train(tmp_path / "other", 3)

    def listen(event):
        torch.rand(3)
        if isinstance(event, Logged) and event.step % 10 == 0:
            (images,) = in_threads(lambda: other.sample(2).images)
            assert torch.equal(images, other.sample(2).images)

    assert final(train(tmp_path, 2, listen).path, 40) == alone[2]


def test_what_a_thread_draws_in_its_turn_is_undone():
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    entered, leave = threading.Event(), threading.Event()

    def hold():
        with fork_rng(CPU) as mine:
            torch.manual_seed(1)
            entered.set()
            while not leave.is_set():
                mine.give_way()
            return torch.rand(1), mine

    thread = threading.Thread(target=lambda: results.append(hold()), daemon=True)
    results: list = []
    thread.start()
    assert entered.wait(10)
    with fork_rng(CPU):
        torch.manual_seed(77)
        with fork_rng(CPU):  # once more in the same thread
            torch.rand(5)
    leave.set()
    thread.join(10)
    torch_alone = torch.Generator().manual_seed(1)
    assert torch.equal(results[0][0], torch.rand(1, generator=torch_alone))
    assert torch.equal(torch.rand(4), expected)
