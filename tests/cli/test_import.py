"""``gankit import``: formats are listed by metadata, and what is wrong is one sentence."""

from __future__ import annotations

import json

import pytest
import torch

from .test_startup import probe

FORMAT = '''
from gankit.foreign import Foreign, WeightFormat
from gankit.plugin import DataSpec, Key


LABEL = Key(kind="class", names=("dark", "light"))


class Reads(WeightFormat):
    """What TOY's predecessor wrote."""

    def read(self, files, asked):
        names = {f"up.{n}.{kind}": f"{n}.{kind}" for n in (0, 2) for kind in ("weight", "bias")}
        if set(files[0].tensors) != set(names):
            return None
        size = asked.size or 8
        weights = {names[key]: value for key, value in files[0].tensors.items()}
        return Foreign(
            spec=DataSpec(keys={"image": Key(kind="image", shape=(1, size, size)), "label": LABEL}),
            weights={"generator": weights},
            options={"steps": 3, "data.size": size, "data.colours": 2},
            dataset="toy-dots",
        )
'''


@pytest.fixture
def old(site, toy):
    """A format of the toy's variant."""
    (site.path / "toy_old.py").write_text(FORMAT)
    info = next(site.path.glob("gankit_plugin_toy-*.dist-info")) / "entry_points.txt"
    info.write_text(info.read_text() + "\n[gankit.formats.v1]\nold.toy = toy_old:Reads\nold.gone = no_module:Reads\n")
    return "old"


def test_help_lists_formats_and_imports_nothing_heavy(site, old):
    for arguments in (("import", "--help"), ("import", old, "--help")):
        done = probe(site.path, *arguments)
        assert done.returncode == 0, done.stderr
        # typer checks the values of a command's own options by pydantic
        assert done.stderr in ("HEAVY\n", *(["HEAVY pydantic\n"] if old in arguments else []))
        assert "What TOY's predecessor wrote." in done.stdout
        assert "gone, toy" in done.stdout


def test_a_run_is_made_and_goes_on(gankit, site, old, tmp_path):
    assert gankit("run", "toy", "--json").code == 0
    made = gankit("sample", "runs/toy-toy-dots", "--json")
    assert made.code == 0
    networks = torch_networks(tmp_path)
    state = {f"up.{key}": value for key, value in networks.items()}
    torch.save(state, tmp_path / "old.pth")
    outcome = gankit("import", old, "old.pth", "--json", "--dataset", "toy-dots", "--steps=2")
    assert outcome.code == 0, outcome.err
    run = tmp_path / outcome.data["run"]
    assert outcome.data["variant"] == "toy"
    assert json.loads((run / "environment.json").read_text())["imported"]["files"][0]["name"] == "old.pth"
    assert gankit("sample", run).code == 0
    resumed = gankit("resume", run, "--json")
    assert resumed.code == 0, resumed.err
    assert resumed.data["steps"] == 2
    told = gankit("import", old, "old.pth")
    assert told.code == 0
    assert "next: gankit sample runs/toy-toy-dots/0003" in told.out


def torch_networks(tmp_path):
    from gankit.api import open_run

    (run,) = (tmp_path / "runs" / "toy-toy-dots").iterdir()
    return open_run(run).networks(device="cpu")["generator"].state_dict()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name the format: gankit import FORMAT FILE..., or a directory or hf://ORG/NAME of a run"),
        (("./nowhere",), "there is no directory nowhere."),
        (("hf://org",), "hf://org is no address: write hf://ORG/NAME"),
        ((".", "a.pth"), "a.pth: one run at a time, ."),
        (("odl", "a.pth"), "unknown format 'odl'; did you mean 'old'?"),
        (("old", "--steps", "3"), "name the files of the weights"),
        (("old", "gone.pth"), "gone.pth cannot be read: No such file"),
        (("old", "a.pth", "--steps"), "--steps needs a value"),
        (("old", "a.pth", "a.pth"), "two of the files are called a.pth"),
        (("old", "a.pth", "--size", "0"), "--size 0: must be at least 1"),
    ],
)
def test_what_is_wrong_is_said(gankit, site, old, tmp_path, arguments, words):
    torch.save({"other": torch.ones(1)}, tmp_path / "a.pth")
    outcome = gankit("import", *arguments)
    assert outcome.code == 2
    assert words in outcome.err
    assert not (tmp_path / "runs").exists()


def test_a_broken_reader_is_named_if_no_other_knows_the_files(gankit, site, old, tmp_path):
    torch.save({"other": torch.ones(1)}, tmp_path / "a.pth")
    outcome = gankit("import", old, "a.pth")
    assert outcome.code == 3
    assert "format 'old.gone' of gankit-plugin-toy 1.0 cannot be used" in outcome.err
