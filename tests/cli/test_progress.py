"""What is shown of work that is no training: lines now and then, or a bar of its own."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from gankit.cli import progress
from gankit.events import Note, Progress, RunStarted
from gankit.events import progress as told


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which the test sets."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_plain_lines_come_now_and_then(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    reporter = progress.Reporter(json=True)
    for _ in told(range(8), "training the judge", reporter):
        clock[0] += 2.5
    clock[0] += 1000
    for _ in told(range(3), "drawing samples", reporter):  # begins anew, and is over soon
        clock[0] += 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "training the judge: 2/8  15.0 s left",
        "training the judge: 4/8  10.0 s left",
        "training the judge: 6/8  5.0 s left",
    ]


def test_parts_are_passed_on_and_counted_to_the_end() -> None:
    events: list[object] = []
    assert list(told("ab", "work", events.append)) == ["a", "b"]
    assert events == [Progress(what="work", done=done, total=2) for done in range(3)]
    assert list(told((), "nothing", events.append)) == []


@pytest.mark.parametrize("first", [5, 10])
def test_work_that_goes_on_from_an_earlier_sitting(
    first: int, clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    """The time left is that of the parts done now; nothing is shown of work that is over already."""
    events = [Progress(what="pretraining", done=done, total=10) for done in range(first, 11)]
    reporter = progress.Reporter()
    for event in events:
        reporter(event)
        clock[0] += 6
    lines = [f"pretraining: {done}/10  {left}.0 s left" for done, left in ((6, 24), (7, 18), (8, 12), (9, 6))]
    assert capsys.readouterr().out.splitlines() == (lines if first == 5 else [])
    live = progress.Live()
    live.bar.live.console = Console(file=io.StringIO(), force_terminal=True, width=120)
    for event in events:
        live(event)
        shown = [(task.description, task.completed) for task in live.bar.tasks]
        assert shown == ([("pretraining", event.done)] if event.done < 10 else [])
    live.stop()


@pytest.mark.parametrize("training", [True, False])
def test_a_terminal_shows_a_bar_while_it_lasts(training: bool) -> None:
    live = progress.Live()
    live.bar.live.console = Console(file=io.StringIO(), force_terminal=True, width=120)
    if training:
        started = RunStarted(path=Path("r"), step=0, steps=9, stage=None, device="cpu", parameters={"g": 1})
        live(started)
    shown = ["training"] if training else []
    for part in told(range(3), "training the judge", live):
        live(Note(text="a line"))
        assert [task.description for task in live.bar.tasks] == [*shown, "training the judge"]
        assert live.bar.tasks[-1].completed == part
    assert [task.description for task in live.bar.tasks] == shown
    live(Progress(what="cut short", done=0, total=2))
    live.stop()
    assert not live.bar.tasks


def test_a_run_on_a_device_without_kernels_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gankit.ops._library._MISSING", {"cuda": "kernels not built: no nvcc"})
    reporter = progress.Reporter()
    for device in ("cuda:0", "cuda:0"):  # two stages
        reporter(RunStarted(path=tmp_path, step=0, steps=9, stage=None, device=device, parameters={}))
    note = "note: CUDA: reference formulas (kernels not built: no nvcc) (gankit doctor says more)"
    assert capsys.readouterr().err.splitlines() == [note]
    progress.Reporter()(RunStarted(path=tmp_path, step=0, steps=9, stage=None, device="cpu", parameters={}))
    assert capsys.readouterr().err == ""
