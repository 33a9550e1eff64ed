"""Options of the variant ``gawwn``, and its presets. Imports no torch."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from gankit.plugin import Config, Optim
from gankit.text.config import TextConfig


class GAWWNConfig(Config):
    """Options of the variant ``gawwn``."""

    place: Literal["box", "points"] = "box"
    """What says where: the box around what is drawn, or points of it."""
    place_key: str = ""
    """Which boxes or points of the data; none: `box` or `points`."""
    z: int = Field(100, ge=1)
    """Length of the noise vector."""
    width: int = Field(128, ge=2)
    """The generator's channels; its maps have from one to eight times as many."""
    last: int = Field(32, ge=1)
    """Channels of maps of half the images' size, and of those above a quarter."""
    doubling: Literal["deconv", "resize"] = "deconv"
    """How the generator's maps become twice as large: as published, or enlarged and convolved, which leaves no
    checkerboards (Odena et al. 2016)."""
    d_width: int = Field(128, ge=1)
    """The discriminator's channels, likewise."""
    d_norm: Literal["batch", "none"] = "batch"
    """In the discriminator: batch norm, as in the paper, or none, with first weights after He et al. 2015. Real and
    drawn images are batches of their own, so that batch norm hides what all of one batch have in common."""
    told: int = Field(128, ge=1)
    """Channels that a text takes in the discriminator."""
    mismatch: Literal["any", "near"] = "any"
    """What the discriminator has to tell from an image's own caption: any other of the batch's, as in the paper, or the
    one that comes nearest to it."""
    misplaced: float = Field(0.0, ge=0)
    """Weight of a term that is not in the paper: the discriminator has to tell an image's own place from another
    image's, too; 0 = off."""
    patches: float = Field(0.0, ge=0)
    """Weight of terms that are not in the paper: the discriminator also tells real patches from drawn ones, whatever
    their text (a PatchGAN, Isola et al. 2017), which makes grounds more even; 0 = off."""
    match: float = Field(0.0, ge=0)
    """Weight of a term that is not in the paper: the image encoder that char-cnn-rnn was trained with has to find each
    caption by what is drawn in its box (in the manner of AttnGAN's DAMSM loss); 0 = off."""
    l1: float = Field(0.0, ge=0)
    """Weight of a term that is not in the paper: the mean absolute difference from the image whose caption and place a
    drawing has (Isola et al. 2017); 0 = off. For data whose captions and places leave little open: of what they leave
    open it makes a mean."""
    text: TextConfig = TextConfig()
    """Text encoder; trained here on what is in the boxes of the data, if it has any."""
    optim: Optim = Optim(lr=2e-4, betas=(0.5, 0.999))
    """Optimiser of both networks."""

    def without_effect(self) -> dict[str, str]:
        return {} if self.text.encoder == "char-cnn-rnn" else {"match": "text.encoder = char-cnn-rnn"}


PRESETS: dict[str, dict[str, Any]] = {
    "default": {
        "steps": 1800,
        "batch_size": 32,
        "sample_n": 16,
        "sample_every": 300,
        "eval_every": 600,
        "ema": 0.999,
        "precision": "auto",
        "z": 32,
        "width": 24,
        "doubling": "resize",
        "d_width": 24,
        "d_norm": "none",
        "told": 32,
        "mismatch": "near",
        "misplaced": 0.5,
        "patches": 1.0,
        "match": 1.0,
        "l1": 10.0,
        "optim.lr": 1e-3,
        "optim.schedule": "linear",
    },
    # the authors' code: 1,000 epochs of the 8,855 birds that have captions for training; halved every 100 epochs
    "paper": {
        "steps": 553_000,
        "batch_size": 16,
        "data.size": 128,
        "text.size": 1024,
        "text.width": 512,
        "sample_every": 5000,
        "checkpoint_every": 5000,
        "optim.schedule": "halve",
        "optim.halvings": 9,
    },
}
