"""Variant ``cyclegan``: two translators, each of which undoes the other, and a discriminator for each domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from gankit.plugin import Config, DataSpec, Key, Optim, Phase, SampleRequest, Step, Variant

if TYPE_CHECKING:
    from torch import Tensor, nn

    from gankit.plugin import Networks

OTHER = {"a": "b", "b": "a"}
_OF = {
    "g_width": ("resnet", "unet"),
    "d_width": ("resnet", "unet"),
    "d_layers": ("resnet", "unet"),
    "blocks": ("resnet",),
    "doubling": ("resnet",),
    "norm": ("resnet",),
    "downs": ("unet",),
    "kernel": ("keras",),
}
"""Which kinds of networks have an option, of those that not all have."""


class CycleGANConfig(Config):
    """Options of the variant ``cyclegan``."""

    network: Literal["resnet", "unet", "keras"] = "resnet"
    """Generators of residual blocks, or U-Nets (pix2pix's); keras: the U-Nets and discriminators of a textbook."""
    g_width: int = Field(64, ge=1)
    """Of resnet and unet: channels after the generators' first layer."""
    blocks: int = Field(9, ge=1)
    """Of resnet: residual blocks."""
    downs: int | None = Field(None, ge=2, le=12)
    """Of unet: how often the sides are halved; none: as often as they can be, up to 8 times."""
    doubling: Literal["deconv", "deconv4", "resize"] = "deconv"
    """Of resnet: how maps become twice as large: by kernels of 3x3, as published, which leave checkerboards; of 4x4,
    which may learn a lattice; or enlarged and convolved."""
    norm: Literal["instance", "layer"] = "instance"
    """Of resnet: norm of the generators; layer keeps the colour of a whole image, so that sea is told from forest."""
    kernel: Literal[3, 5] = 3
    """Of keras: side of all kernels."""
    d_width: int = Field(64, ge=1)
    """Of resnet and unet: channels after the discriminators' first layer."""
    d_layers: int = Field(3, ge=0, le=6)
    """Of resnet and unet: how often the discriminators halve the image: 3 see 70x70 pixels at once, 2 see 34x34,
    1 sees 16x16, 0 one."""
    one_logit: bool = False
    """Discriminators that judge the whole image at once, by one logit, in place of patches."""
    loss: Literal["lsgan", "bce", "hinge", "wgan"] = "lsgan"
    """Adversarial loss; with wgan the discriminators are critics."""
    penalty: float = Field(0.0, ge=0)
    """Weight of the discriminators' gradient penalty between real images and fakes (Gulrajani et al. 2017)."""
    cycle: float = Field(10.0, ge=0)
    """Weight of the way there and back again."""
    identity: float = Field(0.5, ge=0)
    """Weight, times that of the cycle, of leaving an image of the other domain as it is; needs equal channels."""
    pool: int = Field(50, ge=0)
    """Earlier fakes kept for each discriminator; 0 = it sees the newest alone."""
    optim: Optim = Optim(lr=2e-4, betas=(0.5, 0.999), schedule="linear", hold=0.5)
    """Optimiser of all networks."""
    d_rate: float = Field(1.0, gt=0)
    """The discriminators' learning rate, as a multiple of the generators'."""

    def without_effect(self) -> dict[str, str]:
        return {name: f"network = {' or '.join(kinds)}" for name, kinds in _OF.items() if self.network not in kinds}


class CycleGAN(Variant[CycleGANConfig]):
    """Translates images between two domains of which no pairs are known (Zhu et al. 2017)."""

    Config = CycleGANConfig
    dataset = "dressed-digits"
    requires = frozenset({"a", "b"})
    produces = ("b", "a")
    random = False
    averaged = ("a_to_b", "b_to_a")
    metric = "swd"
    presets: ClassVar = {
        "default": {
            "steps": 1500,
            "batch_size": 8,
            "sample_n": 8,
            "sample_every": 250,
            "eval_every": 500,
            "ema": 0.99,
            "doubling": "deconv4",
            "g_width": 16,
            "blocks": 3,
            "d_width": 32,
            "d_layers": 2,
            "optim.lr": 5e-4,
        },
        # for photographs of 64x64 on a CPU
        "small": {
            "steps": 2500,
            "batch_size": 4,
            "sample_n": 8,
            "sample_every": 250,
            "eval_every": 500,
            "ema": 0.99,
            "precision": "auto",
            "norm": "layer",
            "g_width": 32,
            "blocks": 4,
            "doubling": "deconv4",
            "d_width": 32,
            "d_layers": 2,
            "optim.lr": 4e-4,
        },
        # the paper's networks and setting, for images of 256x256: 200 epochs of a thousand images
        "paper": {"steps": 200_000, "batch_size": 1, "sample_n": 4, "sample_every": 1000, "ema": 0.0},
        # a textbook's, for images of 32x32; its weights, of images in [0, 1], are halved for [-1, 1]
        "keras": {
            "steps": 100_000,
            "batch_size": 32,
            "sample_every": 2000,
            "ema": 0.0,
            "network": "keras",
            "one_logit": True,
            "cycle": 5.0,
            "identity": 0.0,
            "pool": 0,
            "optim.kind": "rmsprop",
            "optim.lr": 1e-4,
            "optim.betas": (0.5, 0.9),
            "optim.schedule": "constant",
            "d_rate": 2.0,
        },
        # another textbook's: critics, which the book leaves without anything that holds their slope
        "wasserstein": {
            "steps": 200_000,
            "batch_size": 1,
            "sample_n": 4,
            "sample_every": 1000,
            "ema": 0.0,
            "loss": "wgan",
            "penalty": 10.0,
            "identity": 0.0,
            "pool": 0,
            "optim.betas": (0.0, 0.9),
            "optim.schedule": "constant",
        },
    }

    def networks(self, spec: DataSpec) -> dict[str, nn.Module]:
        from gankit_plugin_cyclegan.networks import build

        return build(self.config, spec)

    def phases(self) -> Sequence[Phase]:
        optim, rate = self.config.optim, self.config.d_rate
        theirs = optim.model_copy(update={"lr": rate * optim.lr, "lr_end": rate * optim.lr_end})
        judges = tuple(f"discriminator_{name}" for name in OTHER)
        return (
            Phase(name="generators", updates=("a_to_b", "b_to_a"), loss=self._generators, optim=optim),
            Phase(name="discriminators", updates=judges, loss=self._discriminators, optim=theirs),
        )

    def expect(self) -> Mapping[str, str]:
        from gankit import chance

        c = self.config
        found = {
            "": "What no loss tells is whether the translation means the same: the sheet does (a, ab, aba, b, ba, "
            "bab), and accuracy or mask_agreement where the data has classes or masks. Known ways to fail: "
            "everything exchanged (light for dark, land for sea), and an input that comes back unchanged, with cycle "
            "near 0 and adversarial high.",
            "discriminators": chance.discriminator(c.loss),
        }
        for name, other in OTHER.items():
            found |= {
                f"generators/adversarial_{other}": chance.generator(c.loss),
                f"generators/cycle_{name}": f"What is missing of {name} on the way there and back, times {c.cycle:g}: "
                "it falls throughout.",
                f"generators/identity_{other}": f"What changes of an image of {other} that is to become {other}, times "
                f"{c.cycle * c.identity:g}: it falls, too.",
            }
        return found

    def asks(self, spec: DataSpec, produces: str) -> Mapping[str, Key]:
        return {OTHER[produces]: spec[OTHER[produces]]}

    def sample(self, networks: Networks, request: SampleRequest) -> Tensor:
        source = OTHER[request.produces]
        return networks[f"{source}_to_{request.produces}"](request.batch[source])

    def panels(self, networks: Networks, request: SampleRequest) -> Mapping[str, Tensor]:
        shown = {}
        for name, other in OTHER.items():
            there = networks[f"{name}_to_{other}"](request.batch[name])
            back = networks[f"{other}_to_{name}"](there)
            shown |= {name: request.batch[name], f"{name}{other}": there, f"{name}{other}{name}": back}
        return shown

    def _images(self, step: Step, name: str) -> Tensor:
        """Images of the domain `name` of the batch, as all networks see them."""
        return step.batch[name]

    def _drawn(self, step: Step, source: str) -> tuple[Tensor, Tensor | None]:
        """Translations of the batch, which both phases see, and what the same network makes of its own target domain.

        One forward of both: no image's norm sees another image, and half as many launches of kernels do.
        """
        target = OTHER[source]
        network = step.networks[f"{source}_to_{target}"]

        def draw() -> tuple[Tensor, Tensor | None]:
            import torch

            if not self.config.identity:
                return network(self._images(step, source)), None
            fake, same = network(torch.cat([self._images(step, source), self._images(step, target)])).chunk(2)
            return fake, same

        return step.shared(f"drawn_{target}", draw)

    def _generators(self, step: Step) -> dict[str, Tensor]:
        from gankit.ops import patchgan_g_loss

        c, terms = self.config, {}
        for name, other in OTHER.items():
            fake, same = self._drawn(step, name)
            judged = step.networks[f"discriminator_{other}"](step.augment(fake))
            terms[f"adversarial_{other}"] = patchgan_g_loss(judged, c.loss)
            back = step.networks[f"{other}_to_{name}"](fake)
            terms[f"cycle_{name}"] = c.cycle * (back - self._images(step, name)).abs().mean()
            if same is not None:
                terms[f"identity_{other}"] = c.cycle * c.identity * (same - self._images(step, other)).abs().mean()
        return terms

    def _discriminators(self, step: Step) -> dict[str, Tensor]:
        import torch

        from gankit.losses import gradient_penalty
        from gankit.ops import patchgan_d_loss

        c, terms = self.config, {}
        for name, other in OTHER.items():
            fake = self._drawn(step, other)[0].detach()
            if c.pool:
                fake = step.networks[f"pool_{name}"].query(fake, step.generator)
            judge = step.networks[f"discriminator_{name}"]
            seen = [step.augment(images.float()) for images in (self._images(step, name), fake)]
            terms[name] = patchgan_d_loss(*judge(torch.cat(seen)).chunk(2), c.loss)
            if c.penalty:
                terms[f"penalty_{name}"] = c.penalty * gradient_penalty(judge, *seen, generator=step.generator)
        return terms
