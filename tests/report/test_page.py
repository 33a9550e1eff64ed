"""What a reader of a report finds, and that the page asks for nothing and runs nothing but its own."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import pytest
from report_helpers import Page, remade

from gankit.report import make_report
from gankit.runs.log import append_row

HOSTILE = '"><img src=x onerror=alert(1)><script>alert(2)</script>'


@pytest.fixture(scope="module")
def page(trained):
    return Page((trained / "report.html").read_text(encoding="utf-8"))


def test_it_says_what_there_is_to_say(page):
    text = page.text
    assert "told on blobs, run 0001" in text
    assert "step 6 of 6" in text
    assert "best at step 3 : score 0.25" in text
    for said in ("A run <as a whole> goes well.", "Its terms & their ways.", "It hovers.", "It rises."):
        assert said in text
    for heading in ("Samples", "Curves", "Metrics", "Neighbours", "Options", "To repeat it", "Environment"):
        assert heading in text
    assert re.search(r"batch_size 8 64\b", text)  # the option, its value, that of the preset
    assert "which no installed plugin brings" in text
    assert "pre" not in [tag for tag, _ in page.tags]  # so there is no command
    assert "samples beside their nearest training images" in [image["alt"] for image in page.of("img")]


def test_figures_stand_beside_those_of_real_images(trained, page):
    evaluation = json.loads((trained / "evaluation.json").read_text())
    floor = evaluation["protocol"]["floor"]
    assert floor
    assert evaluation["step"] == 6
    measured = page.text.partition("better")[2]
    for name in floor.keys() & evaluation["metrics"].keys():
        assert f" {name} " in measured
    levels = [line for line in page.of("line") if "level" in line["class"]]
    assert len(levels) >= 2 * len(floor.keys() & evaluation["metrics"].keys())  # in the chart, and in its legend


def test_what_eval_found_is_told_the_latest_last(run, tmp_path):
    assert "gankit eval :" not in remade(run, tmp_path / "none.html").text
    standard = {"library": "torch-fidelity 0.4.0", "resizing": "clean", "weights": "sha256:12ab"}
    for seed in range(10):
        row = {"checkpoint": "step-000003", "n": 1000, "seed": seed, "metrics": {"fid": 20.5 + seed, "<b>": None}}
        append_row(run / "evaluations.jsonl", {**row, "protocol": {"standard": standard}})
    with (run / "evaluations.jsonl").open("a") as file:
        file.write('{"metrics": 3}\n{"metrics": {"kid"')  # no evaluation, and one that was cut short
    append_row(run / "evaluations.jsonl", {"metrics": {"kid": 0.125}, "protocol": "odd"})
    page = remade(run, tmp_path / "page.html")
    assert "step-000003, 1,000 samples, seed 9" in page.text
    assert "seed 2" not in page.text
    assert "fid 23.5 24.5 25.5 26.5 27.5 28.5 29.5" in page.text
    assert "<b> not finite" in page.text
    assert page.text.count("resizing clean") == 1
    assert "3 earlier evaluations are in evaluations.jsonl" in page.text


def test_sheets_are_on_a_slider_and_the_last_is_shown_without_a_script(page):
    assert page.steps == [0, 2, 4, 6]
    (slider,) = [one for one in page.of("input") if one["type"] == "range"]
    assert (slider["min"], slider["max"], slider["value"]) == ("0", "3", "3")
    assert slider["aria-label"]
    hidden = [attributes["class"] for _, attributes in page.tags if "hidden" in attributes]
    assert hidden == ["control"]  # what works by the script alone; the earlier sheets are there to be opened
    assert "3 earlier ones; shown above is step 6" in page.text


def test_nothing_comes_from_elsewhere(page):
    for tag, attributes in page.tags:
        assert tag not in ("iframe", "object", "embed", "base", "form", "audio", "video", "use", "image")
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            assert name != "style"  # the policy would not heed it
            if name in ("src", "href", "srcset", "action", "data", "poster", "ping"):
                assert value.startswith(("data:", "#")), (tag, name, value)
    assert "url(" not in "".join(page.inside["style"])
    assert "@import" not in "".join(page.inside["style"])
    assert not re.search(r"fetch|XMLHttpRequest|import|eval|innerHTML|WebSocket", "".join(page.inside["script"]))


def test_the_policy_lets_its_own_script_and_style_and_nothing_else(page):
    (policy,) = [meta["content"] for meta in page.of("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert rules["base-uri"] == rules["form-action"] == "'none'"
    for tag in ("script", "style"):
        (content,) = page.inside[tag]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{digest}'"


def test_what_a_run_says_is_text_and_never_markup(run, tmp_path, page):
    (run / "environment.json").write_text(json.dumps({"gpu": HOSTILE, HOSTILE: ["\ud800", 1]}))
    row = {"step": 7, f"discriminator/{HOSTILE}": 1.0, f"{HOSTILE}/a": 2.0, "lr": {HOSTILE: 1.0}}
    evaluation = {"step": 8, "metrics": {HOSTILE: 0.5}}
    with (run / "log.jsonl").open("a") as log:
        log.write("".join(json.dumps(one) + "\n" for one in (row, evaluation)))
    found = {"notes": [HOSTILE], "protocol": {"floor": {HOSTILE: 0.1}, "metrics": {HOSTILE: HOSTILE}}}
    (run / "evaluation.json").write_text(json.dumps(found))
    config = run / "config.toml"
    config.write_text(config.read_text().replace('dataset = "blobs"', f"dataset = '{HOSTILE}'"))
    hostile = remade(run, tmp_path / "page.html")
    assert hostile.text.count("<script>alert(2)</script>") > 8
    assert [image for image in hostile.of("img") if "onerror" in image or not image["src"].startswith("data:")] == []
    assert hostile.inside["script"] == page.inside["script"]
    assert {tag for tag, _ in hostile.tags} <= {tag for tag, _ in page.tags} | {"pre", "code", "circle"}


def test_what_a_run_began_with_is_in_the_command_or_in_its_place(run, tmp_path, page):
    told = json.loads((run / "environment.json").read_text())
    (run / "environment.json").write_text(
        json.dumps({**told, "imported": {"format": "old", "files": [{"name": "g.pth"}]}})
    )
    text = remade(run, tmp_path / "imported.html").text
    assert "weights of old (g.pth)" in text
    assert "gankit run" not in text


def test_lines_that_would_be_flat_beside_others_have_a_chart_of_their_own(run, tmp_path):
    with (run / "log.jsonl").open("a") as log:
        for step in range(7, 27):
            near = {"critic/a": -100 + step / 100, "critic/b": 0.3 + step / 100, "critic/c": 100 + step / 100}
            together = {"pair/a": step, "pair/b": -step, "pair/c": step / 10_000, "pair/d": 5.0}
            log.write(json.dumps({"step": step, **near, **together}) + "\n")
    titles = re.findall(r"<h4>(.*?)</h4>", remade(run, tmp_path / "page.html").source)
    assert {"critic/a", "critic/b", "critic/c"} <= set(titles)
    assert {"pair", "pair/c"} <= set(titles)
    assert "pair/d" not in titles


def test_several_runs_side_by_side(run, trained, tmp_path):
    config = run / "config.toml"
    config.write_text(config.read_text().replace("hidden = 8", "hidden = 9"))
    made = make_report([run, trained, run], tmp_path / "both.html")
    page = Page(made.path.read_text(encoding="utf-8"))
    assert len(made.runs) == 2  # each once
    names = sorted("/".join(path.parts[-4:]) for path in (run, trained))
    for name in ("discriminator/real", "discriminator/fake", "generator/adversarial", "score", "samples a second"):
        assert name in page.text
    curves = [path["class"] for path in page.of("path")]
    assert {"line c0", "line c1"} <= set(curves)
    assert curves.count("line c0") == curves.count("line c1")
    rows = re.findall(r'<th scope="row">([\w.]+)</th>((?:<td[^>]*>.*?</td>)+)', page.source)
    marked = {name for name, cells in rows if 'class="differs"' in cells}
    assert "hidden" in marked
    assert "batch_size" not in marked
    assert len([one for one in page.of("input") if one["type"] == "range"]) == 2
    assert "Move the sliders together" in page.text
    assert names
