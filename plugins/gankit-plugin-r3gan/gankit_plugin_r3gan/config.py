"""Options of the variant ``r3gan``, and its presets. Imports no torch."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from gankit.plugin import Config, Optim
from gankit.text.config import TextConfig


class R3GANConfig(Config):
    """Options of the variant ``r3gan``."""

    z: int = Field(64, ge=1)
    """Length of the noise vector, and of the embedding of a class."""
    width: int = Field(64, ge=1)
    """Channels next to the image; twice as many with each halving of the size, up to four times."""
    widths: tuple[int, ...] | None = None
    """Channels of each size, the smallest first, in place of `width`."""
    blocks: int = Field(1, ge=1)
    """Residual blocks at each size."""
    group: int = Field(16, ge=1)
    """Channels of a group of the 3x3 convolutions."""
    conditional: bool = False
    """Draw the class that is asked for."""
    class_key: str = ""
    """Of conditional: which classes, where the data has several kinds; none: `label`, or the only ones."""
    captions: bool = False
    """Draw what a caption says."""
    mismatch: float = Field(0.5, ge=0)
    """Of captions: weight of a term that is not in the paper: a real image with its caption and the same one with
    another's, nearly right, are a pair, too; 0 = off."""
    match: float = Field(0.0, ge=0)
    """Of captions: weight of a term that is not in the paper: the image encoder that char-cnn-rnn was trained with has
    to find each drawn image's own caption (in the manner of AttnGAN's DAMSM loss); 0 = off. It grows from 0 over the
    ramp."""
    text: TextConfig = TextConfig()
    """Text encoder."""
    san: bool = False
    """Discriminator whose last layer is a direction of length 1, trained apart (SAN)."""
    penalty: Literal["exact", "approx"] = "exact"
    """Gradient penalties by second derivatives, or by finite differences along one random direction."""
    penalty_step: float | None = Field(None, gt=0, le=1)
    """Length of a finite difference, as a standard deviation a pixel; none: 0.01, or 0.1 in 16 bits."""
    penalty_every: int = Field(1, ge=1)
    """Steps from one penalty to the next, each of which weighs as much as all of them would: 1 as published; with 4 a
    step is some sixth shorter (lazy regularisation, Karras et al. 2020)."""
    gamma: float | None = Field(None, ge=0)
    """Weight of the penalties at the start; none: that at 32x32, times as many pixels as the images have of those."""
    gamma_at_32: float = Field(1.0, ge=0)
    """What it is at 32x32 where it is not given."""
    gamma_end: float = Field(0.1, ge=0, le=1)
    """What is left of it at the end of the ramp, as a fraction."""
    augment_p: float = Field(0.3, ge=0, le=1)
    """Probability, from the end of the ramp on, of each part of the augmentation that ``--augment.diff`` names."""
    adaptive: bool = False
    """Let that probability follow how sure the discriminator is of its pairs instead (ADA)."""
    adaptive_images: int = Field(20_000, ge=1)
    """Of adaptive: images over which the probability goes from 0 to 1 if it has to."""
    optim: Optim = Optim(
        lr=2e-4, lr_end=5e-5, betas=(0.0, 0.9), betas_end=(0.0, 0.99), schedule="cosine", hold=0.0, until=0.5
    )
    """Optimiser of both networks; gamma and the probability of augmentation go their way by the time `until` too."""

    @field_validator("widths")
    @classmethod
    def _widths(cls, widths: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if widths is not None and (not widths or min(widths) < 1):
            raise ValueError("give at least one, each at least 1")
        return widths

    @model_validator(mode="after")
    def _told_once(self) -> R3GANConfig:
        if self.captions and (self.conditional or self.san):
            other = "conditional" if self.conditional else "san"
            raise ValueError(f"captions do not go together with {other}: leave one of them out")
        return self

    def without_effect(self) -> dict[str, str]:
        needs = {}
        if not self.captions:
            needs |= dict.fromkeys(("mismatch", "match", "text"), "captions = true")
        elif self.text.encoder != "char-cnn-rnn":
            needs["match"] = "text.encoder = char-cnn-rnn"
        if not self.conditional:
            needs["class_key"] = "conditional = true"
        if not self.adaptive:
            needs["adaptive_images"] = "adaptive = true"
        if self.penalty != "approx":
            needs["penalty_step"] = "penalty = approx"
        if self.widths is not None:
            needs["width"] = "widths = none"
        if self.gamma is not None:
            needs["gamma_at_32"] = "gamma = none"
        return needs


_PAPER = {  # CIFAR-10, of 32x32 pixels: appendix E of the paper and its code; 200 million images
    "steps": 390_625,
    "batch_size": 512,
    "widths": (768, 768, 768, 768),
    "blocks": 2,
    "gamma": 0.05,
    "augment_p": 0.55,
    "augment.flip": True,
    "augment.diff": ("color", "translation", "cutout"),
    "optim.until": 0.1,
    "ema": 0.999929,
    "ema_start": 0.0,
    "ema_until": 0.025,
    "sample_every": 5000,
    "checkpoint_every": 5000,
}

_SMALL: dict[str, Any] = {
    "steps": 4000,
    "batch_size": 16,
    "precision": "auto",
    "width": 32,
    "gamma_at_32": 10.0,
    "optim.lr": 2e-3,
    "optim.lr_end": 2.5e-4,
    "ema": 0.995,
    "data.size": 32,
    "sample_every": 500,
    "eval_every": 500,
    "eval_n": 1000,
}

PRESETS: dict[str, dict[str, Any]] = {
    "default": _SMALL,
    # what a narrower network loses in looks it wins back in steps, which a caption needs more of
    "captions": {
        **_SMALL,
        "steps": 3400,
        "width": 16,
        "memory_format": "channels_last",  # faster on CPUs; on a GPU in float32 not measured
        "captions": True,
        "mismatch": 1.0,
        "match": 1.0,
        "penalty_every": 4,
        "sample_every": 850,
        "eval_every": 1700,
    },
    "paper": _PAPER,
}
