"""The options that every run has, whatever the variant. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from gankit.config import Config


class Augment(Config):
    """What is done to images before a discriminator sees them."""

    flip: bool = False
    """Mirror real images at random, left to right."""
    crop: float = Field(0.0, ge=0, lt=0.5)
    """Shift real images at random by up to this fraction of a side each way, reflected at the border; 0 = off."""
    diff: tuple[Literal["color", "translation", "cutout"], ...] = ()
    """Differentiable augmentation of real and fake images alike (DiffAugment): color, translation, cutout."""

    @field_validator("crop", mode="before")
    @classmethod
    def _no_pixels(cls, crop: object) -> object:
        try:
            pixels = float(str(crop)) >= 1
        except ValueError:
            return crop  # what is no number is refused as such
        if pixels:
            raise ValueError("must be a fraction of a side, not pixels: 0.125 is up to 8 of 64")
        return crop


class RunConfig(Config):
    """Options that every run has, whatever the variant."""

    steps: int = Field(1000, ge=1, lt=2**63)
    """Training steps."""
    batch_size: int = Field(64, ge=1, lt=2**63)
    """Samples in a batch."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Seed of everything random in the run."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps; auto takes a GPU if there is one."""
    precision: Literal["float32", "bf16", "fp16", "auto"] = "float32"
    """Arithmetic of the networks; bf16 and fp16 by autocast, weights stay float32; auto is bf16 where it is native."""
    accumulate: int = Field(1, ge=1, lt=2**63)
    """Batches over whose gradients an optimiser steps: over their mean."""
    memory_format: Literal["auto", "contiguous", "channels_last"] = "auto"
    """Layout of images in memory; auto takes channels_last where it is faster."""
    compile: bool = False
    """Networks by torch.compile; the first steps take minutes. Exact penalties stay as they are written."""
    freeze: tuple[str, ...] = ()
    """First layers of networks that stay as --init brings them (FreezeD): discriminator:4, commas between several."""
    ema: float = Field(0.999, ge=0, lt=1)
    """Decay of the moving average of weights that samples are drawn from; 0 = no average."""
    ema_start: float | None = Field(None, ge=0, lt=1)
    """Decay at the start, from which it goes in a line to `ema`; none: it is `ema` all along."""
    ema_until: float = Field(1.0, gt=0, le=1)
    """Fraction of the run at which the decay has come from `ema_start` to `ema`."""
    log_every: int = Field(50, ge=1)
    """Log losses every N steps."""
    sample_every: int = Field(500, ge=0)
    """Draw a sheet of samples every N steps; 0 = only at the start and the end."""
    sample_n: int = Field(64, ge=1, lt=2**63)
    """Samples on a sheet."""
    checkpoint_every: int = Field(500, ge=1)
    """Write a checkpoint every N steps (and at the end)."""
    keep: int = Field(2, ge=1)
    """Newest checkpoints kept, besides the best."""
    eval_every: int = Field(0, ge=0)
    """Evaluate every N steps and keep the best checkpoint; 0 = never."""
    eval_n: int = Field(500, ge=2, lt=2**63)
    """Samples drawn for such an evaluation."""
    workers: int = Field(2, ge=0, lt=2**63)
    """Threads that read batches ahead; 0 = read in the training thread."""
    augment: Augment = Augment()
    """Augmentation of images."""

    def without_effect(self) -> dict[str, str]:
        needs = {} if self.eval_every else {"eval_n": "eval_every"}
        if not self.ema:
            return needs | dict.fromkeys(("ema_start", "ema_until"), "ema")
        return needs if self.ema_start is not None else needs | {"ema_until": "ema_start"}

    @field_validator("device")
    @classmethod
    def _known_device(cls, device: str) -> str:
        kind, colon, index = device.partition(":")
        if device in ("auto", "cpu", "cuda", "mps") or (kind == "cuda" and colon and index.isdecimal()):
            return device
        raise ValueError("must be auto, cpu, cuda, cuda:N or mps")


RESERVED = frozenset(RunConfig.model_fields) | {
    *("variant", "dataset", "preset", "whole", "data"),
    *("out", "config", "dry_run", "resume", "show", "json", "help", "processes", "init"),
}
"""Names that a variant's own options cannot have."""

_OF_ALL_STAGES = {"seed", "device", "precision", "memory_format", "compile", "workers"}
OF_ONE_STAGE = frozenset(RunConfig.model_fields) - _OF_ALL_STAGES
"""Options of a run that say how one stage is trained, and nothing about the stages that lead to it."""


__all__ = ["OF_ONE_STAGE", "RESERVED", "Augment", "RunConfig"]
