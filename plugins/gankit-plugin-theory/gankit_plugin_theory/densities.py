"""Dataset ``densities``: numbers drawn from a mixture of Gaussians that is known in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from gankit.plugin import Config, Dataset, DataSpec, Key

if TYPE_CHECKING:
    import torch

    from gankit.plugin import Batch
    from gankit_plugin_theory.mixture import Mixture

COUNT = {"train": 100_000, "test": 20_000}


class DensitiesConfig(Config):
    """Options of the dataset ``densities``."""

    means: tuple[float, ...] = (1.0,)
    """Means of the Gaussians, each as likely as the others."""
    deviations: tuple[float, ...] = (0.5,)
    """Their standard deviations; one for all, or one for each."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Seed of the numbers drawn."""

    @model_validator(mode="after")
    def _fit(self) -> DensitiesConfig:
        if not self.means:
            raise ValueError("means: give at least one")
        if len(self.deviations) not in (1, len(self.means)):
            raise ValueError(f"deviations: give one, or {len(self.means)} as there are means")
        if min(self.deviations) <= 0:
            raise ValueError(f"deviations = {min(self.deviations)}: must be greater than 0")
        return self


class Densities(Dataset[DensitiesConfig]):
    """Numbers from a mixture of Gaussians: 100,000 to train on, 20,000 to test with.

    ``x``: float32 (N, 1). ``component``: which of the Gaussians each comes from. The two splits are drawn with seeds of
    their own.
    """

    Config = DensitiesConfig
    in_memory = True

    def __init__(self, config: DensitiesConfig, split: Literal["train", "test"] = "train") -> None:
        import torch

        super().__init__(config, split)
        generator = torch.Generator().manual_seed(2 * config.seed + (split == "test"))
        self._component = torch.randint(len(config.means), (COUNT[split],), generator=generator)
        mixture = self.mixture()
        mean, deviation = (values.float()[self._component] for values in (mixture.means, mixture.deviations))
        self._x = (mean + deviation * torch.randn(COUNT[split], generator=generator)).unsqueeze(1)

    def mixture(self) -> Mixture:
        """What the numbers are drawn from."""
        import torch

        from gankit_plugin_theory.mixture import Mixture

        count = len(self.config.means)
        means, deviations = (torch.tensor(v, dtype=torch.float64) for v in (self.config.means, self.config.deviations))
        return Mixture(torch.full((count,), 1 / count, dtype=torch.float64), means, deviations.expand(count).clone())

    @property
    def spec(self) -> DataSpec:
        names = tuple(map(str, range(len(self.config.means))))
        return DataSpec(keys={"x": Key(kind="vector", shape=(1,)), "component": Key(kind="class", names=names)})

    def __len__(self) -> int:
        return len(self._x)

    def batch(self, indices: torch.Tensor) -> Batch:
        return {"x": self._x.index_select(0, indices), "component": self._component.index_select(0, indices)}
