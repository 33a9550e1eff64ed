"""What is missing or damaged in a run is said in a line, and the rest is shown."""

from __future__ import annotations

import json
import os

import pytest
from PIL import Image
from report_helpers import remade

from gankit.errors import UsageError
from gankit.report import make_report


@pytest.fixture
def report(run, tmp_path):
    return lambda: remade(run, tmp_path / "page.html")


def test_no_log_yet(run, report):
    (run / "log.jsonl").unlink()
    page = report()
    assert "There is no log.jsonl yet: there are no curves." in page.text
    assert page.steps == [0, 2, 4, 6]
    assert "Nothing was evaluated while training" in page.text


def test_a_log_that_a_kill_has_cut_short(run, report):
    with (run / "log.jsonl").open("a") as log:
        log.write('{"step": 7, "discrimi')
    page = report()
    assert "log.jsonl has a line that is no row of a log, passed over here." in page.text
    assert "discriminator" in page.text


def test_odd_numbers_in_a_log(run, report):
    rows = [
        {"step": "7", "a/b": 1},
        {"step": True, "a/b": 1},
        {"step": -1, "a/b": 1},
        {"step": 7, "a/b": 10**400, "a/c": "text", "a/d": None, "a/e": [1], "lr": 3, "metrics": None},
        {"step": 8, "a/b": 1e308, "a/c": -1e308, "a/d": float("nan"), "lr": {"x": {}}},
    ]
    with (run / "log.jsonl").open("a") as log:
        log.write("".join(json.dumps(row) + "\n" for row in rows))
    page = report()
    assert "log.jsonl has 3 lines that are no row of a log" in page.text
    assert "none is finite" in page.text


@pytest.mark.parametrize("how", ["cut", "text", "pipe", "directory"])
def test_a_sheet_that_cannot_be_read(run, report, how):
    sheet = run / "samples" / "000004.png"
    content = sheet.read_bytes()
    sheet.unlink()
    if how == "pipe":
        os.mkfifo(sheet)
    elif how == "directory":
        sheet.mkdir()
    else:
        sheet.write_bytes(content[: len(content) // 2] if how == "cut" else b"<svg onload=alert(1)>")
    page = report()
    assert "samples/000004.png cannot be shown: " in page.text
    assert page.steps == [0, 2, 6]


def test_a_run_without_samples_checkpoints_and_environment(run, report):
    for path in [*(run / "samples").iterdir(), run / "environment.json", run / "neighbours.png"]:
        path.unlink()
    (run / "checkpoints").rename(run / "elsewhere")
    (run / "evaluation.json").write_text("[")
    page = report()
    assert "There are no samples yet." in page.text
    assert "evaluation.json is damaged" in page.text
    assert "stopped before its end" in page.text
    assert not page.of("input")
    assert "score" in page.text  # the log knows it


def test_samples_that_are_no_images(run, report):
    for sheet in (run / "samples").iterdir():
        sheet.rename(sheet.with_suffix(".npy"))
    Image.new("RGB", (8, 8)).save(run / "samples" / "000002-density.png")
    page = report()
    assert "4 files, samples/000000.npy to samples/000006.npy" in page.text
    assert "figure density at step 2" in [image["alt"] for image in page.of("img")]


def test_hundreds_of_metrics_are_told_and_the_page_stays_small(run, report):
    with (run / "log.jsonl").open("a") as log:
        for step in range(7, 11):
            log.write(json.dumps({"step": step, "metrics": {f"m{i}": i / step for i in range(1200)}}) + "\n")
            log.write(json.dumps({"step": step, **{f"many/t{i}": i * step for i in range(1200)}}) + "\n")
    page = report()
    assert "more than 1000 names of numbers; the others are left out" in page.text
    assert "more curves are left out: log.jsonl has them" in page.text
    assert "more metrics are in the table alone" in page.text
    assert " m900 " in page.text
    assert len(page.source) < 4_000_000


def test_a_run_whose_plugin_is_not_installed(run, tmp_path):
    made = make_report([run], tmp_path / "page.html")
    (problem,) = made.problems
    assert problem.startswith(
        "What its plugin says is left out, and what is usual is not known: unknown variant 'told'"
    )
    text = made.path.read_text(encoding="utf-8")
    assert "its config.toml holds every option of the run" in text
    assert "hidden" in text


def test_a_damaged_config(run, tmp_path):
    (run / "config.toml").write_text("variant = [\n")
    made = make_report([run], tmp_path / "page.html")
    assert "is not TOML" in made.problems[0]
    assert "sheet of samples at step 6" in made.path.read_text(encoding="utf-8")


def test_a_variant_that_fails_in_what_it_says(run, tmp_path):
    from report_helpers import Told

    class Failing(Told):
        def expect(self):
            raise RuntimeError("no luck")

    page = remade(run, tmp_path / "page.html", Failing)
    assert "What to expect of the variant is left out: RuntimeError: no luck" in page.text
    assert page.steps == [0, 2, 4, 6]


def test_a_run_that_is_trained_now(run, report):
    from gankit.runs.directory import RunDir

    config = run / "config.toml"
    config.write_text(config.read_text().replace("steps = 6", "steps = 60"))
    with RunDir(run).lock():
        assert "still training when this page was made" in report().text
    assert not RunDir(run).is_locked()


def test_where_there_is_no_run(tmp_path):
    with pytest.raises(UsageError, match="there is no run at"):
        make_report([tmp_path / "nothing"])
