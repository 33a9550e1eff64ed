"""`gankit resume`, `sample` and `eval`: what is done with a run that exists."""

from __future__ import annotations

import json
import os
import re
import shutil

import pytest
from PIL import Image

from .conftest import GOOD


def test_resume(gankit, run):
    outcome = gankit("resume", run, "--steps", 8, "--json")
    assert (outcome.code, outcome.data["steps"]) == (0, 8)
    outcome = gankit("resume", run)
    assert outcome.code == 0
    assert "finished" in outcome.out


def test_samples_in_a_directory(gankit, run, tmp_path):
    outcome = gankit("sample", run, "--n", 3, "--label", 1, "--out", "new/dir", "--seed", 5)
    assert outcome.code == 0, outcome.err
    folder = tmp_path / "new/dir"
    assert sorted(p.name for p in folder.iterdir()) == ["000000.png", "000001.png", "000002.png", "samples.jsonl"]
    assert Image.open(folder / "000000.png").size == (8, 8)
    rows = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    assert [row["file"] for row in rows] == ["000000.png", "000001.png", "000002.png"]
    assert all(row["seed"] == 5 and row["label"] == "light" for row in rows)
    before = (folder / "000000.png").read_bytes()

    refused = gankit("sample", run, "--n", 3, "--out", folder, "--seed", 6)
    assert refused.code == 2
    assert "exists already" in refused.err
    assert (folder / "000000.png").read_bytes() == before
    assert gankit("sample", run, "--n", 3, "--label", 1, "--out", folder, "--seed", 6, "--overwrite").code == 0
    assert (folder / "000000.png").read_bytes() != before
    assert gankit("sample", run, "--n", 3, "--label", "light", "--out", folder, "--seed", 5, "--overwrite").code == 0
    assert (folder / "000000.png").read_bytes() == before  # a seed draws the same again


def test_sample_sheets(gankit, run):
    outcome = gankit("sample", run, "--n", 4, "--out", "sheet.png", "--json")
    assert outcome.data["files"] == ["sheet.png"]
    first, second = gankit("sample", run).out, gankit("sample", run).out
    assert "sample-0001.png" in first
    assert "sample-0002.png" in second
    assert (run / "sample-0002.png").is_file()
    assert gankit("sample", run, "--checkpoint", "step-000003", "--json").data["checkpoint"] == "step-000003"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--label", "9"), "'9' is not one of the 2 classes: dark, light"),
        (("--label", "-1"), "'-1' is not one of the 2 classes"),
        (("--text", "a red seven"), "cannot be asked for 'text'"),
        (("--n", "0"), "--n 0: must be at least 1"),
        (("--seed", "-1"), "--seed -1: must be at least 0"),
        (("--checkpoint", "step-000999"), "no checkpoint 'step-000999'. It has best, latest, step-000003"),
        (("--device", "gpu"), "gpu"),
        (("--n", "many"), "many"),
        (("--out", "sheet.jpg"), "a sheet is a PNG file"),
        (("--label", "²"), "'²' is not one of the 2 classes"),
    ],
)
def test_wrong_samples(gankit, run, arguments, words):
    outcome = gankit("sample", run, *arguments)
    assert outcome.code == 2
    assert words in outcome.err
    assert len(outcome.err.strip().splitlines()) <= 2


def test_eval(gankit, run):
    outcome = gankit("eval", run, "--n", 8, "--json")
    assert outcome.code == 0, outcome.err
    assert {"metrics", "judge", "n", "checkpoint"} <= set(outcome.data)
    assert outcome.data["n"] == 8
    assert Image.open(run / "neighbours-0001.png").size[0] > 8
    assert outcome.data["sheet"] == str(run / "neighbours-0001.png")
    assert "Training a judge" in outcome.err
    kept = json.loads((run / "evaluations.jsonl").read_text())
    assert kept["metrics"] == outcome.data["metrics"]
    outcome = gankit("eval", run, "--n", 2, "--sheet", "mine.png")
    assert "nearest training images: mine.png" in outcome.out
    assert "not defined" in outcome.err  # what the figures are worth is said
    for sheet, words in (
        ("mine.png", "exists already"),
        ("mine.jpg", "must be a PNG"),
        ("no/mine.png", "no directory"),
    ):
        refused = gankit("eval", run, "--n", 2, "--sheet", sheet)
        assert (refused.code, words in refused.err) == (2, True)
    assert len((run / "evaluations.jsonl").read_text().splitlines()) == 2
    assert gankit("eval", run, "--n", 1).code == 2
    assert gankit("eval", run, "--n", 2, "--to", "image", "--json").data["produces"] == "image"
    refused = gankit("eval", run, "--to", "other")
    assert (refused.code, "cannot draw 'other': it draws image" in refused.err) == (2, True)


def test_truncated_checkpoint(gankit, run):
    for path in (run / "checkpoints").glob("step-000006/*.safetensors"):
        os.truncate(path, path.stat().st_size // 2)
    outcome = gankit("sample", run)
    assert outcome.code == 1
    assert "step-000006" in outcome.err
    assert "newest intact checkpoint is step-000003" in outcome.err
    assert gankit("sample", run, "--checkpoint", "step-000003").code == 0
    assert gankit("resume", run, "--json").data["steps"] == 6  # from the intact one


def test_checkpoint_of_another_variant(gankit, site, run, tmp_path):
    site.add("other", GOOD.replace("hidden: int = Field(8", "hidden: int = Field(9"))
    outcome = gankit("run", "other", "--json")
    theirs = tmp_path / outcome.data["run"]
    shutil.rmtree(theirs / "checkpoints")
    shutil.copytree(run / "checkpoints", theirs / "checkpoints")
    for command in ("sample", "resume"):
        outcome = gankit(command, theirs, *(["--steps", 9] if command == "resume" else []))
        assert outcome.code == 2, outcome.err
        assert "the checkpoint is of variant 'toy', not 'other'" in outcome.err


def test_report(gankit, run, toy, tmp_path):
    page = run / "report.html"
    assert page.is_file()  # from the run's own end
    outcome = gankit("report", run)
    assert (outcome.code, outcome.err) == (0, "")
    made = outcome.out.strip().removeprefix("report: ")
    assert made.endswith("report-0001.html")
    text = (tmp_path / made).read_text(encoding="utf-8")
    command = f"gankit run {toy} --dataset {toy}-dots --seed 0"  # all else is the preset's
    assert f"{command}\n" in re.sub("<[^>]+>", "", text)
    assert "<!doctype html>" in text

    other = gankit("run", toy, "--hidden", 9, "--json").data["run"]
    outcome = gankit("report", run, other, "--out", "both.html", "--json")
    assert outcome.data == {"runs": [str(run), other], "out": "both.html", "problems": []}
    refused = gankit("report", run, other, "--out", "both.html")
    assert refused.code == 2
    assert refused.err == "error: both.html exists already. Give another --out, or --overwrite.\n"
    assert gankit("report", run, other, "--out", "both.html", "--overwrite").code == 0
    assert gankit("report", "nowhere").code == 2
    (run / "log.jsonl").unlink()
    assert "note: There is no log.jsonl yet: there are no curves." in gankit("report", run).err


def test_the_end_of_a_run_tells_where_its_report_is(gankit, toy):
    outcome = gankit("run", toy)
    assert outcome.out.count("report.html") == 1
    assert f"report: runs/{toy}-{toy}-dots/0001/report.html" in outcome.out.splitlines()


@pytest.mark.parametrize("option", [("--split", "test"), ("--resizing", "clean"), ("--weights", "w.pth")])
def test_an_option_of_the_standard_metrics_needs_one(gankit, run, option):
    outcome = gankit("eval", run, *option)
    assert outcome.code == 2
    assert f"{option[0]} is for the standard network's metrics: name one with --metrics" in outcome.err
    assert gankit("eval", run, "--split", "none", "--metrics", "fid").code == 2


def test_no_sheet_is_promised_that_is_not_drawn(gankit, run):
    outcome = gankit("eval", run, "--metrics", "fid", "--sheet", "sheet.png")
    assert outcome.code == 2
    assert "--sheet sheet.png: fid alone draws none" in outcome.err
