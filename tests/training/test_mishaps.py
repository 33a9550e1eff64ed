"""Training that diverges, checkpoints that are damaged or another variant's, a disk that is full."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from tiny_gan import SMALL, Blobs, BlobsConfig, Tiny
from training_helpers import final

import gankit
from gankit.errors import GankitError, UsageError
from gankit.events import TrainingDiverged
from gankit.runs import checkpoint


def test_a_damaged_newest_checkpoint_is_passed_over_and_said(tmp_path):
    run = gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path, **SMALL)
    expected = final(run.path, 12)
    damaged = run.path / "checkpoints" / "step-000012" / "weights.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:100])
    with pytest.raises(GankitError, match="newest intact checkpoint is step-000010"):
        run.sample(2)
    assert run.sample(2, checkpoint="step-000010").images.shape == (2, 1, 8, 8)
    events = []
    run.resume(on_event=events.append)
    assert "Skipped a damaged checkpoint" in events[0].text
    assert str(damaged) in events[0].text
    assert final(run.path, 12) == expected
    for name in run.directory.checkpoints():
        (run.path / "checkpoints" / name / "state.json").write_text("{")
    with pytest.raises(GankitError, match="none of the checkpoints is intact"):
        gankit.open_run(run.path, Tiny, Blobs).resume()


def test_more_steps_although_the_newest_checkpoint_is_damaged(tmp_path):
    run = gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path, **SMALL)
    (run.path / "checkpoints" / "step-000012" / "state.json").write_text("{")
    again = gankit.open_run(run.path, Tiny, Blobs)
    assert again.resume(steps=15).steps == 15
    assert again.directory.latest == "step-000015"


@pytest.mark.parametrize("poison", [0, 7])
def test_nan_stops_the_run_and_names_step_and_term(tmp_path, poison):
    with pytest.raises(TrainingDiverged) as caught:
        gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path, **SMALL, poison=poison)
    text = str(caught.value)
    assert f"step {poison + 1}: phase 'generator', loss term 'adversarial' is nan" in text
    good = "step-000000" if poison == 0 else "step-000005"
    assert good in text
    run = gankit.open_run(tmp_path / "tiny-blobs", Tiny, Blobs)
    assert run.directory.latest == good
    assert all(t.isfinite().all() for t in load_file(run.directory.store / good / "weights.safetensors").values())


class Infected(Tiny):
    """Its losses stay finite while a weight that no loss looks at does not."""

    def networks(self, spec):
        networks = super().networks(spec)
        networks["generator"].register_parameter("idle", torch.nn.Parameter(torch.ones(1)))
        return networks

    def generator_loss(self, step):
        if step.index == 6:
            step.networks["generator"].idle.data.fill_(float("inf"))
        return super().generator_loss(step)


def test_a_checkpoint_is_never_made_of_weights_that_are_not_finite(tmp_path):
    with pytest.raises(TrainingDiverged, match=r"step 10: weight generator\.idle is not finite"):
        gankit.train(Infected, Blobs(BlobsConfig()), out=tmp_path, **SMALL)
    run = gankit.open_run(tmp_path / "infected-blobs", Infected, Blobs)
    assert run.directory.checkpoints() == ["step-000000", "step-000005"]


def test_a_checkpoint_of_another_variant_is_refused(tmp_path):
    run = gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path, **SMALL)
    other = gankit.train(Infected, Blobs(BlobsConfig()), out=tmp_path, **{**SMALL, "steps": 2})
    target = run.path / "checkpoints" / "step-000012"
    checkpoint.write(target, checkpoint.read(other.path / "checkpoints" / "step-000002"))
    for use in (run.sample, run.resume):
        with pytest.raises(UsageError, match="the checkpoint is of variant 'infected', not 'tiny'"):
            use()


def test_a_log_that_cannot_be_written_is_one_error(tmp_path, monkeypatch):
    def full(self, row):
        raise OSError(28, "No space left on device", str(self.path))

    monkeypatch.setattr("gankit.runs.log.JsonLines.write", full)
    with pytest.raises(GankitError, match=r"log\.jsonl could not be written at step 4: No space left on"):
        gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path, **SMALL)
