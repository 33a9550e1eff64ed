"""A run that was stopped and goes on ends as if it had not been."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny_gan import SMALL, Blobs, BlobsConfig, Tiny
from training_helpers import Stop, final, numbers, stop_at

import gankit
from gankit.errors import UsageError
from gankit.events import Finished, Note
from gankit.runs import checkpoint, tensor_folder

CASES = {
    "plain": {},
    "repeat, every": {"repeat": 2, "every": 3},
    "accumulate": {"accumulate": 2, "batch_size": 5},
    "bf16": {"precision": "bf16"},
    "augmented": {"augment": {"flip": True, "crop": 0.25, "diff": ("color", "translation", "cutout")}},
    "no average": {"ema": 0.0},
    "schedule": {"optim": {"schedule": "cosine", "lr": 1e-2}},
    "schedule of a phase that rests": {"every": 4, "log_every": 1, "optim": {"schedule": "linear", "hold": 0.0}},
    "rmsprop": {"optim": {"kind": "rmsprop"}},
    "sgd": {"optim": {"kind": "sgd", "betas": (0.9, 0.0)}},
    "channels_last": {"memory_format": "channels_last"},
    "threads": {"workers": 3},
    "all schedules": {
        "optim": {"schedule": "linear", "hold": 0.1, "lr_end": 1e-4, "betas_end": (0.0, 0.9)},
        "ema": 0.9,
        "ema_start": 0.1,
        "ema_until": 0.8,
    },
}


@pytest.mark.parametrize("case", CASES)
def test_resumed_bit_for_bit(tmp_path, case):
    options = {**SMALL, **CASES[case]}
    whole = gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path / "whole", **options)
    with pytest.raises(Stop):
        gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path / "parts", on_event=stop_at(5), **options)
    run = gankit.open_run(tmp_path / "parts" / "tiny-blobs", Tiny, Blobs)
    assert run.steps == 5
    assert not run.finished
    torch.randn(7)  # the caller's own random numbers do not matter
    with pytest.raises(Stop):
        run.resume(on_event=stop_at(10))
    run = gankit.open_run(run.path, Tiny, Blobs).resume()
    assert run.finished
    assert final(run.path, 12) == final(whole.path, 12)
    assert numbers(run.log) == numbers(whole.log)
    assert (run.path / "samples" / "000012.png").read_bytes() == (whole.path / "samples" / "000012.png").read_bytes()


def test_the_same_seed_is_the_same_run_and_another_is_not(tmp_path):
    runs = [gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path, **SMALL, seed=seed) for seed in (1, 1, 2)]
    weights = [final(run.path, 12) for run in runs]
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]


def test_training_leaves_the_callers_random_state_alone(tmp_path):
    before = torch.get_rng_state()
    gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path, **SMALL).sample(3)
    assert torch.equal(before, torch.get_rng_state())


def test_a_finished_run_says_so_and_takes_more_steps(tmp_path):
    run = gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path, **SMALL)
    events = []
    run.resume(on_event=events.append)
    assert [type(e) for e in events] == [Note]
    assert "is finished at step 12. For more: --steps 24" in events[0].text
    with pytest.raises(UsageError, match="has 12 steps already"):
        run.resume(steps=8)
    run.resume(steps=15, on_event=events.append)
    assert isinstance(events[-1], Finished)
    assert gankit.open_run(run.path, Tiny, Blobs).config.run.steps == 15
    longer = gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path, **{**SMALL, "steps": 15})
    assert final(run.path, 15) == final(longer.path, 15)


def test_a_checkpoint_is_looked_through_once(tmp_path, monkeypatch):
    run = gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path, **SMALL)
    looked = []
    digest = tensor_folder.digest_of
    monkeypatch.setattr(tensor_folder, "digest_of", lambda path: looked.append(path) or digest(path))
    run.resume(steps=13)
    read = [path.name for path in looked if path.parent.name == "step-000012"]
    assert sorted(read) == ["ema.safetensors", "optimizers.safetensors", "weights.safetensors"]


class Slashed(Tiny):
    """A phase whose name is a path."""

    def phases(self):
        return [replace(phase, name=f"turn/{phase.name}") for phase in super().phases()]


def test_a_phase_with_a_slash_in_its_name(tmp_path):
    with pytest.raises(Stop):
        gankit.train(Slashed, Blobs(BlobsConfig()), out=tmp_path / "a", on_event=stop_at(5), **SMALL)
    run = gankit.open_run(tmp_path / "a" / "slashed-blobs", Slashed, Blobs).resume()
    whole = gankit.train(Slashed, Blobs(BlobsConfig()), out=tmp_path / "b", **SMALL)
    assert final(run.path, 12) == final(whole.path, 12)


def test_a_dataset_that_changed_is_refused(tmp_path):
    with pytest.raises(Stop):
        gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path, on_event=stop_at(5), **SMALL)
    config = tmp_path / "tiny-blobs" / "0001" / "config.toml"
    config.write_text(config.read_text().replace("count = 20", "count = 21"))
    with pytest.raises(UsageError, match=r"20 samples .* now 21"):
        gankit.open_run(config.parent, Tiny, Blobs).resume()


def test_what_is_wrong_with_the_data_is_said_again(tmp_path):
    class Noted(Blobs):
        def notes(self):
            return ["3.png cannot be read", f"{self.split} split: small"]

    run = gankit.train(Tiny, Noted(BlobsConfig()), out=tmp_path, **SMALL)
    events = []
    run.resume(steps=14, on_event=events.append)
    texts = [event.text for event in events if isinstance(event, Note)]
    assert texts == ["3.png cannot be read", "train split: small", "test split: small"]


def test_another_device_or_torch_is_said(tmp_path, monkeypatch):
    with pytest.raises(Stop):
        gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path, on_event=stop_at(5), **SMALL)
    folder = tmp_path / "tiny-blobs" / "0001" / "checkpoints" / "step-000005"
    saved = checkpoint.read(folder)
    state = {k: v for k, v in saved.state.items() if k not in ("format", "files")}
    state["parts"]["random"] |= {"run": checkpoint.encode_bytes(torch.zeros(16, dtype=torch.uint8)), "device": "cuda"}
    saved.state = {**state, "device": "cuda"}
    checkpoint.write(folder, saved)
    events = []
    run = gankit.open_run(tmp_path / "tiny-blobs", Tiny, Blobs).resume(on_event=events.append)
    assert run.finished
    assert any("so far on cuda" in e.text and "will differ" in e.text for e in events if isinstance(e, Note))


def test_another_precision_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("gankit.device._computes_bf16", lambda device: False)
    gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path, precision="auto", **SMALL)
    monkeypatch.setattr("gankit.device._computes_bf16", lambda device: True)
    events = []
    gankit.open_run(tmp_path / "tiny-blobs", Tiny, Blobs).resume(steps=14, on_event=events.append)
    (said,) = [e.text for e in events if isinstance(e, Note)]
    assert "so far on cpu in float32 with" in said
    assert "on cpu in bf16 with" in said


def test_a_run_being_trained_is_not_touched(tmp_path):
    with pytest.raises(Stop):
        gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path, on_event=stop_at(5), **SMALL)
    run = gankit.open_run(tmp_path / "tiny-blobs", Tiny, Blobs)
    before = (run.path / "config.toml").read_bytes()
    with run.directory.lock(), pytest.raises(UsageError, match="is being trained"):
        run.resume(steps=50)
    assert (run.path / "config.toml").read_bytes() == before
