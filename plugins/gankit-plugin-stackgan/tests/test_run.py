"""Both stages end to end on a few captioned images: train, resume, draw what a caption asks for, judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gankit_plugin_stackgan.config import PRESETS, TextConfig

import gankit
import gankit.api
from gankit.cli.main import main
from gankit.data.images import decode
from gankit.errors import UsageError
from gankit.evaluate.reader import ReaderConfig

# the CPU, where a second time is the same to the bit
RUN = {"steps": 2, "batch_size": 4, "sample_n": 4, "log_every": 1, "eval_every": 0, "workers": 0, "device": "cpu"}
SIZES = {"z": 2, "condition": 2, "g1_width": 4, "g2_width": 4, "d_width": 2, "text__size": 4, "text__width": 4}
# both encoders, trained for a step of each kind
PAIRS = {f"text__{name}": 1 for name in TextConfig.model_fields if name.endswith("steps")} | {"text__batch_size": 4}


def options(root: Path, **more: object) -> dict[str, Any]:
    data = {"data__root": str(root), "data__size": 16, "data__text_length": 32}
    return {**RUN, **SIZES, **PAIRS, **data, **more}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GANKIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def both(captioned: Path) -> gankit.api.Run:
    """The run of stage II, with that of stage I before it."""
    return gankit.train("stackgan", "captioned-folder", **options(captioned))


def test_stage_two_follows_stage_one_and_draws_in_its_own_size(both: gankit.api.Run) -> None:
    first = gankit.open_run("runs/stackgan-captioned-folder/0001")
    assert both.path.name == "0002"
    assert first.sample(3).images.shape == (3, 3, 8, 8)
    images = both.sample(3, text=["grey 20", "a 日本 rose"]).images
    assert images.shape == (3, 3, 16, 16)
    assert torch.equal(images, both.sample(3, text=["grey 20", "a 日本 rose"]).images)
    assert not torch.equal(images, both.sample(3, text="grey 20").images)
    # what stage II takes over stays as stage I left it
    old, new = (run.networks(device="cpu") for run in (first, both))
    for name, source in (("stage1", "generator"), ("text", "text"), ("images", "images")):
        for key, value in old[source].state_dict().items():
            assert torch.equal(value, new[name].state_dict()[key]), (name, key)


def test_what_lies_between_two_captions(both: gankit.api.Run) -> None:
    two = both.interpolate(texts=["grey 20", "a 日本 rose", "grey 180"], frames=4)
    assert two.images.shape == (8, 3, 16, 16)
    assert [(r["row"], r["at"]) for r in two.records[3:5]] == [(0, 1.0), (1, 0.0)]
    torch.testing.assert_close(two.images[3], two.images[4])  # the second caption, with the same noise
    assert (two.records[0]["from"], two.records[0]["to"]) == ("grey 20", "a 日本 rose")
    assert "text" not in two.records[0]
    there = both.interpolate(texts=["grey 20", "a 日本 rose"], frames=4)
    back = both.interpolate(texts=["a 日本 rose", "grey 20"], frames=4)
    torch.testing.assert_close(there.images, back.images.flip(0))  # the same noise all along a row
    assert not torch.equal(there.images[0], there.images[1])
    still = both.interpolate(texts=["grey 20", "grey 20"], frames=3).images
    torch.testing.assert_close(still[0], still[2])


def test_eval_says_what_the_reader_is_worth(
    both: gankit.api.Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "gankit.evaluate.reader.ReaderConfig",
        lambda: ReaderConfig(size=4, width=2, text_width=4, steps=2, batch_size=4),
    )
    assert main(["eval", str(both.path), "--n", "4"]) == 0
    said = capsys.readouterr().out
    assert "reader" in said
    assert "held_out_images" in said
    assert "text_width" not in said


def test_what_cannot_be_gone_between(both: gankit.api.Run) -> None:
    with pytest.raises(UsageError, match="two captions or more, got 1"):
        both.interpolate(texts=["grey 20"])
    with pytest.raises(UsageError, match="two captions or more, got 1"):
        both.interpolate(texts="grey 20")
    with pytest.raises(UsageError, match="longer than the 32 bytes"):
        both.interpolate(texts=["grey 20", "g" * 40])
    with pytest.raises(UsageError, match="text is given twice"):
        both.interpolate(texts=["grey 20", "grey 40"], given={"text": "grey 60"})
    with pytest.raises(UsageError, match="images or captions"):
        both.interpolate(["a.png", "b.png"], texts=["grey 20", "grey 40"])


def test_sample_text_on_the_command_line(both: gankit.api.Run, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(both.path)
    assert main(["interpolate", path, "--text", "grey 20", "--text", "grey 60", "--out", "between.png"]) == 0
    assert main(["sample", path, "--text", "grey 20", "--n", "5", "--out", "grey.png"]) == 0
    assert decode(Path("grey.png")).shape[0] == 3
    assert main(["sample", path, "--text", "x" * 33]) == 2
    assert "longer than the 32 bytes that this run reads" in capsys.readouterr().err
    assert main(["sample", path, "--label", "1"]) == 2
    assert "it can be asked for text" in capsys.readouterr().err


def test_resuming_either_stage_gives_the_run_that_was_not_interrupted(captioned: Path) -> None:
    whole = gankit.train("stackgan", "captioned-folder", **options(captioned, steps=3, out="whole"))
    parts = gankit.train("stackgan", "captioned-folder", **options(captioned, steps=3, stage=1, out="parts"))
    parts = gankit.train("stackgan", "captioned-folder", **options(captioned, steps=1, stage=2, out="parts"))
    parts.resume(steps=3)
    theirs = parts.networks(device="cpu")
    for name, network in whole.networks(device="cpu").items():
        for key, value in network.state_dict().items():
            assert torch.equal(value, theirs[name].state_dict()[key]), (name, key)


def test_evaluation_without_attributes(both: gankit.api.Run) -> None:
    metrics = both.evaluate(8)["metrics"]
    assert "accuracy" not in metrics  # captions alone are nothing to judge by
    assert metrics["swd"] > 0


def test_captions_that_are_cut_are_told_of_once(captioned: Path) -> None:
    """Of both splits together, although each dataset says it."""
    described = captioned / "metadata.jsonl"
    described.write_text(described.read_text().replace("grey", "a rather light or a rather dark grey"))
    told: list[str] = []
    given = options(captioned, stage=1, steps=1)
    gankit.train(
        "stackgan", "captioned-folder", **given, on_event=lambda event: told.append(getattr(event, "text", ""))
    )
    notes = [text for text in told if " are cut " in text]
    assert notes == ["10 of 10 captions are cut after 32 bytes; the longest has 40: --data.text-length BYTES"]


def test_embeddings_from_a_file(captioned: Path) -> None:
    captions = np.array([f"grey {20 * number}" for number in range(10)])
    np.savez("e.npz", captions=captions, embeddings=np.eye(10, 5))
    given = {name: value for name, value in options(captioned).items() if not name.startswith("text__")}
    given |= {"text__encoder": "precomputed", "text__file": "e.npz"}
    run = gankit.train("stackgan", "captioned-folder", **given)
    assert run.sample(2, text="grey 40").images.shape == (2, 3, 16, 16)
    with pytest.raises(UsageError, match="no embedding of the caption 'grey 41'"):
        run.sample(2, text="grey 41")
    np.savez("e.npz", captions=captions[:5], embeddings=np.eye(5))
    with pytest.raises(UsageError, match=r"no embedding of the caption 'grey \d+'"):
        gankit.train("stackgan", "captioned-folder", **given, out="fewer")


def test_options_of_another_encoder_are_refused(captioned: Path) -> None:
    with pytest.raises(
        UsageError, match=r"^text\.file = .*: does nothing without text\.encoder = precomputed; give both"
    ):
        gankit.train("stackgan", "captioned-folder", **options(captioned, text__file="e.npz"))
    data = {"data": {"root": str(captioned), "size": 16}}
    read = {"text__encoder": "precomputed", "text__file": "e.npz"}
    with pytest.raises(
        UsageError, match=r"^match = 2\.0: does nothing without text\.encoder = char-cnn-rnn; give both"
    ):
        gankit.train("stackgan", "captioned-folder", **data, **read, match=2)
    assert not Path("runs").exists()


def test_the_default_has_batch_norm_in_the_second_discriminator_alone() -> None:
    """And its weights are drawn by that: 2 / (1 + 0.2^2) / fan-in where nothing follows."""
    for stage, norms in ((1, 0), (2, 3)):
        made = gankit.api.make_session("stackgan", "captioned-digits", stage=stage)
        judge = made.networks["discriminator"]
        assert sum(isinstance(part, torch.nn.BatchNorm2d) for part in judge.modules()) == norms
        weight = judge.joint[0].weight
        std = 0.02 if norms else (2 / 1.04 / weight[0].numel()) ** 0.5
        assert weight.std().item() == pytest.approx(std, rel=0.05)


@pytest.mark.parametrize("stage", [1, 2])
def test_preset_paper_as_it_is_planned(captioned: Path, stage: int) -> None:
    """The whole preset, resolved as `gankit run` does: the reference's counts, sizes and schedule."""
    (plan, *_) = [
        plan
        for plan in gankit.api.plan(
            "stackgan", "captioned-folder", preset="paper", stage=stage, data={"root": str(captioned)}
        )
        if plan.stage == stage
    ]
    counts = {network["name"]: network["trainable"] for network in plan.networks}
    assert plan.data["image"] == "image 3x256x256"
    assert plan.steps == PRESETS["paper"][f"stage{stage}"]["steps"]
    if stage == 1:
        assert (counts["generator"], counts["discriminator"]) == (20_020_832, 12_407_425)
    else:
        assert (counts["generator"], counts["discriminator"]) == (37_130_480, 159_889_538)
        assert counts["stage1"] == 0


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_runs_in_small(captioned: Path, preset: str) -> None:
    run = gankit.train("stackgan", "captioned-folder", preset=preset, **options(captioned, low=8, halvings=1))
    assert run.sample(1).images.shape == (1, 3, 16, 16)


def test_a_caption_is_drawn_although_the_folder_has_moved(both: gankit.api.Run, captioned: Path) -> None:
    images = both.sample(2, text="grey 20").images
    captioned.rename("elsewhere")
    moved = gankit.open_run(both.path)
    assert torch.equal(moved.sample(2, text="grey 20").images, images)
    with pytest.raises(UsageError, match=r"text comes from the data unless given, and .*captioned is not there"):
        moved.sample(2)
    with pytest.raises(UsageError, match=r'^data\.root: .*: root = "DIR" under \[data\] in .*config\.toml$'):
        moved.evaluate(4)
    config = both.path / "config.toml"
    config.write_text(config.read_text().replace(str(captioned), str(Path("elsewhere").absolute())))
    assert gankit.open_run(both.path).sample(2).images.shape == (2, 3, 16, 16)
