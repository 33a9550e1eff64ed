"""What `step.augment` and the options ``augment.*`` do in a training."""

from __future__ import annotations

import pytest
import torch
from tiny_gan import SMALL, Blobs, Tiny
from torch.nn import functional as F
from training_helpers import train

from gankit.errors import PluginError, UsageError
from gankit.events import Note
from gankit.options.resolve import resolve
from gankit.training.session import Session


def make_session(**options):
    resolved = resolve(Tiny, Blobs, variant="tiny", dataset="blobs", options={**SMALL, **options})
    return Session(Tiny(resolved.options), Blobs(resolved.data), resolved)


def test_augmentation_is_off_unless_asked_for_and_changes_with_the_run_generator():
    plain = make_session()
    image = torch.ones(4, 1, 8, 8)
    assert plain.new_step(0).augment(image) is image
    moved = make_session(augment={"diff": ("translation",), "flip": True, "crop": 0.25})
    step = moved.new_step(0)
    assert not torch.equal(step.augment(image), step.augment(image))
    assert step.batch["image"].shape == (8, 1, 8, 8)


def test_maps_are_augmented_along_with_images_if_it_is_switched_on():
    images, maps = torch.ones(4, 1, 8, 8), torch.full((4, 2, 8, 8), 3.0)
    seen, along = make_session().new_step(0).augment(images, along=maps)
    assert seen is images
    assert along is maps
    seen, along = make_session(augment={"diff": ("translation", "cutout")}).new_step(0).augment(images, along=maps)
    assert torch.equal(along, 3 * seen.expand(-1, 2, -1, -1))
    assert 0 < seen.sum() < images.sum()
    for session in (make_session(), make_session(augment={"diff": ("cutout",)})):
        with pytest.raises(PluginError, match="`along` must be"):
            session.new_step(0).augment(images, along=maps[..., :4])


def test_images_are_augmented_with_the_probability_that_is_asked_for():
    image, step = torch.ones(200, 1, 8, 8), make_session(augment={"diff": ("cutout",)}).new_step(0)
    assert torch.equal(step.augment(image, p=0.0), image)
    chosen = (step.augment(image, p=torch.tensor(0.25)) != image).flatten(1).any(1)
    assert 20 < chosen.sum() < 80
    seen, along = step.augment(image, along=image, p=0.5)
    assert torch.equal(seen, along)
    off = make_session().new_step(0)
    assert off.augment(image, p=0.5) is image
    for one in (step, off):
        with pytest.raises(PluginError, match="`p` is a probability, from 0 to 1, not 2"):
            one.augment(image, p=2)


class Plain(Tiny):
    """Calls step.augment nowhere."""

    def discriminator_loss(self, step):
        fake = step.shared("fake", lambda: self.fake(step)).detach()
        d = step.networks["discriminator"]
        return {"both": F.softplus(d(fake)).mean() + F.softplus(-d(step.batch["image"])).mean()}

    def generator_loss(self, step):
        fake = step.shared("fake", lambda: self.fake(step))
        return {"adversarial": F.softplus(-step.networks["discriminator"](fake)).mean()}


@pytest.mark.parametrize(("variant", "policy", "said"), [(Plain, ("color",), 1), (Plain, (), 0), (Tiny, ("color",), 0)])
def test_augmentation_that_no_loss_calls_is_said_once(tmp_path, variant, policy, said):
    notes = []
    train(tmp_path, variant, steps=3, augment={"diff": policy}, on_event=notes.append)
    texts = [event.text for event in notes if isinstance(event, Note)]
    assert len([text for text in texts if "no loss calls step.augment" in text]) == said


@pytest.mark.parametrize(
    ("crop", "text"),
    [
        (2, r"must be a fraction of a side, not pixels: 0\.125 is up to 8 of 64"),
        ("1", "must be a fraction of a side, not pixels"),
        (0.5, r"must be less than 0\.5"),
        (-0.1, "must be greater than or equal to 0"),
        ("wide", "must be a valid number"),
    ],
)
def test_a_crop_is_a_fraction_of_a_side(crop, text):
    with pytest.raises(UsageError, match=rf"augment\.crop = '?{crop}'?: {text}"):
        make_session(augment={"crop": crop})
