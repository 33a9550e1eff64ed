"""Kills and signals, at any moment: what is saved, and that the run can go on."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
import tiny_gan
from tiny_gan import SMALL, Blobs, BlobsConfig, Tiny
from training_helpers import Stop, final, numbers

import gankit
from gankit.errors import UsageError
from gankit.events import Note, RunInterrupted, Saved
from gankit.runs import checkpoint

STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def _nothing_goes_on_training():
    """A test that fails must not leave its processes behind."""
    yield
    for process in STARTED:
        process.kill()
        process.wait()
    STARTED.clear()


def start(*arguments: object) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, tiny_gan.__file__, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    STARTED.append(process)
    return process


def wait_for(condition, process, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition() and process.poll() is None:
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.002)


def test_killed_again_and_again(tmp_path):
    """SIGKILL at random moments of training and saving; the end is that of the run nobody touched."""
    steps = 240
    process = start("train", tmp_path / "whole", steps)
    assert process.wait(120) == 0, process.stdout.read()
    whole = tmp_path / "whole" / "tiny-blobs" / "0001"

    dice = random.Random(0)
    run = tmp_path / "parts" / "tiny-blobs" / "0001"
    process = start("train", tmp_path / "parts", steps)
    kills = 0
    for _ in range(3):
        seen = set((run / "checkpoints").glob("step-*"))
        wait_for(lambda seen=seen: set((run / "checkpoints").glob("step-*")) - seen, process)
        time.sleep(dice.random() * 0.15)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
        with (run / "log.jsonl").open("a") as log:
            log.write('{"step": 7, "unfin')  # as if the kill had come within a line
        process = start("resume", run)
    assert process.wait(120) == 0, process.stdout.read()
    assert kills >= 2
    assert final(run, steps) == final(whole, steps)
    logs = [[json.loads(line) for line in (p / "log.jsonl").read_text().splitlines()] for p in (run, whole)]
    assert numbers(logs[0]) == numbers(logs[1])
    assert not list((run / "checkpoints").glob(".tmp*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_saves_and_says_how_to_go_on(tmp_path, number):
    process = start("train", tmp_path, 100_000)
    run = tmp_path / "tiny-blobs" / "0001"
    wait_for(lambda: (run / "checkpoints" / "step-000003").exists(), process)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert f"Go on with: gankit resume {run}" in output
    names = sorted(p.name for p in (run / "checkpoints").glob("step-*"))
    assert f"stopped after step {int(names[-1][5:])}." in output
    checkpoint.verify(run / "checkpoints" / names[-1])


def test_interrupted_within_one_process(tmp_path):
    def interrupt(event):
        if isinstance(event, Saved) and event.step == 5:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(RunInterrupted) as caught:
        gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path, on_event=interrupt, **SMALL)
    assert caught.value.exit_code == 130
    assert signal.getsignal(signal.SIGINT) is before
    run = gankit.open_run(tmp_path / "tiny-blobs", Tiny, Blobs)
    assert run.steps == 5
    assert run.resume().finished


def test_a_kill_between_a_checkpoint_and_the_names_that_point_at_it(tmp_path, monkeypatch):
    class Judged(Tiny):
        metric = "accuracy"

    scores = iter([0.2, 0.9])
    monkeypatch.setattr(
        "gankit.training.trainer.evaluate_now", lambda *args, **kwargs: {"metrics": {"accuracy": next(scores)}}
    )
    run = gankit.train(Judged, Blobs(BlobsConfig()), out=tmp_path, **SMALL, eval_every=6)
    assert (run.directory.best, run.directory.latest) == ("step-000012", "step-000012")
    for name in ("latest", "best"):
        (run.directory.store / name).write_text("step-000010\n")
    run.resume()
    assert (run.directory.best, run.directory.latest, run.finished) == ("step-000012", "step-000012", True)


def test_an_interruption_that_cannot_be_told_is_heeded(tmp_path):
    """The stream may be closed, or in the middle of the write that the signal interrupts."""

    def listen(event):
        if isinstance(event, Note):
            raise RuntimeError("reentrant call")
        if isinstance(event, Saved) and event.step == 5:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(RunInterrupted, match=r"stopped after step [56]"):
        gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path, on_event=listen, **SMALL)


def test_a_reader_that_is_gone_is_not_a_disk_that_is_full(tmp_path):
    def listen(event):
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path, on_event=listen, **SMALL)


def test_killed_before_the_first_checkpoint(tmp_path):
    def stop(event):
        raise Stop

    with pytest.raises(Stop):
        gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path / "a", on_event=stop, **SMALL)
    run = gankit.open_run(tmp_path / "a" / "tiny-blobs", Tiny, Blobs)
    assert run.directory.checkpoints() == []
    assert run.steps == 0
    with pytest.raises(UsageError, match="no checkpoint yet"):
        run.sample()
    run.resume()
    whole = gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path / "b", **SMALL)
    assert final(run.path, 12) == final(whole.path, 12)
