"""What is written: nothing that is there is lost, no place of this machine is told, and a training goes on."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from shared_runs import made_run, tensors_of

import gankit
from gankit.errors import GankitError, UsageError
from gankit.hub.files import without_places


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return gankit.train("cgan", out=tmp_path_factory.mktemp("runs"), steps=4, hidden=16, eval_every=0, sample_every=0)


def test_it_goes_on_as_if_it_had_never_been_away(run, tmp_path):
    run.export_directory(tmp_path / "shared", training=True)
    notes = []
    again = gankit.import_run(tmp_path / "shared", out=tmp_path, on_event=lambda event: notes.append(event.text))
    assert notes == ["It stands at step 4 of 4, with all that gankit resume needs."]
    copy = gankit.import_run(tmp_path / "shared", out=tmp_path)
    straight = gankit.train("cgan", out=tmp_path / "straight", steps=7, hidden=16, eval_every=0, sample_every=0)
    again.resume(7)
    mine, whole = tensors_of(again), tensors_of(straight)
    assert all(torch.equal(mine[key], whole[key]) for key in whole)
    assert not all(torch.equal(mine[key], value) for key, value in tensors_of(copy).items())


def test_without_optimisers_it_says_so_and_goes_on(run, tmp_path):
    run.export_directory(tmp_path / "shared")
    notes = []
    again = gankit.import_run(tmp_path / "shared", out=tmp_path, steps=6, on_event=lambda e: notes.append(e.text))
    assert notes == ["It stands at step 4 of 6. Optimisers were not shared: where training goes on, they begin anew."]
    again.resume()
    assert again.steps == 6
    more = gankit.train("cgan", out=tmp_path, steps=2, hidden=16, eval_every=0, sample_every=0, init=again.path)
    assert more.steps == 2
    assert again.report().exists()


def test_a_directory_that_is_not_empty(run, tmp_path):
    out = tmp_path / "shared"
    (out / ".git").mkdir(parents=True)
    (out / ".git" / "HEAD").write_text("ref")
    with pytest.raises(UsageError, match=r"shared is not empty\. Give another name, or --overwrite"):
        run.export_directory(out)
    run.export_directory(out, training=True, overwrite=True)
    assert (out / "checkpoint" / "optimizers.safetensors").exists()
    (out / "notes.txt").write_text("mine")
    run.export_directory(out, overwrite=True)
    assert not (out / "checkpoint").exists()
    assert {path.name for path in out.iterdir()} >= {".git", "notes.txt", "README.md", "model.safetensors"}
    (tmp_path / "empty").mkdir()
    run.export_directory(tmp_path / "empty")
    assert (tmp_path / "empty" / "README.md").exists()
    for wrong, words in ((out / "notes.txt", "is no directory"), (tmp_path / "no" / "where", "there is no directory")):
        with pytest.raises(UsageError, match=words):
            run.export_directory(wrong)


def test_what_fails_leaves_nothing(run, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise GankitError("it broke")

    monkeypatch.setattr("gankit.hub.writing.card", broken)
    with pytest.raises(GankitError, match="it broke"):
        run.export_directory(tmp_path / "shared")
    assert list(tmp_path.iterdir()) == []


def test_no_place_is_told(tmp_path):
    home = tmp_path / "secret-user"
    run = made_run("wgan", home / "runs", **{"data.root": str(home / "my photos")})
    assert "secret-user" in (run.path / "config.toml").read_text()
    notes = [f"no sheet of neighbours: {run.path}/a.png", "of as many"]
    (run.path / "evaluation.json").write_text(json.dumps({"notes": notes, "sheet": str(run.path / "a.png")}))
    (run.path / "environment.json").write_text(json.dumps({"init": {"run": "../../secret-user/1", "checkpoint": "x"}}))
    run.export_directory(tmp_path / "shared", training=True)
    for path in (tmp_path / "shared").rglob("*"):
        assert path.is_dir() or b"secret-user" not in path.read_bytes(), path
    assert json.loads((tmp_path / "shared" / "evaluation.json").read_text())["notes"] == ["of as many"]
    again = gankit.import_run(tmp_path / "shared", out=tmp_path)
    assert again.config.data.root == ""
    again = gankit.import_run(tmp_path / "shared", out=tmp_path, data__root=str(tmp_path))
    assert again.config.data.root == str(tmp_path)


def test_captions_from_a_file(tmp_path, monkeypatch):
    """What the networks read has to be given: a file of that name may be here by chance, or by somebody's will."""
    captions = np.array([f"{number} in red" for number in range(4)])
    place = tmp_path / "away"
    place.mkdir()
    np.savez(place / "e.npz", captions=captions, embeddings=np.eye(4, 8, dtype=np.float32))
    run = made_run(
        "stackgan", tmp_path / "runs", stage=1, **{"text.encoder": "precomputed", "text.file": str(place / "e.npz")}
    )
    run.export_directory(tmp_path / "shared")
    monkeypatch.chdir(place)
    with pytest.raises(UsageError, match=r"text.file names a file of another machine\. Give it: --text.file FILE"):
        gankit.import_run(tmp_path / "shared", out=tmp_path)
    again = gankit.import_run(tmp_path / "shared", out=tmp_path, text__file=str(place / "e.npz"))
    mine, theirs = (one.sample(text=list(captions), checkpoint="best", device="cpu").values for one in (run, again))
    assert torch.equal(mine, theirs)
    assert mine.std() > 0.001


def test_names_of_places():
    options = {"a": "/x/y.npz", "b": {"c": ["~/z", "../w", "plain", "a/b", 3]}, "d": "C:\\u\\v", "e": ".."}
    assert without_places(options) == {"a": "y.npz", "b": {"c": ["z", "w", "plain", "a/b", 3]}, "d": "v", "e": ""}


def test_the_card(tmp_path):
    yaml = pytest.importorskip("yaml")
    run = made_run("stackgan", tmp_path / "runs", stage=2)
    log = run.path / "log.jsonl"
    rows = [{"step": 7, "metrics": {"fid": 12.5}}, {"step": 9, "metrics": {"fid": 1.0}}]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    evil = {"notes": ["<img src=x> [a](http://b) | `c`"], "protocol": {"metrics": {"fid": "a|b"}}, "n": 50}
    (run.path / "evaluation.json").write_text(json.dumps(evil))
    judged = [
        {"checkpoint": "step-000007", "n": 900, "metrics": {"kid": 0.25}, "notes": ["of few"]},
        {"checkpoint": "step-000009", "metrics": {"kid": 0.125}},
    ]
    (run.path / "evaluations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in judged))
    run.export_directory(tmp_path / "shared", license="cc0-1.0", datasets=["org/birds"])
    text = (tmp_path / "shared" / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    facts = yaml.safe_load(front)
    assert facts["license"] == "cc0-1.0"
    assert (facts["library_name"], facts["pipeline_tag"]) == ("gankit", "text-to-image")
    assert facts["datasets"] == ["org/birds"]
    assert facts["model-index"][0]["results"][0]["metrics"] == [
        {"type": "fid", "value": 12.5},
        {"type": "kid", "value": 0.25},
    ]
    assert "stage 2 of 2" in body
    assert r"| `fid` | 12.5 |  | 50 | a\|b |" in body
    assert "| `kid` | 0.25 |  | 900 |  |" in body
    assert "- of few" in body
    assert (tmp_path / "shared" / "evaluations.jsonl").read_text().count("\n") == 1
    assert r"\<img src=x\> \[a\](http://b) \| \`c\`" in body
    assert "(sheet.png)" in body
    assert (tmp_path / "shared" / "sheet.png").stat().st_size > 0
    assert "gankit-plugin-stackgan" in body
    assert "9" not in (tmp_path / "shared" / "log.jsonl").read_text()
    (run.path / "evaluation.json").write_text(json.dumps({**evil, "step": 9}))
    run.export_directory(tmp_path / "later")
    assert "img src" not in (tmp_path / "later" / "README.md").read_text()  # what was noted of other weights


@pytest.mark.parametrize(
    ("name", "options", "tag"),
    [("pix2pix", {}, "image-to-image"), ("dcgan", {}, "unconditional-image-generation"), ("theory", {}, None)],
)
def test_what_the_hub_calls_it(name, options, tag, tmp_path):
    yaml = pytest.importorskip("yaml")
    made_run(name, tmp_path / "runs", **options).export_directory(tmp_path / "shared")
    facts = yaml.safe_load((tmp_path / "shared" / "README.md").read_text().split("---\n")[1])
    assert facts.get("pipeline_tag") == tag
    assert facts["license"] == "unknown"
    assert "datasets" not in facts
