"""The models that options are written in: the base of every plugin's options, and those of an optimiser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class Config(BaseModel):
    """Base of a plugin's options. Every field becomes a command-line option; nested models become dotted ones.

    Give each field a default, a bound (``Field(gt=0)``) and a docstring below it, which becomes its help text.
    """

    model_config = ConfigDict(extra="forbid", validate_default=True, frozen=True, use_attribute_docstrings=True)

    def without_effect(self) -> Mapping[str, str]:
        """The options that do nothing beside the values of the others, and what each needs.

        ``{"match": "captions = true"}``: a user who gives one is refused a new run. A preset may set it, and a run that
        exists may have it. The name of a nested model stands for all of its options.
        """
        return {}


class Optim(Config):
    """An optimiser and its schedules."""

    model_config = ConfigDict(allow_inf_nan=False)

    kind: Literal["adam", "adamw", "rmsprop", "sgd"] = "adam"
    """Optimiser."""
    lr: float = Field(2e-4, gt=0)
    """Learning rate at the start."""
    betas: tuple[float, float] = (0.5, 0.999)
    """Adam's decay rates; rmsprop takes the second as alpha, sgd the first as momentum."""
    weight_decay: float = Field(0.0, ge=0)
    """Weight decay (decoupled for adamw)."""
    schedule: Literal["constant", "linear", "cosine", "halve"] = "constant"
    """Over the run: constant; linear or cosine, to `lr_end` and `betas_end`; or the rate halved `halvings` times."""
    lr_end: float = Field(0.0, ge=0)
    """Learning rate that a linear or cosine schedule ends with."""
    betas_end: tuple[float, float] | None = None
    """Decay rates that a linear or cosine schedule ends with; none: they stay."""
    hold: float = Field(0.5, ge=0, lt=1)
    """Fraction of the run before a linear or cosine schedule begins."""
    until: float = Field(1.0, gt=0, le=1)
    """Fraction of the run at which it ends."""
    halvings: int = Field(0, ge=0)
    """How many times, evenly spread over the run, the schedule ``halve`` halves the learning rate."""

    def without_effect(self) -> dict[str, str]:
        needs = {} if self.schedule == "halve" else {"halvings": "schedule = halve"}
        if self.schedule not in ("linear", "cosine"):  # hold and until may time other things, too
            needs |= dict.fromkeys(("lr_end", "betas_end"), "schedule = linear or cosine")
        return needs

    @field_validator("betas", "betas_end")
    @classmethod
    def _decay(cls, betas: tuple[float, float] | None) -> tuple[float, float] | None:
        if betas is not None and not all(0 <= beta < 1 for beta in betas):
            raise ValueError("each must be at least 0 and less than 1")
        return betas

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Optim:
        if self.schedule in ("linear", "cosine") and self.until <= self.hold:
            raise ValueError(f"until ({self.until:g}) must be more than hold ({self.hold:g})")
        return self


__all__ = ["Config", "Optim"]
