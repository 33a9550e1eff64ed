"""A run that was stopped, however it was, ends as if it had not been."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_gan
import torch
from safetensors.torch import load_file
from tiny_gan import SMALL, Blobs, BlobsConfig, Tiny

import gankit
from gankit.errors import GankitError, UsageError
from gankit.training import checkpoint
from gankit.training.events import Finished, Note, RunInterrupted, Saved, TrainingDiverged


def final(run_path: Path, step: int) -> dict[str, bytes]:
    """The bytes of every tensor file of a checkpoint."""
    folder = run_path / "checkpoints" / f"step-{step:06d}"
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def numbers(log: list[dict]) -> list[dict]:
    """The rows without what the clock says."""
    return [{k: v for k, v in row.items() if k not in ("seconds", "samples_per_second")} for row in log]


class Stop(Exception):
    pass


def stop_at(step: int):
    """Raises from within the run, just after the checkpoint of `step`: nothing is tidied up as a signal's would be."""

    def listen(event):
        if isinstance(event, Saved) and event.step >= step:
            raise Stop

    return listen


CASES = {
    "plain": {},
    "repeat, every": {"repeat": 2, "every": 3},
    "accumulate": {"accumulate": 2, "batch_size": 5},
    "bf16": {"precision": "bf16"},
    "augmented": {"augment": {"flip": True, "crop": 2, "diff": ("color", "translation", "cutout")}},
    "no average": {"ema": 0.0},
    "schedule": {"optim": {"schedule": "cosine", "lr": 1e-2}},
    "rmsprop": {"optim": {"kind": "rmsprop"}},
    "sgd": {"optim": {"kind": "sgd", "betas": (0.9, 0.0)}},
    "channels_last": {"memory_format": "channels_last"},
    "threads": {"workers": 3},
}


@pytest.mark.parametrize("case", CASES)
def test_resumed_bit_for_bit(tmp_path, case):
    options = {**SMALL, **CASES[case]}
    whole = gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path / "whole", **options)
    with pytest.raises(Stop):
        gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path / "parts", on_event=stop_at(5), **options)
    run = gankit.open_run(tmp_path / "parts" / "tiny-blobs", Tiny, Blobs)
    assert run.steps == 5
    assert not run.finished
    torch.randn(7)  # the caller's own random numbers do not matter
    with pytest.raises(Stop):
        run.resume(on_event=stop_at(10))
    run = gankit.open_run(run.path, Tiny, Blobs).resume()
    assert run.finished
    assert final(run.path, 12) == final(whole.path, 12)
    assert numbers(run.log) == numbers(whole.log)
    assert (run.path / "samples" / "000012.png").read_bytes() == (whole.path / "samples" / "000012.png").read_bytes()


def test_the_same_seed_is_the_same_run_and_another_is_not(tmp_path):
    runs = [gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path, **SMALL, seed=seed) for seed in (1, 1, 2)]
    weights = [final(run.path, 12) for run in runs]
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]


def test_training_leaves_the_callers_random_state_alone(tmp_path):
    before = torch.get_rng_state()
    gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path, **SMALL).sample(3)
    assert torch.equal(before, torch.get_rng_state())


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
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


def test_a_finished_run_says_so_and_takes_more_steps(tmp_path):
    run = gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path, **SMALL)
    events = []
    run.resume(on_event=events.append)
    assert [type(e) for e in events] == [Note]
    assert "is finished at step 12. For more: --steps 24" in events[0].text
    with pytest.raises(UsageError, match="has 12 steps already"):
        run.resume(steps=8)
    run.resume(steps=15, on_event=events.append)
    assert isinstance(events[-1], Finished)
    assert gankit.open_run(run.path, Tiny, Blobs).config.run.steps == 15
    longer = gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path, **{**SMALL, "steps": 15})
    assert final(run.path, 15) == final(longer.path, 15)


def test_a_damaged_newest_checkpoint_is_passed_over_and_said(tmp_path):
    run = gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path, **SMALL)
    expected = final(run.path, 12)
    damaged = run.path / "checkpoints" / "step-000012" / "weights.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:100])
    with pytest.raises(GankitError, match="newest intact checkpoint is step-000010"):
        run.sample(2)
    assert run.sample(2, checkpoint="step-000010").images.shape == (2, 1, 8, 8)
    events = []
    run.resume(on_event=events.append)
    assert "Skipped a damaged checkpoint" in events[0].text
    assert str(damaged) in events[0].text
    assert final(run.path, 12) == expected
    for name in run.directory.checkpoints():
        (run.path / "checkpoints" / name / "state.json").write_text("{")
    with pytest.raises(GankitError, match="none of the checkpoints is intact"):
        gankit.open_run(run.path, Tiny, Blobs).resume()


def test_a_checkpoint_is_looked_through_once(tmp_path, monkeypatch):
    run = gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path, **SMALL)
    looked = []
    digest = checkpoint._digest
    monkeypatch.setattr(checkpoint, "_digest", lambda path: looked.append(path) or digest(path))
    run.resume(steps=13)
    read = [path.name for path in looked if path.parent.name == "step-000012"]
    assert sorted(read) == ["ema.safetensors", "optimizers.safetensors", "weights.safetensors"]


def test_more_steps_although_the_newest_checkpoint_is_damaged(tmp_path):
    run = gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path, **SMALL)
    (run.path / "checkpoints" / "step-000012" / "state.json").write_text("{")
    again = gankit.open_run(run.path, Tiny, Blobs)
    assert again.resume(steps=15).steps == 15
    assert again.directory.latest == "step-000015"


def test_a_kill_between_a_checkpoint_and_the_names_that_point_at_it(tmp_path, monkeypatch):
    class Judged(Tiny):
        metric = "accuracy"

    scores = iter([0.2, 0.9])
    monkeypatch.setattr("gankit.training.trainer.judge", lambda *args, **kwargs: {"accuracy": next(scores)})
    run = gankit.train(Judged, Blobs(BlobsConfig()), out=tmp_path, **SMALL, eval_every=6)
    assert (run.directory.best, run.directory.latest) == ("step-000012", "step-000012")
    for name in ("latest", "best"):
        (run.directory.store / name).write_text("step-000010\n")
    run.resume()
    assert (run.directory.best, run.directory.latest, run.finished) == ("step-000012", "step-000012", True)


class Slashed(Tiny):
    """A phase whose name is a path."""

    def phases(self):
        return [replace(phase, name=f"turn/{phase.name}") for phase in super().phases()]


def test_a_phase_with_a_slash_in_its_name(tmp_path):
    with pytest.raises(Stop):
        gankit.train(Slashed, Blobs(BlobsConfig()), out=tmp_path / "a", on_event=stop_at(5), **SMALL)
    run = gankit.open_run(tmp_path / "a" / "slashed-blobs", Slashed, Blobs).resume()
    whole = gankit.train(Slashed, Blobs(BlobsConfig()), out=tmp_path / "b", **SMALL)
    assert final(run.path, 12) == final(whole.path, 12)


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


@pytest.mark.parametrize("poison", [0, 7])
def test_nan_stops_the_run_and_names_step_and_term(tmp_path, poison):
    with pytest.raises(TrainingDiverged) as caught:
        gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path, **SMALL, poison=poison)
    text = str(caught.value)
    assert f"step {poison + 1}: phase 'generator', loss term 'adversarial' is nan" in text
    good = "step-000000" if poison == 0 else "step-000005"
    assert good in text
    run = gankit.open_run(tmp_path / "tiny-blobs", Tiny, Blobs)
    assert run.directory.latest == good
    assert all(t.isfinite().all() for t in load_file(run.directory.store / good / "weights.safetensors").values())


class Infected(Tiny):
    """Its losses stay finite while a weight that no loss looks at does not."""

    def networks(self, spec):
        networks = super().networks(spec)
        networks["generator"].register_parameter("idle", torch.nn.Parameter(torch.ones(1)))
        return networks

    def generator_loss(self, step):
        if step.index == 6:
            step.networks["generator"].idle.data.fill_(float("inf"))
        return super().generator_loss(step)


def test_a_checkpoint_is_never_made_of_weights_that_are_not_finite(tmp_path):
    with pytest.raises(TrainingDiverged, match=r"step 10: weight generator\.idle is not finite"):
        gankit.train(Infected, Blobs(BlobsConfig()), out=tmp_path, **SMALL)
    run = gankit.open_run(tmp_path / "infected-blobs", Infected, Blobs)
    assert run.directory.checkpoints() == ["step-000000", "step-000005"]


def test_a_checkpoint_of_another_variant_is_refused(tmp_path):
    run = gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path, **SMALL)
    other = gankit.train(Infected, Blobs(BlobsConfig()), out=tmp_path, **{**SMALL, "steps": 2})
    target = run.path / "checkpoints" / "step-000012"
    checkpoint.write(target, checkpoint.read(other.path / "checkpoints" / "step-000002"))
    for use in (run.sample, run.resume):
        with pytest.raises(UsageError, match="the checkpoint is of variant 'infected', not 'tiny'"):
            use()


def test_a_dataset_that_changed_is_refused(tmp_path):
    with pytest.raises(Stop):
        gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path, on_event=stop_at(5), **SMALL)
    config = tmp_path / "tiny-blobs" / "0001" / "config.toml"
    config.write_text(config.read_text().replace("count = 20", "count = 21"))
    with pytest.raises(UsageError, match=r"20 samples .* now 21"):
        gankit.open_run(config.parent, Tiny, Blobs).resume()


def test_another_device_or_torch_is_said(tmp_path, monkeypatch):
    with pytest.raises(Stop):
        gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path, on_event=stop_at(5), **SMALL)
    folder = tmp_path / "tiny-blobs" / "0001" / "checkpoints" / "step-000005"
    saved = checkpoint.read(folder)
    state = {k: v for k, v in saved.state.items() if k not in ("format", "files")}
    random_state = {**state["random"], "run": checkpoint.encode_bytes(torch.zeros(16, dtype=torch.uint8))}
    saved.state = {**state, "device": "cuda", "random": random_state}
    checkpoint.write(folder, saved)
    events = []
    run = gankit.open_run(tmp_path / "tiny-blobs", Tiny, Blobs).resume(on_event=events.append)
    assert run.finished
    assert any("so far on cuda" in e.text and "will differ" in e.text for e in events if isinstance(e, Note))


def test_a_log_that_cannot_be_written_is_one_error(tmp_path, monkeypatch):
    def full(self, row):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gankit.training.log.JsonLines.write", full)
    with pytest.raises(GankitError, match=r"failed: .*No space left(.|\n)*last good checkpoint is .*step-000000"):
        gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path, **SMALL)


def test_a_run_being_trained_is_not_touched(tmp_path):
    with pytest.raises(Stop):
        gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path, on_event=stop_at(5), **SMALL)
    run = gankit.open_run(tmp_path / "tiny-blobs", Tiny, Blobs)
    before = (run.path / "config.toml").read_bytes()
    with run.directory.lock(), pytest.raises(UsageError, match="is being trained"):
        run.resume(steps=50)
    assert (run.path / "config.toml").read_bytes() == before
