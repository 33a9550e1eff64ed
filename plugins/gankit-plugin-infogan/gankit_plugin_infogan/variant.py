"""Variant ``infogan``: the generator is told codes that no data has, and has to show them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from gankit.errors import UsageError
from gankit.plugin import DataSpec, Key, Phase, SampleRequest, Step, Variant
from gankit_plugin_infogan.config import InfoGANConfig

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from gankit.plugin import Networks

PAPER: Mapping[str, Any] = {
    "steps": 5000,
    "batch_size": 128,
    "sample_n": 100,
    "eval_every": 1000,
    "eval_n": 1000,
    "ema": 0.0,
    "width": 64,
    "hidden": 1024,
    "continuous_information": 1.0,
    "consistency": 0.0,
    "noise": 0.0,
    "d_optim.lr": 2e-4,
}


class InfoGAN(Variant[InfoGANConfig]):
    """GAN that finds the classes of its data by itself and draws the one it is asked for (Chen et al. 2016)."""

    Config = InfoGANConfig
    dataset = "mnist"
    averaged = ("generator",)
    metric = "agreement"
    metrics: ClassVar = {"agreement": "larger", "slant": "larger", "width": "larger"}
    presets: ClassVar = {
        "default": {"steps": 4000, "batch_size": 64, "sample_n": 100, "eval_every": 1000, "eval_n": 1000},
        "paper": PAPER,
    }

    def networks(self, spec: DataSpec) -> dict[str, nn.Module]:
        from gankit_plugin_infogan.networks import build

        for name in (self.config.categorical, *self.config.continuous):
            if name in spec.keys:
                raise UsageError(f"a code has the name {name!r}, and so has a key of the data; rename the code")
        return build(self.config, spec)

    def asks(self, spec: DataSpec, produces: str) -> Mapping[str, Key]:
        continuous = {name: Key(kind="vector") for name in self.config.continuous}
        return {self.config.categorical: Key(kind="class", names=self.config.value_names), **continuous}

    def phases(self) -> Sequence[Phase]:
        c = self.config
        return (
            Phase(name="discriminator", updates=("discriminator", "reader"), loss=self._discriminator, optim=c.d_optim),
            Phase(name="generator", updates=("generator",), loss=self._generator, optim=c.g_optim),
        )

    def expect(self) -> Mapping[str, str]:
        from gankit import chance

        c = self.config
        nats = f"nats of {c.categorical}"
        most = math.log(c.classes)
        read = (
            f"What images tell of the categorical code, at most {most:.3g} nats: it rises towards that and stays. At "
            "0 the generator ignores the code."
        )
        missing = f"What is missing to that, times its weight: from {c.information * most:.3g} down towards 0."
        return {
            "": "The average of the weights is far behind at first, which makes the first sheet look poor: fid_judge "
            "of a default run on mnist was 385, 9.5, 3.3 and 2.6 at steps 1,000, 2,000, 3,000 and 4,000, agreement "
            "0.73, 0.85, 0.97 and 0.97.",
            "discriminator/adversarial": chance.discriminator("bce"),
            "generator/adversarial": chance.generator("bce"),
            f"generator/{nats}": read,
            "generator/information": missing,
            "agreement": "Codes that stand for other things than the labels lower it, however well they are read: two "
            "classes of the data may share a value.",
        }

    def codes(self, request: SampleRequest) -> Tensor:
        """Noise and the continuous codes, those that were asked for as they were asked: (n, z + continuous)."""
        import torch

        names, n = self.config.continuous, request.n
        noise = request.noise(n, self.config.z)
        drawn = torch.rand(n, len(names), generator=request.generator, device=request.device) * 2 - 1
        for i, name in enumerate(names):
            if (asked := request.batch.get(name)) is not None:
                drawn[:, i] = asked.view(n)
        return torch.cat([noise, drawn], 1)

    def decode(self, networks: Networks, codes: Tensor, request: SampleRequest) -> Tensor:
        return networks["generator"](codes, request.batch[self.config.categorical])

    def figures(self, networks: Networks, request: SampleRequest) -> Mapping[str, Tensor]:
        """Of each continuous code: a row a value of the categorical one, the code from -2 to 2, all else the same."""
        from gankit_plugin_infogan.traversals import picture

        noise = request.noise(1, self.config.z)
        names = self.config.continuous
        return {
            name: picture(networks["generator"], noise, self.config.classes, i, len(names))
            for i, name in enumerate(names)
        }

    def measure(
        self, networks: Networks, batches: Iterable[Mapping[str, Tensor]], generator: torch.Generator
    ) -> dict[str, float]:
        """`agreement`: held-out images whose label is the one that the code read off them stands for, one to one.

        `slant`, `width`: how monotonically the continuous code that does so best moves them on drawn images.
        """
        import torch

        from gankit_plugin_infogan.traversals import correlations

        read, label = [], []
        for batch in batches:
            if "label" not in batch:
                break
            logits, *_ = networks["reader"](networks["discriminator"].features(batch["image"]))
            read.append(logits.argmax(1).cpu())
            label.append(batch["label"].cpu())
        noise = torch.randn(10, self.config.z, generator=generator, device=generator.device)
        moved = correlations(networks["generator"], noise, self.config.classes, len(self.config.continuous))
        return {
            "agreement": agreement(torch.cat(read), torch.cat(label)) if read else math.nan,
            **{name: max((abs(value) for value in by_code), default=math.nan) for name, by_code in moved.items()},
        }

    def _fake(self, step: Step) -> tuple[Tensor, Tensor, Tensor]:
        """Images, and the categorical and continuous codes that they were drawn from; both phases see the same."""
        import torch

        from gankit import whole_batch

        def draw() -> tuple[Tensor, Tensor, Tensor]:
            c, n = self.config, step.size
            code = whole_batch.randint(c.classes, n, generator=step.generator, device=step.device)
            uniform = whole_batch.rand(n, len(c.continuous), generator=step.generator, device=step.device)
            continuous = uniform * 2 - 1
            image = step.networks["generator"](torch.cat([step.noise(n, c.z), continuous], 1), code)
            return image, code, continuous

        return step.shared("fake", draw)

    def _features(self, step: Step, images: Tensor) -> Tensor:
        """What the discriminator makes of `images`, through noise."""
        seen = step.augment(images)
        if self.config.noise:
            seen = seen + self.config.noise * step.noise(*seen.shape)
        return step.networks["discriminator"].features(seen)

    def _information(self, step: Step, features: Tensor, code: Tensor, continuous: Tensor) -> dict[str, Tensor]:
        """What is missing to the codes' information, to be minimised; logs that information in nats, a lower bound.

        L_I = H(c) + E log Q(c | x), equation 5 of the paper.
        """
        from torch.nn import functional as F

        from gankit import whole_batch

        c = self.config
        logits, mean, log_deviation = step.networks["reader"](features)
        missing = F.cross_entropy(logits, code)
        step.log(f"nats of {c.categorical}", math.log(c.classes) - missing)
        if not c.continuous:
            return {"information": c.information * missing}
        square = (mean - continuous).square()
        if c.deviation == "read":
            unlikely = 0.5 * square * (-2 * log_deviation).exp() + log_deviation
            bound = math.log(2) - 0.5 * math.log(2 * math.pi) - unlikely.mean(0)
        else:
            unlikely = 0.5 * square
            # of the Gaussian whose deviation fits best: with 1 even what is read without error has less than 0 nats
            bound = math.log(2) - 0.5 * (2 * math.pi * math.e * whole_batch.mean(square.detach().mean(0))).log()
        for name, nats in zip(c.continuous, bound, strict=True):
            step.log(f"nats of {name}", nats)
        return {
            "information": c.information * missing,
            "continuous_information": c.continuous_information * unlikely.sum(1).mean(),
        }

    def _discriminator(self, step: Step) -> dict[str, Tensor]:
        from gankit.ops import patchgan_d_loss

        fake, code, continuous = self._fake(step)
        judge = step.networks["discriminator"]
        real = self._features(step, step.batch["image"])
        drawn = self._features(step, fake.detach())
        information = self._information(step, drawn, code, continuous)
        if self.config.consistency and step.index < self.config.settle * step.steps:
            information["information"] = information["information"].detach()
        return {
            "adversarial": patchgan_d_loss(judge.score(real), judge.score(drawn), kind="bce"),
            **information,
            **self._consistency(step, real),
        }

    def _consistency(self, step: Step, real: Tensor) -> dict[str, Tensor]:
        """What is missing to a categorical code that is the same for the real images and another view of them.

        A code that is read so follows what survives being turned, sheared and bent: the digit, not how it is written.
        A second reading into more classes than there are values makes features that tell kinds of one digit apart, by
        which the first comes out of clusters that hold two digits ("overclustering" in the paper).
        """
        c = self.config
        if not c.consistency:
            return {}
        from gankit_plugin_infogan.views import shared_information, view

        reader = step.networks["reader"]
        views = real, self._features(step, view(step.batch["image"], step.generator))
        shared = shared_information(*(reader(features)[0].float().softmax(1) for features in views))
        step.log("nats of views", shared)
        missing = math.log(c.classes) - shared
        if reader.finer is not None:
            finer = shared_information(*(reader.finer(features).float().softmax(1) for features in views))
            missing = missing + math.log(c.finer) - finer
        return {"consistency": c.consistency * missing}

    def _generator(self, step: Step) -> dict[str, Tensor]:
        from gankit.ops import patchgan_g_loss

        fake, code, continuous = self._fake(step)
        drawn = self._features(step, fake)
        return {
            "adversarial": patchgan_g_loss(step.networks["discriminator"].score(drawn), kind="bce"),
            **self._information(step, drawn, code, continuous),
        }


def agreement(code: Tensor, label: Tensor) -> float:
    """Fraction of samples whose code and label, int64 (N,) each, go together under the best one-to-one assignment."""
    pairs = assignment(code, label)
    right = sum(int(((code == one) & (label == other)).sum()) for one, other in pairs.items())
    return right / len(code) if len(code) else math.nan


def assignment(code: Tensor, label: Tensor) -> dict[int, int]:
    """Which label each code stands for, one to one, so that as many of the samples as possible agree."""
    import torch
    from scipy.optimize import linear_sum_assignment

    if not len(code):
        return {}
    together = torch.zeros(int(code.max()) + 1, int(label.max()) + 1)
    together.index_put_((code, label), torch.ones(len(code)), accumulate=True)
    rows, columns = linear_sum_assignment(together.numpy(), maximize=True)
    return dict(zip(rows.tolist(), columns.tolist(), strict=True))
