"""What a step called for and did not get, because a signal came, a reader went or a disk was full, is done later."""

from __future__ import annotations

import errno
import os
import signal
from types import SimpleNamespace

import pytest
import torch
from tiny_gan import SMALL, Blobs, BlobsConfig, Tiny
from training_helpers import final, numbers

import gankit
from gankit import files
from gankit.cli.explain import explain
from gankit.errors import GankitError
from gankit.events import Evaluated, Finished, Logged, Progress, RunInterrupted, Sampled
from gankit.options.run import RunConfig
from gankit.plugin import DataSpec, Key
from gankit.runs.log import JsonLines
from gankit.training.after_step import still_owed

EVALUATED = {**SMALL, "eval_every": 6, "eval_n": 8}


class Judged(Tiny):
    metric = "accuracy"


def fake_evaluation(session, test, *, tell, **rest):
    """Takes long, unless it is stopped; its verdict depends on the weights alone."""
    for done in range(3):
        tell(Progress(what="judging", done=done, total=3))
    return {"metrics": {"accuracy": float(session.networks["generator"][0].weight.detach().sum().sigmoid())}}


@pytest.fixture(autouse=True)
def _quick_judge(monkeypatch):
    monkeypatch.setattr("gankit.training.trainer.evaluate_now", fake_evaluation)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gankit.training.trainer.evaluate_now", fake_evaluation)
        return gankit.train(Judged, Blobs(BlobsConfig()), out=tmp_path_factory.mktemp("whole"), **EVALUATED)


def start(tmp_path, listen):
    return gankit.train(Judged, Blobs(BlobsConfig()), out=tmp_path, on_event=listen, **EVALUATED)


def same(run, whole):
    assert final(run.path, 12) == final(whole.path, 12)
    assert numbers(run.log) == numbers(whole.log)
    assert (run.directory.best, run.directory.latest) == (whole.directory.best, whole.directory.latest)
    for name in ("000006.png", "000012.png"):
        assert (run.path / "samples" / name).read_bytes() == (whole.path / "samples" / name).read_bytes()
    assert (run.path / "evaluation.json").read_bytes() == (whole.path / "evaluation.json").read_bytes()
    assert run.finished


@pytest.mark.parametrize("at", [6, 12])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_an_evaluation_which_is_done_when_the_run_goes_on(tmp_path, whole, number, at):
    told = []

    def listen(event):
        told.append(event)
        evaluation = sum(isinstance(e, Progress) and e.done == 0 for e in told)
        if isinstance(event, Progress) and event.done == 1 and evaluation == at // 6:
            os.kill(os.getpid(), number)

    with pytest.raises(RunInterrupted, match=rf"stopped after step {at}\. Go on with: gankit resume"):
        start(tmp_path, listen)
    assert not any(isinstance(event, Evaluated) and event.step == at for event in told)
    run = gankit.open_run(tmp_path / "judged-blobs", Judged, Blobs)
    assert (run.steps, run.finished) == (at, False)
    events = []
    run.resume(on_event=events.append)
    assert [event.step for event in events if isinstance(event, Evaluated)] == [s for s in (6, 12) if s >= at]
    assert not [event for event in events if isinstance(event, Sampled) and event.step == at]
    same(run, whole)


def test_a_reader_that_went_costs_nothing(tmp_path, whole):
    def listen(event):
        if isinstance(event, Logged) and event.step == 8:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        start(tmp_path, listen)
    run = gankit.open_run(tmp_path / "judged-blobs", Judged, Blobs)
    assert run.steps == 8
    same(run.resume(), whole)


def full(path, *args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def open_of(folder: str, is_full):
    """What gankit.files opens with; `is_full` says whether the disk that `folder` lies on is."""
    return lambda path, *a, **k: (full if path.parent.name == folder and is_full() else open)(path, *a, **k)


@pytest.mark.parametrize("what", ["log", "sheet"])
def test_a_disk_that_is_full_costs_nothing(tmp_path, whole, monkeypatch, what):
    """What cannot be written at step 6 or 8 is written when the run goes on, from that step."""
    told = []
    with monkeypatch.context() as patch:
        if what == "log":
            write = JsonLines.write
            patch.setattr(
                JsonLines, "write", lambda self, row: full(self.path) if row["step"] == 8 else write(self, row)
            )
        else:
            logged = lambda: any(isinstance(event, Logged) for event in told)  # noqa: E731
            patch.setattr(files, "open", open_of("samples", logged), raising=False)
        with pytest.raises(GankitError) as caught:
            start(tmp_path, told.append)
    run = gankit.open_run(tmp_path / "judged-blobs", Judged, Blobs)
    step, name = (8, "log.jsonl") if what == "log" else (6, "samples/000006.png")
    assert str(caught.value) == (
        f"{run.path / name} could not be written at step {step}: No space left on device\n"
        f"Step {step} is saved. Go on with: gankit resume {run.path}"
    )
    assert run.steps == step
    same(run.resume(), whole)


class Numbers(Blobs):
    """What is drawn is no image: sheets are .npy."""

    @property
    def spec(self):
        return DataSpec(keys={**super().spec.keys, "heights": Key(kind="vector", shape=(64,))})

    def batch(self, indices):
        rows = super().batch(indices)
        return {**rows, "heights": rows["image"].flatten(1).float()}


class Heights(Tiny):
    """Draws numbers."""

    produces = ("heights",)

    def sample(self, networks, request):
        return super().sample(networks, request).flatten(1)


class Pictured(Tiny):
    """Has a figure."""

    def figures(self, networks, request):
        return {"plot": torch.zeros(4, 4, 3, dtype=torch.uint8)}


@pytest.mark.parametrize(
    ("variant", "data", "name"), [(Heights, Numbers, "000006.npy"), (Pictured, Blobs, "000006-plot.png")]
)
def test_nor_for_numbers_and_figures(tmp_path, monkeypatch, variant, data, name):
    def replace_unless_full(source, target):
        (full if target.name == name else os.replace)(*(target,) if target.name == name else (source, target))

    with monkeypatch.context() as patch:
        patch.setattr(files, "os", SimpleNamespace(**{**vars(os), "replace": replace_unless_full}))
        with pytest.raises(GankitError) as caught:
            gankit.train(variant, data(BlobsConfig()), out=tmp_path, **SMALL)
    run = gankit.open_run(next(tmp_path.iterdir()), variant, data)
    assert str(caught.value) == (
        f"{run.path / 'samples' / name} could not be written at step 6: No space left on device\n"
        f"Step 6 is saved. Go on with: gankit resume {run.path}"
    )
    assert (run.steps, run.finished) == (6, False)
    assert run.resume().finished
    assert (run.path / "samples" / name).exists()


def test_a_log_on_a_full_disk_in_earnest(tmp_path, whole):
    """/dev/full takes no byte."""

    def listen(event):
        if isinstance(event, Logged) and event.step == 4:
            log.rename(log.with_suffix(".kept"))
            trainer_log = next(o for o in __import__("gc").get_objects() if isinstance(o, JsonLines) and o.path == log)
            trainer_log._file.close()
            trainer_log._file = open("/dev/full", "ab", buffering=0)  # noqa: SIM115

    log = tmp_path / "judged-blobs" / "0001" / "log.jsonl"
    with pytest.raises(GankitError, match=r"log\.jsonl could not be written at step 6: No space left"):
        start(tmp_path, listen)
    log.with_suffix(".kept").rename(log)
    same(gankit.open_run(log.parent, Judged, Blobs).resume(), whole)


def test_nothing_at_all_can_be_written(tmp_path, monkeypatch):
    """Neither the log nor a checkpoint: the error says what there is."""

    def listen(event):
        if isinstance(event, Logged) and event.step == 4:
            monkeypatch.setattr(JsonLines, "write", lambda self, row: full(self.path))
            monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(GankitError) as caught:
        start(tmp_path, listen)
    run = tmp_path / "judged-blobs" / "0001"
    assert "log.jsonl could not be written at step 6" in str(caught.value) or "saving step 5 failed" in str(
        caught.value
    )
    assert f"gankit resume {run}" in str(caught.value)


def test_a_second_ctrl_c_stops_without_saving(tmp_path):
    def listen(event):
        if isinstance(event, Logged) and event.step == 8:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        start(tmp_path, listen)
    assert gankit.open_run(tmp_path / "judged-blobs", Judged, Blobs).steps == 6


def test_nohup_is_respected(tmp_path):
    def listen(event):
        if isinstance(event, Logged):
            os.kill(os.getpid(), signal.SIGHUP)
        told.append(event)

    told: list = []
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        start(tmp_path, listen)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert isinstance(told[-1], Finished)


class Fragile(Judged):
    """Cannot be drawn from while it is broken."""

    broken = False

    def sample(self, networks, request):
        if self.broken:
            raise KeyError("colour")
        return super().sample(networks, request)


def test_a_sample_that_cannot_be_drawn_costs_nothing(tmp_path, monkeypatch):
    def listen(event):
        monkeypatch.setattr(Fragile, "broken", isinstance(event, Logged))

    with pytest.raises(KeyError, match="colour") as caught:
        gankit.train(Fragile, Blobs(BlobsConfig()), out=tmp_path, on_event=listen, **SMALL)
    monkeypatch.setattr(Fragile, "broken", False)
    run = gankit.open_run(tmp_path / "fragile-blobs", Fragile, Blobs)
    assert caught.value.__notes__ == [f"This was at step 12. Step 12 is saved. Go on with: gankit resume {run.path}"]
    assert explain(caught.value)[1].splitlines()[-1] == caught.value.__notes__[0]
    assert (run.steps, run.finished) == (12, False)
    assert not (run.path / "samples" / "000012.png").exists()
    assert run.resume().finished
    assert (run.path / "samples" / "000012.png").exists()


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), ZeroDivisionError("measure")])
def test_an_evaluation_that_fails_each_time_can_be_left_out(tmp_path, monkeypatch, error):
    def fails(*args, **kwargs):
        raise type(error)(*error.args)

    monkeypatch.setattr("gankit.training.trainer.evaluate_now", fails)
    run = tmp_path / "judged-blobs" / "0001"
    for go_on in (lambda: start(tmp_path, lambda event: None), lambda: gankit.open_run(run, Judged, Blobs).resume()):
        with pytest.raises(type(error)) as caught:
            go_on()
        (note,) = caught.value.__notes__
        assert f"Step 6 is saved. Go on with: gankit resume {run} (eval_every = 0 in {run / 'config.toml'}" in note
    config = (run / "config.toml").read_text()
    (run / "config.toml").write_text(config.replace("eval_every = 6", "eval_every = 0"))
    assert gankit.open_run(run, Judged, Blobs).resume().finished


def test_what_is_still_owed():
    run = RunConfig(steps=12, eval_every=0, sample_every=0, log_every=4)
    everything = ["log", "sample", "evaluate", "save"]
    assert still_owed(run, 6, everything) == ["save"]
    assert still_owed(run, 8, everything) == ["log", "save"]
    assert still_owed(run, 12, everything) == ["log", "sample", "save"]
    assert still_owed(run, 0, ["sample", "save"]) == ["sample", "save"]
