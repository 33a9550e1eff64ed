"""Variant ``infogan``: the generator is told codes that no data has, and has to show them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from gankit.plugin import Config, DataSpec, Key, Optim, Phase, SampleRequest, Step, Variant

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from gankit.plugin import Networks


class InfoGANConfig(Config):
    """Options of the variant ``infogan``."""

    z: int = Field(62, ge=1)
    """Length of the noise vector."""
    classes: int = Field(10, ge=2, le=1000)
    """Values of the categorical code."""
    continuous: int = Field(2, ge=0, le=16)
    """Number of continuous codes, uniform in [-1, 1]: c1, c2, ..."""
    width: int = Field(16, ge=4)
    """Channels of the discriminator's first layer; each layer further in has twice as many."""
    information: float = Field(1.0, ge=0)
    """Weight of the mutual information."""
    noise: float = Field(0.2, ge=0)
    """Standard deviation of the noise added to what the discriminator sees."""
    d_optim: Optim = Optim(lr=2e-4, betas=(0.5, 0.999))
    """Optimiser of the discriminator and of the network that reads the codes."""
    g_optim: Optim = Optim(lr=5e-4, betas=(0.5, 0.999))
    """Optimiser of the generator."""


class InfoGAN(Variant[InfoGANConfig]):
    """GAN that finds the classes of its data by itself and draws the one it is asked for (Chen et al. 2016)."""

    Config = InfoGANConfig
    dataset = "digits"
    averaged = ("generator",)
    metric = "agreement"
    metrics: ClassVar = {"agreement": "larger"}
    presets: ClassVar = {
        "default": {"steps": 4000, "batch_size": 64, "sample_n": 80, "eval_every": 1000, "eval_n": 1000},
    }

    def networks(self, spec: DataSpec) -> dict[str, nn.Module]:
        from gankit_plugin_infogan.networks import build

        return build(self.config, spec)

    def asks(self, spec: DataSpec, produces: str) -> Mapping[str, Key]:
        names = tuple(map(str, range(self.config.classes)))
        continuous = {f"c{i + 1}": Key(kind="vector") for i in range(self.config.continuous)}
        return {"code": Key(kind="class", names=names), **continuous}

    def phases(self) -> Sequence[Phase]:
        c = self.config
        return (
            Phase(name="discriminator", updates=("discriminator", "reader"), loss=self._discriminator, optim=c.d_optim),
            Phase(name="generator", updates=("generator",), loss=self._generator, optim=c.g_optim),
        )

    def codes(self, request: SampleRequest) -> Tensor:
        """Noise and the continuous codes, those that were asked for as they were asked: (n, z + continuous)."""
        import torch

        c, n = self.config, request.n
        noise = request.noise(n, c.z)
        drawn = torch.rand(n, c.continuous, generator=request.generator, device=request.device) * 2 - 1
        for i in range(c.continuous):
            if (asked := request.batch.get(f"c{i + 1}")) is not None:
                drawn[:, i] = asked.view(n)
        return torch.cat([noise, drawn], 1)

    def decode(self, networks: Networks, codes: Tensor, request: SampleRequest) -> Tensor:
        return networks["generator"](codes, request.batch["code"])

    def measure(
        self, networks: Networks, batches: Iterable[Mapping[str, Tensor]], generator: torch.Generator
    ) -> dict[str, float]:
        """Held-out images whose label is the one that the code read off them stands for, at best, one to one."""
        import torch

        read, label = [], []
        for batch in batches:
            if "label" not in batch:
                return {"agreement": float("nan")}
            logits, _ = networks["reader"](networks["discriminator"].features(batch["image"]))
            read.append(logits.argmax(1).cpu())
            label.append(batch["label"].cpu())
        return {"agreement": agreement(torch.cat(read), torch.cat(label))}

    def _fake(self, step: Step) -> tuple[Tensor, Tensor, Tensor]:
        """Images, and the categorical and continuous codes that they were drawn from; both phases see the same."""
        import torch

        def draw() -> tuple[Tensor, Tensor, Tensor]:
            c, n, random = self.config, step.size, {"generator": step.generator, "device": step.device}
            code = torch.randint(c.classes, (n,), **random)
            continuous = torch.rand(n, c.continuous, **random) * 2 - 1
            image = step.networks["generator"](torch.cat([step.noise(n, c.z), continuous], 1), code)
            return image, code, continuous

        return step.shared("fake", draw)

    def _features(self, step: Step, images: Tensor) -> Tensor:
        seen = step.augment(images)
        if self.config.noise:
            seen = seen + self.config.noise * step.noise(*seen.shape)
        return step.networks["discriminator"].features(seen)

    def _information(self, step: Step, features: Tensor, code: Tensor, continuous: Tensor) -> Tensor:
        """What is missing to the codes' entropy, in nats up to a constant: the bound of section 5 of the paper."""
        from torch.nn import functional as F

        logits, mean = step.networks["reader"](features)
        missing = F.cross_entropy(logits, code)
        step.log("read", (logits.argmax(1) == code).float().mean())
        if continuous.shape[1]:  # unit variance, as in the authors' code
            missing = missing + 0.5 * (mean - continuous).square().sum(1).mean()
        return self.config.information * missing

    def _discriminator(self, step: Step) -> dict[str, Tensor]:
        from gankit.ops import patchgan_d_loss

        fake, code, continuous = self._fake(step)
        judge = step.networks["discriminator"]
        real = self._features(step, step.batch["image"])
        drawn = self._features(step, fake.detach())
        return {
            "adversarial": patchgan_d_loss(judge.score(real), judge.score(drawn), kind="bce"),
            "information": self._information(step, drawn, code, continuous),
        }

    def _generator(self, step: Step) -> dict[str, Tensor]:
        from gankit.ops import patchgan_g_loss

        fake, code, continuous = self._fake(step)
        drawn = self._features(step, fake)
        return {
            "adversarial": patchgan_g_loss(step.networks["discriminator"].score(drawn), kind="bce"),
            "information": self._information(step, drawn, code, continuous),
        }


def agreement(code: Tensor, label: Tensor) -> float:
    """Fraction of samples whose code and label, int64 (N,) each, go together under the best one-to-one assignment."""
    import torch
    from scipy.optimize import linear_sum_assignment

    if not len(code):
        return float("nan")
    together = torch.zeros(int(code.max()) + 1, int(label.max()) + 1)
    together.index_put_((code, label), torch.ones(len(code)), accumulate=True)
    rows, columns = linear_sum_assignment(together.numpy(), maximize=True)
    return float(together[rows, columns].sum()) / len(code)
