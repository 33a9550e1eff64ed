"""What variants say of their curves: all that are here say something, of what there is; chance is as it is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from gankit import chance
from gankit.discovery.entry_points import load_dataset, load_variant, variants
from gankit.evaluate.table import better
from gankit.ops import patchgan_d_loss, patchgan_g_loss
from gankit.options.resolve import resolve

PLUGINS = {path.name for path in (Path(__file__).parents[2] / "plugins").iterdir()}
OURS = [name for name, entry in variants().items() if entry.distribution in PLUGINS]


@pytest.mark.parametrize("name", OURS)
def test_variants_speak_of_what_there_is(name):
    variant = load_variant(name)
    dataset = load_dataset(variant.dataset)
    for preset in {"default", *variant.presets}:
        for stage in range(1, variant.stages + 1):
            options = {"stage": stage} if variant.stages > 1 else {}
            names = {"variant": name, "dataset": variant.dataset, "preset": preset}
            made = variant(resolve(variant, dataset, **names, options=options).options)
            phases = {phase.name for phase in made.phases()}
            said = made.expect()
            assert said[""]
            for about, text in said.items():
                known = not about or about.partition("/")[0] in phases or better(about, made.metrics)
                assert known, (preset, about)
                assert text == text.strip()
                assert text.endswith((".", ")")), (preset, about, text)


@pytest.mark.parametrize("weight", [1.0, 0.5])
@pytest.mark.parametrize(("kind", "logit"), [("bce", 0.0), ("lsgan", 0.5), ("hinge", 0.3)])
def test_what_a_discriminator_that_cannot_tell_has(kind, logit, weight):
    answers = torch.full((4, 1), logit)  # the same to all: the best that there is where real and drawn are alike

    def said(text):
        return float(re.search(r" (?:of|is) (\d[\d.]*\d|\d)[ ,]", text)[1])

    loss = weight * float(patchgan_d_loss(answers, answers, kind))
    assert said(chance.discriminator(kind, weight)) == pytest.approx(loss, abs=0.005)
    if kind != "hinge":
        loss = weight * float(patchgan_g_loss(answers, kind))
        assert said(chance.generator(kind, weight)) == pytest.approx(loss, abs=0.0005)


def test_kinds_without_a_floor_are_described_as_such():
    assert "no floor" in chance.discriminator("wgan")
    assert chance.generator("wgan") == chance.generator("hinge")
