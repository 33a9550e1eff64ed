"""Options of the variant ``inpaint``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from gankit.plugin import Config, Optim


class InpaintConfig(Config):
    """Options of the variant ``inpaint``."""

    image_key: str = "image"
    """Which images are filled, where the data has several kinds."""
    network: Literal["gated", "context-encoder"] = "gated"
    """Gated convolutions for holes anywhere, or an encoder and decoder for the centre."""
    holes: Literal["auto", "free-form", "boxes", "strokes", "centre"] = "auto"
    """What is hidden: auto: the data's own masks, else free-form, a box and strokes; of context-encoder the centre."""
    box: tuple[float, float] = (0.2, 0.5)
    """Shortest and longest side of a box, as fractions of the image's."""
    strokes: tuple[int, int] = (1, 4)
    """Fewest and most strokes of a hole."""
    brush: tuple[float, float] = (0.05, 0.16)
    """Thinnest and thickest brush, as fractions of the image's side."""
    g_width: int = Field(48, ge=4, multiple_of=4)
    """Channels of the filler's first convolution; of gated half of them gate."""
    act: Literal["elu", "leaky_relu"] = "elu"
    """Of gated: activation; leaky ReLU takes a CPU far less time."""
    attention: bool = True
    """Of gated: a branch that copies patches of what is known."""
    spread: bool = False
    """Of gated: spread the colours around a hole into it first, and learn what to change."""
    neck: int = Field(4000, ge=1)
    """Of context-encoder: channels of the bottleneck."""
    overlap: int = Field(4, ge=0)
    """Of context-encoder: pixels at each side of the drawn centre that are known."""
    d_width: int = Field(64, ge=1)
    """Channels after the discriminator's first layer."""
    d_layers: int = Field(6, ge=1, le=8)
    """Of gated: how often the discriminator halves the image."""
    d_norm: Literal["spectral", "none"] = "spectral"
    """Of gated: norm of the discriminator's layers; without, it needs a penalty to hold it."""
    penalty: float = Field(0.0, ge=0)
    """Of gated: weight of half of R1, the squared slope at real images of the mean logit; 0 leaves it out."""
    pixels: float = Field(1.0, ge=0)
    """Weight of the errors of pixels: absolute ones of both stages; of context-encoder squared ones."""
    adversarial: float = Field(1.0, ge=0)
    """Weight of what the discriminator says."""
    loss: Literal["hinge", "bce", "lsgan"] = "hinge"
    """Adversarial loss."""
    optim: Optim = Optim(lr=1e-4, betas=(0.5, 0.999))
    """Optimiser of the filler."""
    d_optim: Optim = Optim(lr=1e-4, betas=(0.5, 0.999))
    """Optimiser of the discriminator."""

    @field_validator("box", "brush")
    @classmethod
    def _fractions(cls, ends: tuple[float, float]) -> tuple[float, float]:
        if not 0 < ends[0] <= ends[1] <= 1:
            raise ValueError("give the least and the most, fractions above 0 and up to 1")
        return ends

    @field_validator("strokes")
    @classmethod
    def _counts(cls, ends: tuple[int, int]) -> tuple[int, int]:
        if not 1 <= ends[0] <= ends[1] <= 64:
            raise ValueError("give the fewest and the most, from 1 to 64")
        return ends

    @model_validator(mode="after")
    def _centres(self) -> InpaintConfig:
        if self.network == "context-encoder" and self.holes not in ("auto", "centre"):
            raise ValueError(f"a context-encoder fills the centre: holes cannot be {self.holes}")
        return self
