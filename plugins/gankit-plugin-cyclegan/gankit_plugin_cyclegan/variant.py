"""Variant ``cyclegan``: two translators, each of which undoes the other, and a discriminator for each domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from gankit.errors import UsageError
from gankit.options.spelling import give
from gankit.plugin import Config, DataSpec, Key, Optim, Phase, SampleRequest, Step, Variant

if TYPE_CHECKING:
    from torch import Tensor, nn

    from gankit.plugin import Networks

OTHER = {"a": "b", "b": "a"}


class CycleGANConfig(Config):
    """Options of the variant ``cyclegan``."""

    g_width: int = Field(64, ge=1)
    """Channels after the generators' first layer."""
    blocks: int = Field(9, ge=1)
    """Residual blocks of the generators."""
    d_width: int = Field(64, ge=1)
    """Channels after the discriminators' first layer."""
    d_layers: int = Field(3, ge=1, le=6)
    """How often the discriminators halve the image: 3 see 70x70 pixels at once, 2 see 34x34, 1 sees 16x16."""
    loss: Literal["lsgan", "bce", "hinge"] = "lsgan"
    """Adversarial loss."""
    cycle: float = Field(10.0, ge=0)
    """Weight of the way there and back again."""
    identity: float = Field(0.5, ge=0)
    """Weight, times that of the cycle, of leaving an image of the other domain as it is; needs equal channels."""
    pool: int = Field(50, ge=0)
    """Earlier fakes kept for each discriminator; 0 = it sees the newest alone."""
    optim: Optim = Optim(lr=2e-4, betas=(0.5, 0.999), schedule="linear", hold=0.5)
    """Optimiser of all networks."""


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
            "g_width": 16,
            "blocks": 3,
            "d_width": 32,
            "d_layers": 2,
            "optim.lr": 5e-4,
        },
        # the paper's networks and setting, for images of 256x256: 200 epochs of a thousand images
        "paper": {"steps": 200_000, "batch_size": 1, "sample_n": 4, "sample_every": 1000, "ema": 0.0},
    }

    def networks(self, spec: DataSpec) -> dict[str, nn.Module]:
        from gankit.nn import ImagePool, PatchDiscriminator, ResNetGenerator
        from gankit.nn.init import init_normal

        c = self.config
        shapes = {name: spec.shape_of(name) for name in OTHER}
        self._check(shapes)
        made: dict[str, nn.Module] = {}
        for name, other in OTHER.items():
            inputs, outputs = shapes[name][0], shapes[other][0]
            made[f"{name}_to_{other}"] = init_normal(ResNetGenerator(inputs, outputs, c.g_width, c.blocks))
        for name in OTHER:
            made[f"discriminator_{name}"] = init_normal(PatchDiscriminator(shapes[name][0], c.d_width, c.d_layers))
        if c.pool:
            made |= {f"pool_{name}": ImagePool(c.pool, shapes[name]) for name in OTHER}
        return made

    def _check(self, shapes: Mapping[str, tuple[int, int, int]]) -> None:
        for name, (_, height, width) in shapes.items():
            if height % 4 or width % 4 or min(height, width) < 16:
                raise UsageError(
                    f"cyclegan takes sides that 4 divides, from 16 on; those of {name!r} are {width}x{height}. "
                    f"Choose another size ({give('data.size', 64)})."
                )
            left = min(height, width) >> self.config.d_layers
            if left < 3:
                raise UsageError(
                    f"d_layers = {self.config.d_layers}: nothing is left of {width}x{height} pixels. "
                    f"Choose fewer ({give('d_layers', 2)})."
                )
        if shapes["a"][1:] != shapes["b"][1:]:
            raise UsageError(f"cyclegan needs a and b of one size; they are {shapes['a'][1:]} and {shapes['b'][1:]}.")
        if self.config.identity and shapes["a"][0] != shapes["b"][0]:
            raise UsageError(
                f"identity needs as many channels in a ({shapes['a'][0]}) as in b ({shapes['b'][0]}). "
                f"Leave it out ({give('identity', 0)})."
            )

    def phases(self) -> Sequence[Phase]:
        optim = self.config.optim
        judges = tuple(f"discriminator_{name}" for name in OTHER)
        return (
            Phase(name="generators", updates=("a_to_b", "b_to_a"), loss=self._generators, optim=optim),
            Phase(name="discriminators", updates=judges, loss=self._discriminators, optim=optim),
        )

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

    def _fake(self, step: Step, source: str) -> Tensor:
        """Translations of the batch; the discriminators' phase sees those that the generators drew."""
        network = step.networks[f"{source}_to_{OTHER[source]}"]
        return step.shared(f"fake_{OTHER[source]}", lambda: network(step.batch[source]))

    def _generators(self, step: Step) -> dict[str, Tensor]:
        from gankit.ops import patchgan_g_loss

        c, terms = self.config, {}
        for name, other in OTHER.items():
            fake = self._fake(step, name)
            judged = step.networks[f"discriminator_{other}"](step.augment(fake))
            terms[f"adversarial_{other}"] = patchgan_g_loss(judged, c.loss)
            back = step.networks[f"{other}_to_{name}"](fake)
            terms[f"cycle_{name}"] = c.cycle * (back - step.batch[name]).abs().mean()
            if c.identity:
                same = step.networks[f"{other}_to_{name}"](step.batch[name])
                terms[f"identity_{name}"] = c.cycle * c.identity * (same - step.batch[name]).abs().mean()
        return terms

    def _discriminators(self, step: Step) -> dict[str, Tensor]:
        from gankit.ops import patchgan_d_loss

        terms = {}
        for name, other in OTHER.items():
            fake = self._fake(step, other).detach()
            if self.config.pool:
                fake = step.networks[f"pool_{name}"].query(fake, step.generator)
            judge = step.networks[f"discriminator_{name}"]
            real = judge(step.augment(step.batch[name]))
            terms[name] = patchgan_d_loss(real, judge(step.augment(fake)), self.config.loss)
        return terms
