"""Options of the variant ``infogan``. Imports no torch."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, model_validator

from gankit.plugin import Config, Optim


class InfoGANConfig(Config):
    """Options of the variant ``infogan``."""

    z: int = Field(62, ge=1)
    """Length of the noise vector."""
    categorical: str = "digit"
    """Name of the categorical code, by which it is asked for. It may be changed in a finished run's config.toml."""
    classes: int = Field(10, ge=2, le=1000)
    """Values of the categorical code."""
    values: tuple[str, ...] = ()
    """Names of these values, in their order; none: 0, 1, ... They too may be given when it is seen what they draw."""
    continuous: tuple[str, ...] = ("c1", "c2")
    """Names of the continuous codes, uniform in [-1, 1]. They, not their number, may be changed in a finished run."""
    width: int = Field(16, ge=1)
    """Channels of the layers next to the image; those further in have twice as many."""
    hidden: int = Field(256, ge=1)
    """Width of the fully connected layers of the generator and the discriminator."""
    information: float = Field(1.0, ge=0)
    """Weight of the mutual information of the categorical code."""
    continuous_information: float = Field(0.5, ge=0)
    """Weight of that of the continuous codes."""
    deviation: Literal["one", "read"] = "one"
    """How surely continuous codes are read: with a standard deviation of 1, as in the paper, or one read off, too."""
    consistency: float = Field(1.0, ge=0)
    """Weight of what the codes read off two views of a real image share (Ji et al. 2019); the paper has none: 0."""
    finer: int = Field(50, ge=0, le=1000)
    """Classes of a second, finer reading that two views should share, too; it is used for nothing else. 0: none."""
    settle: float = Field(0.4, ge=0, le=1)
    """Fraction of the run in which the categorical code is learnt from views alone: before the reader is told that of
    drawn images, which would hold it to classes that it has not told apart yet."""
    noise: float = Field(0.1, ge=0)
    """Standard deviation of the noise added to what the discriminator sees."""
    d_optim: Optim = Optim(lr=5e-4, betas=(0.5, 0.999))
    """Optimiser of the discriminator and of the network that reads the codes."""
    g_optim: Optim = Optim(lr=1e-3, betas=(0.5, 0.999))
    """Optimiser of the generator."""

    @model_validator(mode="after")
    def _names(self) -> InfoGANConfig:
        names = (self.categorical, *self.continuous)
        for name in names:
            if not re.fullmatch(r"[\w.-]+", name):
                raise ValueError(f"{name!r} is no name of a code: it must be a word, such as slant")
            if names.count(name) > 1:
                raise ValueError(f"two codes have the name {name!r}; give each its own")
        if self.values and len(self.values) != self.classes:
            raise ValueError(f"values: {len(self.values)} names; give {self.classes}, or none")
        if len(set(self.values)) != len(self.values):
            raise ValueError("values: two have the same name; give each its own")
        return self

    @property
    def finer_classes(self) -> int:
        """Classes of the finer reading; 0 where views are not compared."""
        return self.finer if self.consistency else 0

    @property
    def value_names(self) -> tuple[str, ...]:
        """The values of the categorical code, as they are asked for."""
        return self.values or tuple(map(str, range(self.classes)))
