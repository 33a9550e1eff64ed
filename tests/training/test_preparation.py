"""Work before the first step: shown, interrupted at any moment, and gone on with bit for bit."""

from __future__ import annotations

import os
import signal

import pytest
import torch
from tiny_gan import SMALL, Blobs, BlobsConfig, Tiny
from torch import nn
from training_helpers import final

import gankit
from gankit.errors import GankitError, PluginError
from gankit.events import Note, Progress, RunInterrupted, RunStarted, Saved
from gankit.training import preparation as preparations


class Kept:
    """A variant's own state of a loop, of every kind that can be saved."""

    def __init__(self):
        self.seen = []

    def state_dict(self):
        return {"seen": self.seen, "pair": (1, float("inf")), 3: None, "nested": {"a/b": torch.ones(2), "a": {"b": 2}}}

    def load_state_dict(self, state):
        assert state["pair"] == (1, float("inf"))
        assert state[3] is None
        assert torch.equal(state["nested"]["a/b"], torch.ones(2))
        self.seen = state["seen"]


class Prepared(Tiny):
    """Two loops, each with an optimiser, and random numbers of all kinds within, between and before them."""

    check_options = {}  # noqa: RUF012
    stop_at: int | None = None
    """The iteration, counted over both loops, in which a signal comes."""
    ran: list[int]

    def networks(self, spec):
        return {**super().networks(spec), "encoder": nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout())}

    def prepare(self, preparation):
        type(self).ran = []
        encoder = preparation.networks["encoder"]
        own = torch.Generator().manual_seed(int(torch.randint(1000, (), generator=preparation.generator)))
        for part, kind in enumerate((torch.optim.AdamW, torch.optim.SGD)):
            preparation.report(f"part {part}")
            with torch.no_grad():  # between the loops
                encoder[0].bias.add_(torch.rand(2) + encoder(torch.rand(4, 2, generator=own)).mean())
            self.part(preparation, encoder, own, part, kind(encoder.parameters(), 0.1))

    def part(self, preparation, encoder, own, part, optimizer):
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=9)
        kept = Kept()
        state = {"optimizer": optimizer, "schedule": schedule, "own": own, "kept": kept}
        for index in preparation.loop(8, f"preparing part {part}", **state):
            self.ran.append(8 * part + index)
            noise = torch.randn(4, 2, generator=preparation.generator) + torch.rand(4, 2, generator=own)
            loss = encoder(noise + torch.randn(4, 2)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            kept.seen = [*kept.seen, loss.detach()]
            if 8 * part + index == self.stop_at:
                os.kill(os.getpid(), signal.SIGTERM)
        assert len(kept.seen) == 8
        preparation.networks["generator"][0].bias.data.fill_(float(torch.stack(kept.seen).sum()))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    Prepared.stop_at = None
    return gankit.train(Prepared, Blobs(BlobsConfig()), out=tmp_path_factory.mktemp("whole"), **SMALL)


@pytest.mark.parametrize("stop", [0, 4, 7, 8, 11, 15])
def test_interrupted_and_gone_on_with_bit_for_bit(tmp_path, monkeypatch, whole, stop):
    monkeypatch.setattr(Prepared, "stop_at", stop)
    part, done = divmod(stop + 1, 8) if stop % 8 != 7 else (stop // 8, 8)
    with pytest.raises(RunInterrupted) as caught:
        gankit.train(Prepared, Blobs(BlobsConfig()), out=tmp_path, **SMALL)
    run = tmp_path / "prepared-blobs" / "0001"
    assert f"stopped while preparing part {part} ({done} of 8). Go on with: gankit resume {run}" in str(caught.value)
    assert {p.suffix for p in (run / "checkpoints").rglob("*") if p.is_file()} == {".json", ".safetensors"}
    monkeypatch.setattr(Prepared, "stop_at", None)
    torch.randn(3)
    gankit.open_run(run, Prepared, Blobs).resume()
    assert Prepared.ran == list(range(stop + 1, 16))  # nothing again
    assert final(run, 12) == final(whole.path, 12)
    assert not list((run / "checkpoints").glob("preparation*"))


def test_killed_within_a_loop(tmp_path, monkeypatch, whole):
    """What is kept now and then, and at the end of each loop, is what a SIGKILL leaves."""

    class Killed(BaseException):
        pass

    def listen(event):
        if isinstance(event, Progress) and event.what == "preparing part 1" and event.done == 3:
            raise Killed

    monkeypatch.setattr(preparations, "TELL_EVERY", 0.0)
    for save_every, first in ((1e9, 8), (0.0, 10)):
        monkeypatch.setattr(preparations, "SAVE_EVERY", save_every)
        with pytest.raises(Killed):
            gankit.train(Prepared, Blobs(BlobsConfig()), out=tmp_path / str(first), on_event=listen, **SMALL)
        run = gankit.open_run(tmp_path / str(first) / "prepared-blobs", Prepared, Blobs).resume()
        assert Prepared.ran == list(range(first, 16))
        assert final(run.path, 12) == final(whole.path, 12)


def test_progress_is_told_from_its_beginning_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(preparations, "TELL_EVERY", 0.0)
    events = []
    gankit.train(Prepared, Blobs(BlobsConfig()), out=tmp_path, on_event=events.append, **SMALL)
    started = next(i for i, event in enumerate(events) if isinstance(event, RunStarted))
    before = [event for event in events[:started] if isinstance(event, Progress)]
    assert [(e.what[-1], e.done, e.total) for e in before] == [(p, i, 8) for p in "01" for i in range(9)]
    assert [event.text for event in events if isinstance(event, Note)] == ["part 0", "part 1"]


@pytest.mark.parametrize("name", ["state.json", "weights.safetensors", "objects.safetensors"])
def test_what_is_kept_and_damaged_is_named_with_the_way_on(tmp_path, monkeypatch, whole, name):
    monkeypatch.setattr(Prepared, "stop_at", 4)
    with pytest.raises(RunInterrupted):
        gankit.train(Prepared, Blobs(BlobsConfig()), out=tmp_path, **SMALL)
    monkeypatch.setattr(Prepared, "stop_at", None)
    run = gankit.open_run(tmp_path / "prepared-blobs", Prepared, Blobs)
    folder = run.path / "checkpoints" / "preparation-1"
    (folder / name).write_bytes((folder / name).read_bytes()[:-9])
    with pytest.raises(GankitError) as caught:
        run.resume()
    assert str(folder / name) in str(caught.value)
    assert "Remove that folder, and gankit resume begins the loop anew." in str(caught.value)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    assert final(run.resume().path, 12) == final(whole.path, 12)


class Slow(Tiny):
    """Prepares without a loop, for longer than anyone waits."""

    def prepare(self, preparation):
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(10_000):
            torch.zeros(1)
        pytest.fail("the signal was not heeded")


def test_a_preparation_without_a_loop_stops_at_once(tmp_path):
    with pytest.raises(RunInterrupted, match=r"stopped before the first step\. Go on with: gankit resume"):
        gankit.train(Slow, Blobs(BlobsConfig()), out=tmp_path, **SMALL)


class Wrong(Tiny):
    state: object

    def prepare(self, preparation):
        for _ in preparation.loop(2, "trying", state=self.state):
            pass


def test_state_that_cannot_be_saved_is_named(tmp_path):
    class Odd(Kept):
        def state_dict(self):
            return {"a": [{"b": object()}]}

    Wrong.state = 5
    with pytest.raises(PluginError, match="'trying' is given state, a int, which has no state_dict"):
        gankit.train(Wrong, Blobs(BlobsConfig()), out=tmp_path, **SMALL)
    Wrong.state = Odd()
    with pytest.raises(PluginError, match="'trying' keeps something that cannot be saved: state/a/0/b is a object"):
        gankit.train(Wrong, Blobs(BlobsConfig()), out=tmp_path, **SMALL)


def test_a_signal_between_the_preparation_and_the_first_step_is_heeded(tmp_path):
    def listen(event):
        if isinstance(event, RunStarted):
            os.kill(os.getpid(), signal.SIGTERM)

    events = []
    with pytest.raises(RunInterrupted, match="stopped after step 0"):
        gankit.train(
            Tiny, Blobs(BlobsConfig()), out=tmp_path, on_event=lambda e: (events.append(e), listen(e)), **SMALL
        )
    assert [event.step for event in events if isinstance(event, Saved)] == [0]
