"""What would fail at once is refused before a run's directory is made, and before anything long."""

from __future__ import annotations

import pytest
import torch
from tiny_gan import SMALL, Blobs, BlobsConfig, Tiny
from torch import nn
from training_helpers import final, train

import gankit
from gankit.errors import PluginError, UsageError
from gankit.training import launch


class Flat(Tiny):
    """Its batch norm sees one value a channel of each sample, and it prepares."""

    prepared = 0

    def networks(self, spec):
        networks = super().networks(spec)
        networks["generator"][0] = nn.Sequential(networks["generator"][0], nn.BatchNorm1d(self.config.hidden * 4))
        networks["generator"][0].in_features = 4 + self.classes
        return networks

    def prepare(self, preparation):
        type(self).prepared += 1


def test_a_batch_too_small_for_batch_norm_is_refused_before_anything_is_prepared(tmp_path):
    with pytest.raises(UsageError, match=r"batch_size = 1 is too small: a batch norm of Flat .* Give at least 2\."):
        train(tmp_path, Flat, batch_size=1)
    with pytest.raises(UsageError, match="batch_size = 1 is too small"):
        gankit.api.plan(Flat, Blobs(BlobsConfig()), **{**SMALL, "batch_size": 1})
    assert not list(tmp_path.iterdir())
    assert Flat.prepared == 0
    assert train(tmp_path, Flat, batch_size=2).finished


class Wide(Tiny):
    def sample(self, networks, request):
        return super().sample(networks, request).expand(-1, 3, -1, -1)


class Few(Tiny):
    def sample(self, networks, request):
        return super().sample(networks, request)[:1]


class Misnamed(Tiny):
    metric = "beauty"


class Crooked(Tiny):
    def generator_loss(self, step):
        return {"adversarial": torch.ones(3) @ torch.ones(4)}


class Unnamed(Tiny):
    produces = ("picture",)


@pytest.mark.parametrize(
    ("kind", "options", "error", "words"),
    [
        (Wide, {}, PluginError, r"Wide: sample\(\) returned shape \(2, 3, 8, 8\); asked for \(2, 1, H, W\)"),
        (Few, {}, PluginError, r"Few: sample\(\) returned shape \(1, 1, 8, 8\); asked for \(2, 1, H, W\)"),
        (Misnamed, {"eval_every": 4}, (UsageError, PluginError), "beauty"),
        (Crooked, {}, PluginError, r"Crooked cannot take its first step .*RuntimeError: .*\(test_rehearsal\.py:\d+\)"),
        (Unnamed, {}, UsageError, "dataset 'blobs' has no picture, which Unnamed draws; it has image, label"),
        (
            Tiny,
            {"batch_size": 10**13},
            UsageError,
            r"batch_size = 10+: a batch alone takes .* GiB; there are",
        ),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(tmp_path, kind, options, error, words):
    with pytest.raises(error, match=words):
        train(tmp_path, kind, **options)
    assert not list(tmp_path.iterdir())


class Particular(Tiny):
    """Takes nothing made up, and nothing but whole batches."""

    def discriminator_loss(self, step):
        if step.size != SMALL["batch_size"] or len(step.batch["image"].unique()) > 8:
            raise ValueError("not these")
        return super().discriminator_loss(step)


def test_what_only_the_data_itself_has_is_no_reason_to_refuse(tmp_path):
    assert train(tmp_path, Particular).finished


class Prepared(Tiny):
    """Cannot take a step until it is prepared."""

    def networks(self, spec):
        networks = super().networks(spec)
        networks["generator"].register_buffer("scale", torch.zeros(()))
        return networks

    def prepare(self, preparation):
        preparation.networks["generator"].scale.fill_(1.0)

    def generator_loss(self, step):
        if not step.networks["generator"].scale:
            raise RuntimeError("not prepared")
        return super().generator_loss(step)


def test_what_prepare_makes_is_not_asked_for_before(tmp_path):
    assert train(tmp_path, Prepared).finished


def test_the_run_is_the_same_as_without(tmp_path, monkeypatch):
    rehearsed = train(tmp_path / "a")
    monkeypatch.setattr(launch, "rehearse", lambda ready: None)
    assert final(rehearsed.path, 12) == final(train(tmp_path / "b").path, 12)


class Crowded(Tiny):
    def panels(self, networks, request):
        return {"drawn": self.sample(networks, request)[:1]}


class Plotted(Tiny):
    def figures(self, networks, request):
        return {"a/b": torch.zeros(2, 2, 3, dtype=torch.uint8)}


@pytest.mark.parametrize(
    ("kind", "words"),
    [(Crowded, r"panels\(\) returned \(1, 1, 8, 8\) for 'drawn'"), (Plotted, r"figures\(\) has the name 'a/b'")],
)
def test_a_sheet_that_cannot_be_laid_out_is_no_reason_to_begin(tmp_path, kind, words):
    with pytest.raises(PluginError, match=words):
        train(tmp_path, kind)
    assert not list(tmp_path.iterdir())
