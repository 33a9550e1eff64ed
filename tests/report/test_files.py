"""Where reports are written, what they may replace, how large they are."""

from __future__ import annotations

import base64
import os

import pytest
from PIL import Image
from report_helpers import Told, remade, train
from tiny_gan import Blobs

import gankit
from gankit.errors import UsageError
from gankit.events import Finished, Note, Reported
from gankit.report import make_report, pictures


def test_fifty_sheets_of_noise_fit(run, tmp_path):
    samples = run / "samples"
    for sheet in samples.iterdir():
        sheet.unlink()
    size = (280, 280)
    for step in range(0, 520, 10):
        noise = Image.frombytes("RGB", size, os.urandom(3 * size[0] * size[1]))
        noise.save(samples / f"{step:06d}.png", compress_level=0)
    assert sum(sheet.stat().st_size for sheet in samples.iterdir()) > pictures.BUDGET  # as they are they would not
    page = remade(run, tmp_path / "page.html")
    assert len(page.source) < 15_000_000
    assert len(page.steps) == pictures.MOST
    assert (page.steps[0], page.steps[-1]) == (0, 510)
    assert "50 of 52 in the run, reduced to fit this page" in page.text
    assert {image["src"].partition(";")[0] for image in page.of("img")} == {"data:image/webp", "data:image/png"}


def test_of_many_sheets_the_first_the_last_and_the_best_are_shown():
    many = [pictures.Picture(path=None, step=step) for step in range(0, 3000, 7)]
    steps = [picture.step for picture in pictures.chosen(many, best=1001)]
    assert len(steps) == len(set(steps)) == pictures.MOST
    assert steps == sorted(steps)
    assert {0, 1001, many[-1].step} <= set(steps)


def test_a_small_sheet_stays_as_it_is(trained):
    text = (trained / "report.html").read_text(encoding="utf-8")
    for sheet in (trained / "samples").iterdir():
        assert base64.b64encode(sheet.read_bytes()).decode() in text


def test_a_picture_becomes_as_small_as_it_has_to(tmp_path):
    path = tmp_path / "000001.png"
    Image.frombytes("RGB", (400, 300), os.urandom(360_000)).save(path)
    picture = pictures.Picture(path)
    pictures.embed([picture], 20_000)
    kind, _, content = picture.uri.partition(",")
    assert kind == "data:image/webp;base64"
    assert len(base64.b64decode(content)) <= 20_000
    assert picture.reduced
    nothing = pictures.Picture(path)
    pictures.embed([nothing], 100)
    assert not nothing.uri
    assert nothing.problem.endswith("cannot be shown: there is no room for it on the page")


def test_a_run_writes_its_report_at_its_end_and_anew_when_it_goes_on(tmp_path):
    events = []
    run = train(tmp_path, eval_every=0, on_event=events.append)
    place = run.path / "report.html"
    assert [type(event) for event in events[-2:]] == [Reported, Finished]
    assert [event.path for event in events if isinstance(event, Reported)] == [place]
    before = place.read_text(encoding="utf-8")
    assert str(tmp_path) not in before
    gankit.open_run(run.path, Told, Blobs).resume(8, events.append)
    after = place.read_text(encoding="utf-8")
    assert "sheet of samples at step 8" in after
    assert "sheet of samples at step 8" not in before
    assert len([event for event in events if isinstance(event, Reported)]) == 2


def test_a_report_that_cannot_be_written_costs_the_run_nothing(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gankit.report.make.write_whole", full)
    events = []
    run = train(tmp_path, eval_every=0, on_event=events.append)
    assert run.finished
    (note,) = [event.text for event in events if isinstance(event, Note)]
    assert note.startswith("There is no report: cannot write to ")
    assert "No space left on device" in note


def test_an_evaluation_that_cannot_be_kept_costs_the_run_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "gankit.training.trainer.evaluate_now", lambda *args, **kwargs: {"metrics": {"score": 1.0}, "protocol": {}}
    )
    train(tmp_path / "whole")
    kept = tmp_path / "whole/told-blobs/0001/evaluation.json"
    assert kept.read_text().startswith('{\n "step": 6,\n "metrics": {\n  "score": 1.0')

    def full(path, text):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("gankit.training.reporting.replace_text", full)
    events = []
    run = train(tmp_path / "full", on_event=events.append)
    assert run.finished
    assert run.metrics == {"score": 1.0}
    assert "evaluation.json cannot be written: No space left on device" in next(
        event.text for event in events if isinstance(event, Note)
    )


def test_nothing_is_replaced_unasked(run, tmp_path, monkeypatch):
    own = (run / "report.html").read_bytes()
    first, second = make_report([run]), make_report([run])
    assert [made.path.name for made in (first, second)] == ["report-0001.html", "report-0002.html"]
    assert (run / "report.html").read_bytes() == own
    assert make_report([run], overwrite=True).path == run / "report.html"
    with pytest.raises(UsageError, match=r"report-0001.html exists already. Give another --out, or --overwrite."):
        make_report([run], first.path)
    assert make_report([run], first.path, overwrite=True).path == first.path
    with pytest.raises(UsageError, match=r"a report is an HTML file. Give .*page.html"):
        make_report([run], tmp_path / "page.pdf")
    with pytest.raises(UsageError, match=r"cannot write to .* Give another --out"):
        make_report([run], tmp_path / "no" / "page.html")
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "other" / "0001"
    other.parent.mkdir()
    run.rename(other)
    assert make_report([other, other.parent]).path == other / "report-0003.html"  # one run, named twice


def test_in_python_a_run_makes_its_own_report(run):
    opened = gankit.open_run(run, Told, Blobs)
    made = opened.report()
    assert made == run / "report-0001.html"
    assert "A run &lt;as a whole&gt; goes well." in made.read_text(encoding="utf-8")
    assert opened.report(overwrite=True) == run / "report.html"
