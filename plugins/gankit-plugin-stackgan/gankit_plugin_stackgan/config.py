"""Options of the variant ``stackgan``, and its presets. Imports no torch."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from gankit.plugin import Config, Optim
from gankit.text.config import TextConfig


class StackGANConfig(Config):
    """Options of the variant ``stackgan``."""

    stage: int | None = Field(None, ge=1, le=2)
    """1 draws small images from captions, 2 large ones from those; none trains both."""
    low: int | None = Field(None, ge=8)
    """Side of stage-I images; none takes half the dataset's, a quarter above 64."""
    z: int = Field(32, ge=1)
    """Length of the noise vector."""
    condition: int = Field(64, ge=1)
    """Length of the condition that a caption's embedding becomes."""
    g1_width: int = Field(64, ge=2)
    """Channels of the stage-I generator's layer before its last doubling."""
    g2_width: int = Field(32, ge=2)
    """Channels of the stage-II generator's first layer."""
    d_width: int = Field(32, ge=1)
    """Channels of the discriminators' first layer."""
    projection: Literal["linear", "relu"] = "linear"
    """What makes a condition's mean and log-variance of an embedding: a linear layer, as in the paper, or one with a
    ReLU behind it, as in the authors' code."""
    d_norm: Literal["batch", "none"] = "batch"
    """In the discriminators: batch norm, as in the paper, or none, with first weights after He et al. 2015. Real and
    drawn images are batches of their own, so that batch norm hides what all of one batch have in common."""
    blocks: int = Field(1, ge=0)
    """Residual blocks of the stage-II generator."""
    halvings: int = Field(1, ge=1, le=4)
    """How often the stage-II generator halves the stage-I image before it joins the caption."""
    onto: bool = False
    """Stage II corrects the enlarged stage-I image, where the paper's draws it anew."""
    kl: float = Field(2.0, ge=0)
    """Weight of the divergence of the condition's distribution from the standard normal."""
    truncation: float = Field(1.0, ge=0, allow_inf_nan=False)
    """Factor of the condition's noise when samples are drawn: 1 as in training, 0 its mean (in the manner of the
    truncation of Karras et al. 2019)."""
    mismatch: Literal["any", "near"] = "any"
    """What the discriminator has to tell from an image's own caption: any other of the batch's, as in the paper, or the
    one that comes nearest to it."""
    seek: float = Field(0.0, ge=0)
    """Weight of a term that is not in the paper: half of the captions are drawn twice, and the two images have to
    differ (mode seeking, Mao et al. 2019); 0 = off. Without it all images of a caption may come out the same."""
    match: float = Field(0.0, ge=0)
    """Weight of a term that is not in the paper: the image encoder that char-cnn-rnn was trained with has to find each
    drawn image's own caption (in the manner of AttnGAN's DAMSM loss); 0 = off."""
    text: TextConfig = TextConfig()
    """Text encoder."""
    optim: Optim = Optim(lr=2e-4, betas=(0.5, 0.999))
    """Optimiser of all networks."""

    def without_effect(self) -> dict[str, str]:
        return {} if self.text.encoder == "char-cnn-rnn" else {"match": "text.encoder = char-cnn-rnn"}


# The paper, section 5: 600 epochs a stage in batches of 64, the learning rate halved every 100; widths of the authors'
# code for birds. 8,855 birds and 7,034 flowers are for training, of classes that are not held out.
_PAPER_256 = {
    "batch_size": 64,
    "data.size": 256,
    "low": 64,
    "z": 100,
    "condition": 128,
    "g1_width": 128,
    "g2_width": 128,
    "d_width": 64,
    "blocks": 4,
    "halvings": 2,
    "text.size": 1024,
    "text.width": 512,
    "ema": 0.0,
    "optim.lr": 2e-4,
    "optim.schedule": "halve",
    "optim.halvings": 5,
    "sample_every": 2000,
    "checkpoint_every": 2000,
}


PRESETS: dict[str, dict[str, Any]] = {
    "default": {
        "batch_size": 64,
        "memory_format": "channels_last",  # faster on CPUs; on a GPU in float32 not measured
        "ema": 0.995,
        "optim.lr": 1e-3,
        "kl": 0.05,
        "truncation": 0.0,
        "mismatch": "near",
        "onto": True,
        "sample_every": 250,
        "stage1": {
            "steps": 2600,
            "d_width": 64,
            "d_norm": "none",  # stage II, which starts from good images, draws smoother strokes with batch norm
            "seek": 0.05,
            "match": 2.0,
            "optim.schedule": "linear",
        },
        "stage2": {"steps": 500, "d_width": 48, "match": 5.0},
    },
    # StackGAN-Pytorch, COCO: 90 epochs of 82,783 images, the learning rate halved every 20 epochs
    "paper": {
        "data.size": 256,
        "low": 64,
        "z": 100,
        "condition": 128,
        "g1_width": 192,
        "g2_width": 192,
        "d_width": 96,
        "blocks": 2,
        "halvings": 2,
        "text.size": 1024,
        "text.width": 512,
        "ema": 0.0,
        "optim.lr": 2e-4,
        "optim.schedule": "halve",
        "optim.halvings": 4,
        "stage1": {"batch_size": 128, "steps": 58000},
        "stage2": {"batch_size": 40, "steps": 186000},
    },
    "birds": {**_PAPER_256, "stage1": {"steps": 83000}, "stage2": {"steps": 83000}},
    "flowers": {**_PAPER_256, "stage1": {"steps": 66000}, "stage2": {"steps": 66000}},
}
