"""The commands beside those of runs: lists, doctor, bench, a plugin of one's own."""

from __future__ import annotations

import json
import re
import sys

from gankit.cli import doctor_facts


def test_list_and_info(gankit, toy):
    data = gankit("list", "--json").data
    assert "toy" in {entry["name"] for entry in data["variants"]}
    assert "toy-dots" in {entry["name"] for entry in data["datasets"]}
    listed = gankit("list").out
    assert re.search(r"^toy +gankit-plugin-toy +A toy.$", listed, re.MULTILINE)
    assert re.search(r"^toy-dots +gankit-plugin-toy +Made up.$", listed, re.MULTILINE)  # it has no docstring of its own
    assert "toy" not in sys.modules
    data = gankit("plugins", "list", "--json").data
    (mine,) = [entry for entry in data if entry["distribution"] == "gankit-plugin-toy"]
    assert (mine["variants"], mine["datasets"]) == (["toy"], ["toy-dots"])
    info = gankit("plugins", "info", "toy", "--json").data
    assert info["conditions"] == ["label"]
    assert {"name": "hidden", "type": "INT", "default": 8, "bounds": ">=1 <=64", "help": "Width."} in info["options"]
    text = gankit("plugins", "info", "toy").out
    # as they can be typed
    for option in (
        "--hidden +INT",
        "--optim.weight-decay +FLOAT",
        "--spectral/--no-spectral +BOOL +off",
        ".* 0.5,0.9 ",
    ):
        assert re.search(rf"^{option}", text, re.MULTILINE)
    assert "[bracketed] text is text." in text
    text = gankit("plugins", "info", "toy-dots").out
    assert "data.size" in text
    assert "A named source of samples" not in text  # Dots has no docstring, and its base class's says nothing of it


def test_doctor(gankit, toy, site):
    site.add("broken", "raise RuntimeError('no luck')")
    outcome = gankit("doctor", "--json")
    assert outcome.code == 0
    facts = {fact["name"]: fact for fact in outcome.data["facts"]}
    assert facts["torch"]["ok"]
    assert "kernels" in facts
    assert facts["variant toy"]["ok"]
    assert facts["variant broken"]["ok"] is False
    assert "no luck" in facts["variant broken"]["value"]
    assert "pip uninstall gankit-plugin-broken" in facts["variant broken"]["value"]
    assert "variant toy" in gankit("doctor").out


def test_doctor_says_which_extras_have_all_they_need(monkeypatch):
    asked = ["numpy>=1", 'torch; extra == "whole"', 'torch; extra == "half"', "no-such-package-1>=3; extra == 'half'"]
    monkeypatch.setattr("importlib.metadata.requires", lambda name: asked)
    assert doctor_facts._extras().value == "whole; not installed: half (pip install 'gankit[half]')"
    monkeypatch.setattr("importlib.metadata.requires", lambda name: asked[:2])
    assert doctor_facts._extras().value == "whole"


def test_bench_step(gankit, toy, tmp_path):
    outcome = gankit("bench", "step", "--variant", toy, "--rounds", 2, "--json", "rows.json")
    assert outcome.code == 0, outcome.err
    (row,) = json.loads((tmp_path / "rows.json").read_text())
    assert row["variant"] == "toy"
    assert row["ratio"] > 0
    assert gankit("bench", "step", "--variant", toy, "--rounds", 2, "--json", "rows.jsonl").code == 0
    (line,) = (tmp_path / "rows.jsonl").read_text().splitlines()
    assert json.loads(line).keys() == row.keys()
    refused = gankit("bench", "step", "--variant", toy, "--json", "rows.json")
    assert refused.code == 2
    assert "exists already" in refused.err


def test_bench_ops_keeps_the_rows_before_one_that_fails(gankit, tmp_path, monkeypatch):
    shape = {"op": "leaky_relu", "shape": [1, 1, 2, 2], "dtype": "float32", "layout": "nchw", "direction": "forward"}

    def bench_ops(*_, progress, **__):
        progress(shape)
        raise RuntimeError("out of memory")

    monkeypatch.setattr("gankit.bench.bench_ops", bench_ops)
    assert gankit("bench", "ops", "--json", "rows.jsonl").code != 0
    assert json.loads((tmp_path / "rows.jsonl").read_text()) == shape
    monkeypatch.undo()
    refused = gankit("bench", "ops", "--op", "relu", "--json", "none.jsonl")
    assert "unknown op 'relu'" in refused.err
    assert not (tmp_path / "none.jsonl").exists()  # not in the way of another try


def test_new_plugin_works(gankit, tmp_path, monkeypatch):
    outcome = gankit("plugins", "new", "my-gan", "--dir", "here", "--json")
    assert outcome.code == 0, outcome.err
    folder = tmp_path / "here/gankit-plugin-my-gan"
    assert sorted(outcome.data["files"]) == [
        f"here/gankit-plugin-my-gan/{name}"
        for name in ("README.md", "gankit_plugin_my_gan/__init__.py", "pyproject.toml")
    ]
    before = (folder / "pyproject.toml").read_bytes()
    refused = gankit("plugins", "new", "my-gan", "--dir", "here")
    assert refused.code == 2
    assert "exists already" in refused.err
    assert (folder / "pyproject.toml").read_bytes() == before
    for name in ("My GAN", "a--b", "-a", "a_b", ""):
        assert gankit("plugins", "new", name).code == 2

    # as an installer would leave it, without one
    import tomllib

    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = folder / "gankit_plugin_my_gan-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0.1.0\n")
    groups = project["entry-points"].items()
    (info / "entry_points.txt").write_text(
        "\n".join(f"[{group}]\n" + "\n".join(f"{k} = {v}" for k, v in it.items()) for group, it in groups)
    )
    monkeypatch.syspath_prepend(str(folder))
    try:
        outcome = gankit("plugins", "check", "my-gan")
        assert outcome.code == 0, outcome.out
        taken = gankit("plugins", "new", "my-gan", "--dir", "there")
        assert taken.code == 2
        assert "is taken by gankit-plugin-my-gan" in taken.err
    finally:
        sys.modules.pop("gankit_plugin_my_gan", None)


def test_version(gankit):
    outcome = gankit("--version")
    assert outcome.code == 0
    assert re.fullmatch(r"gankit \d+\.\d+\.\d+\n", outcome.out)
