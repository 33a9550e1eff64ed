"""TensorBoard's files: what is in them, and that a training does without them."""

from __future__ import annotations

import os
import sys

import pytest

pytest.importorskip("tensorboard")

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_helpers import train

from gankit import events, tensorboard
from gankit.data.image_files import write_png
from gankit.errors import UsageError
from gankit.events import Evaluated, Finished, Logged, Note, RunStarted, Sampled, together
from gankit.tensorboard import TensorBoard


def started(path, step=0):
    return RunStarted(path=path, step=step, steps=9, stage=None, device="cpu", parameters={})


def logged(step, value):
    return Logged(
        step=step, steps=9, values={"g/loss": value}, lr={"g": 0.5}, samples_per_second=1, seconds=1, seconds_left=1
    )


def read(path):
    found = EventAccumulator(str(path), size_guidance={"images": 0, "scalars": 0})
    found.Reload()
    return found


def test_a_run_is_written_as_it_is_told(tmp_path):
    run = train(tmp_path, on_event=TensorBoard(), eval_every=0)
    found = read(run.path)
    steps = [row["step"] for row in run.log]
    assert [event.step for event in found.Scalars("generator/adversarial")] == steps
    values = [row["generator/adversarial"] for row in run.log]
    assert [event.value for event in found.Scalars("generator/adversarial")] == pytest.approx(values)
    assert [event.value for event in found.Scalars("lr/generator")] == pytest.approx(
        [row["lr"]["generator"] for row in run.log]
    )
    assert [event.step for event in found.Images("samples")] == [0, 6, 12]


def test_samples_that_are_no_pictures_are_left_out(tmp_path):
    notes = []
    board = TensorBoard(notes.append)
    for event in (started(tmp_path), Sampled(step=0, path=tmp_path / "0.npy"), logged(2, 1.0)):
        board(event)
    board.close()
    assert not notes
    assert read(tmp_path).Scalars("g/loss")


def test_metrics_and_what_a_resumed_run_takes_back(tmp_path):
    board = TensorBoard()
    for event in (started(tmp_path), logged(2, 1.0), logged(4, 9.0), Evaluated(step=4, metrics={"m": 3.0}, best=True)):
        board(event)
    board(started(tmp_path, 2))  # went on from step 2
    board(logged(4, 2.0))
    board(Finished(path=tmp_path, steps=9, seconds=1, values={}, metrics={}))
    found = read(tmp_path)
    assert [(event.step, event.value) for event in found.Scalars("g/loss")] == [(2, 1.0), (4, 2.0)]
    assert "metrics/m" in found.Tags()["scalars"]


@pytest.mark.parametrize(
    ("height", "width", "expected"), [(3000, 1500, (1448, 724)), (8, 40000, (8, 40000)), (9, 5, (9, 5))]
)
def test_images_are_bounded_in_pixels(tmp_path, height, width, expected):
    path = tmp_path / "samples" / "000001.png"
    path.parent.mkdir()
    write_png(path, torch.zeros(height, width, 3, dtype=torch.uint8))
    with TensorBoard() as board:
        board(started(tmp_path))
        board(Sampled(step=1, path=path))
    (image,) = read(tmp_path).Images("samples")
    assert (image.height, image.width) == expected
    assert image.height * image.width <= tensorboard.PIXELS


def test_a_training_goes_on_without_its_files(tmp_path):
    told = []
    run = train(tmp_path, on_event=together(told.append, TensorBoard(told.append)))
    assert run.finished
    blocked = tmp_path / "a file"
    blocked.write_text("")
    board = TensorBoard(told.append)
    for event in (started(blocked), logged(1, 1.0), logged(2, 1.0), Sampled(step=2, path=blocked)):
        board(event)
    notes = [event.text for event in told if isinstance(event, Note) and "TensorBoard" in event.text]
    assert len(notes) == 1
    assert notes[0].startswith("TensorBoard files are not written: ")
    assert notes[0].endswith("log.jsonl has the same numbers.")


def test_files_that_cannot_be_written_any_more_are_closed(tmp_path):
    told = []
    board = TensorBoard(told.append)
    board(started(tmp_path))
    board(logged(1, 1.0))
    writer = board._writer
    board(Sampled(step=2, path=tmp_path / "gone.png"))
    board(logged(3, 1.0))
    assert [type(event) for event in told] == [Note]
    assert writer.file_writer is None  # as SummaryWriter is once it is closed


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux")
def test_a_directory_whose_name_is_no_text(tmp_path):
    told = []
    folder = tmp_path / os.fsdecode(b"run\xff")
    folder.mkdir()
    with TensorBoard(told.append) as board:
        board(started(folder))
        board(logged(1, 1.0))
    assert list(folder.iterdir()) or [type(event) for event in told] == [Note]


def test_without_the_package(monkeypatch):
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: None)
    assert not tensorboard.available()
    with pytest.raises(UsageError, match=r"pip install 'gankit\[tensorboard\]'"):
        TensorBoard()


def test_listeners_are_told_in_turn():
    told = []
    tell = together(lambda event: told.append(("one", event)), lambda event: told.append(("two", event)))
    note = events.Note(text="x")
    tell(note)
    assert told == [("one", note), ("two", note)]
