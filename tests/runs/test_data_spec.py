"""What the data was is kept with a run, which is then drawn from without the data."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest
import torch
from tiny_gan import SMALL, Blobs, BlobsConfig, Tiny

import gankit
from gankit.errors import GankitError, UsageError
from gankit.plugin import DataSpec, Key
from gankit.runs.data_spec import KeptSpec, difference, read_spec, write_spec

IMAGE = Key(kind="image", shape=(3, 8, 4))
LABEL = Key(kind="class", names=("a b", "日本", "\udcff"))  # a directory's name need not be UTF-8
SPEC = DataSpec(keys={"image": IMAGE, "label": LABEL, "text": Key(kind="text", shape=(9,))})


def test_a_spec_comes_back_with_its_keys_in_order(tmp_path):
    assert read_spec(tmp_path / "spec.json") is None
    full = DataSpec(
        keys={
            **SPEC.keys,
            "depth": Key(kind="image", shape=(1, 4, 2), of="image"),
            "eyes": Key(kind="points", shape=(2, 3), of="image", mirror=(1, 0)),
            "other": Key(kind="class", names=LABEL.names, like="label", target=True),
        }
    )
    kept = KeptSpec(full, {"train": "some", "test": ""})
    write_spec(tmp_path / "spec.json", kept)
    found = read_spec(tmp_path / "spec.json")
    assert found == kept
    assert list(found.spec.keys) == list(full.keys)


def spec_text(**image: object) -> str:
    return json.dumps({"keys": {"image": {"kind": "image", "shape": [3, 8, 4], **image}}})


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "{}", "3", "nul", '{"keys": {"image": 3}}', '{"keys": {}}', '{"keys": []}', "\x00" * 9),
        *("[" * 20_000, '{"keys":' * 20_000, '{"keys": ' + "9" * 5000 + "}"),
        spec_text(kind="picture"),
        spec_text(kind=["image"]),
        *(
            spec_text(shape=shape)
            for shape in (3, [3, 8], [3, 8, 0], [3, 8, -4], [3, 8, 4.0], [3, 8, True], ["3", 8, 4])
        ),
        spec_text(shape=[3, 10**9, 10**9]),
        spec_text(names="ab"),
        spec_text(names=[1]),
        spec_text(of=3),
        spec_text(of="nothing"),
        spec_text(mirror=[0.5]),
        spec_text(target=1),
        spec_text(colour="red"),
        json.dumps({"keys": {"label": {"kind": "class"}}}),
        json.dumps({"keys": json.loads(spec_text())["keys"], "fingerprints": {"train": 3}}),
    ],
)
def test_a_damaged_file_is_named(tmp_path, text):
    (tmp_path / "spec.json").write_text(text)
    with pytest.raises(GankitError, match=r"spec\.json is damaged: .*\. Remove it: the data itself"):
        read_spec(tmp_path / "spec.json")


def test_what_is_no_file_is_named(tmp_path):
    (tmp_path / "spec.json").mkdir()
    with pytest.raises(GankitError, match=r"spec\.json cannot be read: it is a directory, not a file"):
        read_spec(tmp_path / "spec.json")
    (tmp_path / "spec.json").rmdir()
    os.mkfifo(tmp_path / "spec.json")
    with pytest.raises(GankitError, match=r"spec\.json cannot be read: it is a pipe, not a file"):
        read_spec(tmp_path / "spec.json")


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"image": IMAGE, "label": LABEL}, ""),
        ({"image": IMAGE}, "'label' is gone"),
        ({"image": IMAGE, "label": LABEL, "text": IMAGE}, "'text' is new"),
        (
            {"image": Key(kind="image", shape=(1, 8, 4)), "label": LABEL},
            "image (3, 8, 4), now it is image (1, 8",
        ),
        ({"image": IMAGE, "label": Key(kind="class", names=("a b", "c"))}, "classes of 'label' are others: 'c'"),
        ({"image": IMAGE, "label": Key(kind="class", names=LABEL.names[::-1])}, "in another order"),
        ({"image": IMAGE, "label": replace(LABEL, of="image")}, "with another image"),
    ],
)
def test_what_has_changed_is_said(keys, words):
    text = difference(DataSpec(keys={"image": IMAGE, "label": LABEL}), DataSpec(keys=keys))
    assert words in text
    assert bool(words) is bool(text)


class Files(Blobs):
    """Blobs that are gone when their directory is."""

    def __init__(self, config, split="train"):
        super().__init__(config, split)
        if not self.place.exists():
            raise UsageError(f"data.root: {self.place} is not there")


@pytest.fixture
def moved(tmp_path):
    """A run whose data has gone since."""
    Files.place = tmp_path / "data"
    Files.place.mkdir()
    run = gankit.train(Tiny, Files(BlobsConfig()), out=tmp_path, **SMALL)
    images = run.sample(3).images
    Files.place.rmdir()
    return gankit.open_run(run.path, Tiny, Files), images


def test_samples_need_no_data(moved):
    run, images = moved
    assert torch.equal(run.sample(3).images, images)
    assert run.spec.classes() == 3
    for use in (lambda: run.evaluate(4), lambda: run.resume(steps=15)):
        with pytest.raises(UsageError, match="is not there"):
            use()
    assert "steps = 12" in (run.path / "config.toml").read_text()  # what could not begin has changed nothing


def test_a_run_made_before_specs_were_kept_asks_the_data(moved):
    run, images = moved
    (run.path / "spec.json").unlink()
    with pytest.raises(UsageError, match="is not there"):
        run.sample(3)
    Files.place.mkdir()
    assert torch.equal(run.sample(3).images, images)
    run.resume(steps=13)
    assert read_spec(run.path / "spec.json").spec == run.dataset().spec


def test_other_data_than_the_runs_is_refused(tmp_path):
    class Renamed(Blobs):
        @property
        def spec(self):
            keys = {**super().spec.keys, "label": Key(kind="class", names=("dark", "grey", "white"))}
            return DataSpec(keys=keys)

    path = gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path, **SMALL).path
    run = gankit.open_run(path, Tiny, Renamed)
    for use in (lambda: run.evaluate(4), lambda: run.resume(steps=15)):
        with pytest.raises(UsageError, match="made with: the classes of 'label' are others: 'light'"):
            use()
    assert run.sample(3).records[2]["label"] == "light"


def test_what_samples_are_held_to_may_become_known_later() -> None:
    """Of a run whose data has since learnt to judge its samples nothing but judging changes."""
    mask = Key(kind="mask", shape=(1, 8, 8), of="image")
    then, now = (DataSpec(keys={"image": IMAGE, "land": replace(mask, like=like)}) for like in (None, "land"))
    assert difference(then, now) == difference(now, then) == ""
    moved = DataSpec(keys={"image": IMAGE, "land": replace(mask, of=None)})
    assert "'land' describes or moves with another image" in difference(then, moved)
