"""Variant ``cut``: one translator, whose patches are to stay recognisable, and one discriminator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator

from gankit.errors import UsageError
from gankit.options.spelling import give
from gankit.plugin import Config, DataSpec, Key, Optim, Phase, SampleRequest, Step, Variant

if TYPE_CHECKING:
    from torch import Tensor, nn

    from gankit.plugin import Networks

OTHER = {"a": "b", "b": "a"}


class CUTConfig(Config):
    """Options of the variant ``cut``."""

    source: Literal["a", "b"] = "a"
    """What is translated: a into b, or b into a."""
    g_width: int = Field(64, ge=1)
    """Channels after the generator's first layer."""
    blocks: int = Field(9, ge=1)
    """Residual blocks of the generator."""
    doubling: Literal["deconv", "deconv4", "resize"] = "deconv"
    """How the generator's maps become twice as large: by kernels of 3x3, as published for CycleGAN; of 4x4; or enlarged
    and convolved, which alone leaves no lattice."""
    norm: Literal["instance", "layer", "batch"] = "instance"
    """Norm of the generator: instance, as published, forgets what colour an image has as a whole; layer keeps it, and
    so does batch, which is of all images of a batch, and of averages when samples are drawn."""
    d_width: int = Field(64, ge=1)
    """Channels after the discriminator's first layer."""
    d_layers: int = Field(3, ge=0, le=6)
    """How often the discriminator halves the image: 3 see 70x70 pixels at once, 2 see 34x34, 1 sees 16x16, 0 one."""
    loss: Literal["lsgan", "bce", "hinge"] = "lsgan"
    """Adversarial loss."""
    nce: float = Field(1.0, gt=0)
    """Weight of finding each patch of a translation again among those of its source."""
    identity: bool = True
    """Hold images of the target domain to themselves by the same loss; each of both then has half the weight."""
    equivariant: bool = False
    """Mirror half of the sources before they are translated, so that mirroring changes nothing else."""
    layers: tuple[int, ...] = (0, 2, 3, 4, 8)
    """Maps of the encoder that are compared: 0 the image, 1 the first convolution, 2 and 3 the halvings, 4 and on the
    residual blocks."""
    patches: int = Field(256, ge=2)
    """Places of each map that are compared, fewer where it has fewer."""
    temperature: float = Field(0.07, gt=0)
    """Divides the similarities of patches."""
    heads: int = Field(256, ge=1)
    """Width of the perceptrons that look at patches."""
    optim: Optim = Optim(lr=2e-4, betas=(0.5, 0.999), schedule="linear", hold=0.5)
    """Optimiser of all networks."""

    @field_validator("layers")
    @classmethod
    def _layers(cls, layers: tuple[int, ...]) -> tuple[int, ...]:
        if not layers or len(set(layers)) < len(layers) or min(layers) < 0:
            raise ValueError("give at least one, none twice, from 0 on")
        return layers


@dataclass(frozen=True)
class Drawn:
    """What the generator makes of a batch, and what its encoder saw at some places of each of its maps."""

    fake: Tensor
    """Translations of the sources, some of them mirrored."""
    same: Tensor | None
    """What it makes of images of the target domain."""
    mirrored: Tensor | None
    """Which sources were mirrored, bool (N, 1, 1, 1)."""
    places: list[Tensor]
    """Of each map, int64 (P,)."""
    patches: list[Tensor]
    """There, (N, P, C) each, without a graph: of the sources, unmirrored, and behind them of the target's images."""


_SMALL = {  # 64x64 pixels on two cores
    "steps": 2000,
    "batch_size": 4,
    "sample_n": 8,
    "sample_every": 500,
    "eval_every": 500,
    "ema": 0.99,
    "precision": "auto",
    "g_width": 32,
    "blocks": 4,
    "doubling": "resize",
    "norm": "layer",
    "d_width": 32,
    "d_layers": 2,
    "layers": (0, 2, 3, 4, 6),
    "optim.lr": 4e-4,
}
_FAST = {"nce": 10.0, "identity": False, "equivariant": True}
_PAPER = {  # 400 epochs of a thousand images
    "steps": 400_000,
    "batch_size": 1,
    "sample_n": 4,
    "sample_every": 1000,
    "ema": 0.0,
    "data.size": 256,
    "data.scale": 5400,  # of the Earth: what is between two borders of its splits
}


class CUT(Variant[CUTConfig]):
    """Translates images one way between two domains of which no pairs are known (Park et al. 2020)."""

    Config = CUTConfig
    dataset = "earth"
    requires = frozenset({"a", "b"})
    produces = ("b",)
    random = False
    averaged = ("generator",)
    metric = "swd"
    presets: ClassVar = {
        "default": _SMALL,
        "fast": {**_SMALL, **_FAST},
        "paper": _PAPER,
        "paper-fast": {**_PAPER, **_FAST, "steps": 200_000, "optim.hold": 0.75},
    }

    def __init__(self, config: CUTConfig) -> None:
        super().__init__(config)
        self.source, self.target = config.source, OTHER[config.source]
        self.produces = (self.target,)

    def networks(self, spec: DataSpec) -> dict[str, nn.Module]:
        from gankit.nn import PatchDiscriminator, ResNetGenerator
        from gankit.nn.init import init_normal
        from gankit_plugin_cut.heads import PatchHeads

        c = self.config
        channels = self._channels(spec)
        generator = ResNetGenerator(channels, channels, c.g_width, c.blocks, doubling=c.doubling, norm=c.norm)
        if max(c.layers) >= len(generator.channels):
            layers = ",".join(str(number) for number in (0, 2, 3, 4, 3 + c.blocks)[: 4 + (c.blocks > 1)])
            raise UsageError(
                f"layers = {max(c.layers)}: with {c.blocks} residual blocks they are numbered to "
                f"{len(generator.channels) - 1}. Choose others ({give('layers', layers)})."
            )
        heads = PatchHeads([generator.channels[number] for number in c.layers], c.heads)
        judge = PatchDiscriminator(channels, c.d_width, c.d_layers)
        made = {"generator": generator, "heads": heads, "discriminator": judge}
        return {name: init_normal(network) for name, network in made.items()}

    def _channels(self, spec: DataSpec) -> int:
        """Of both images; :class:`UsageError` if they cannot be translated."""
        shapes = {name: spec.shape_of(name) for name in OTHER}
        for name, (_, height, width) in shapes.items():
            if height % 4 or width % 4 or min(height, width) < 16:
                raise UsageError(
                    f"cut takes sides that 4 divides, from 16 on; those of {name!r} are {width}x{height}. "
                    f"Choose another size ({give('data.size', 64)})."
                )
            if self.config.d_layers and min(height, width) >> self.config.d_layers < 3:
                raise UsageError(
                    f"d_layers = {self.config.d_layers}: nothing is left of {width}x{height} pixels. "
                    f"Choose fewer ({give('d_layers', 2)})."
                )
        if shapes["a"] != shapes["b"]:  # its encoder sees both what it translates and what it has made
            of = {name: "x".join(map(str, shape)) for name, shape in shapes.items()}
            raise UsageError(f"cut needs a and b of one size and as many channels; they are {of['a']} and {of['b']}.")
        return shapes["a"][0]

    def phases(self) -> Sequence[Phase]:
        optim = self.config.optim
        return (
            Phase(name="discriminator", updates=("discriminator",), loss=self._discriminator, optim=optim),
            Phase(name="generator", updates=("generator", "heads"), loss=self._generator, optim=optim),
        )

    def expect(self) -> Mapping[str, str]:
        import math

        from gankit import chance

        c = self.config
        weight = c.nce / (2 if c.identity else 1)
        luck = weight * math.log(c.patches)
        nce = (
            "How badly patches are found again among those of their image. By luck alone it is up to "
            f"{luck:.3g}; it falls from there and levels off."
        )
        return {
            "": "What no loss tells is whether the translation means the same: the sheet does, and mask_agreement "
            "where the data has masks. On earth swd was 121, 99, 99 and 71 at every 500 steps, and half-way a part "
            "of the land was taken for sea.",
            "discriminator": chance.discriminator(c.loss),
            "generator/adversarial": chance.generator(c.loss),
            "generator/nce": f"{nce} Rising, it says that translations lose what their sources show; near 0 from early "
            "on, with adversarial high, that they are their sources unchanged.",
            "generator/identity": f"The same of images of the target, which are to stay as they are. {nce}",
        }

    def asks(self, spec: DataSpec, produces: str) -> Mapping[str, Key]:
        return {self.source: spec[self.source]}

    def sample(self, networks: Networks, request: SampleRequest) -> Tensor:
        return networks["generator"](request.batch[self.source])

    def panels(self, networks: Networks, request: SampleRequest) -> Mapping[str, Tensor]:
        generator, target = networks["generator"], self.target
        shown = {name: request.batch[name] for name in OTHER}
        panels = {self.source: shown[self.source], self.source + target: generator(shown[self.source])}
        panels[target] = shown[target]
        if self.config.identity:
            panels[2 * target] = generator(shown[target])
        return panels

    def _drawn(self, step: Step) -> Drawn:
        """Both phases see the same. One forward of sources and target images: their norms are each image's own."""
        return step.shared("drawn", lambda: self._draw(step))

    def _draw(self, step: Step) -> Drawn:
        import torch

        from gankit import whole_batch
        from gankit_plugin_cut.heads import at_places, draw_places

        c, generator, source = self.config, step.networks["generator"], step.batch[self.source]
        further = [step.batch[self.target]] if c.identity else []
        mirrored = None
        if c.equivariant:
            mirrored = whole_batch.rand(step.size, 1, 1, 1, generator=step.generator, device=step.device) < 0.5
            images = generator(torch.cat([torch.where(mirrored, source.flip(3), source), *further]))
            with torch.no_grad():  # of the sources as they are: the maps of the mirrored ones are turned back
                maps = generator.features(torch.cat([source, *further]), c.layers)
        else:
            images, maps = generator.with_features(torch.cat([source, *further]), c.layers)
        places = draw_places(maps, c.patches, step.generator)
        patches = at_places([one.detach() for one in maps], places)
        fake, same = images.chunk(2) if further else (images, None)
        return Drawn(fake, same, mirrored, places, patches)

    def _generator(self, step: Step) -> dict[str, Tensor]:
        from gankit.ops import patchgan_g_loss

        drawn = self._drawn(step)
        judged = step.networks["discriminator"](step.augment(drawn.fake))
        return {"adversarial": patchgan_g_loss(judged, self.config.loss), **self._contrasts(step, drawn)}

    def _contrasts(self, step: Step, drawn: Drawn) -> dict[str, Tensor]:
        """How badly patches are found again: of translations among their source's, and of the target's images."""
        import torch

        from gankit.losses import patch_nce
        from gankit_plugin_cut.heads import at_places

        c, heads = self.config, step.networks["heads"]
        images, mirrored = drawn.fake, drawn.mirrored
        if drawn.same is not None:
            images = torch.cat([images, drawn.same])
        maps = step.networks["generator"].features(images, c.layers)
        if mirrored is not None:
            if drawn.same is not None:
                mirrored = torch.cat([mirrored, torch.zeros_like(mirrored)])
            maps = [torch.where(mirrored, one.flip(3), one) for one in maps]
        queries = heads(at_places(maps, drawn.places))
        with torch.no_grad():
            keys = heads(drawn.patches)
        names = ("nce",) if drawn.same is None else ("nce", "identity")
        terms = {}
        for number, name in enumerate(names):
            rows = slice(number * step.size, (number + 1) * step.size)
            losses = [patch_nce(q[rows], k[rows], c.temperature) for q, k in zip(queries, keys, strict=True)]
            terms[name] = c.nce / len(names) * torch.stack(losses).mean()
        return terms

    def _discriminator(self, step: Step) -> dict[str, Tensor]:
        import torch

        from gankit.ops import patchgan_d_loss

        real, fake = step.augment(step.batch[self.target]), step.augment(self._drawn(step).fake.detach())
        logits = step.networks["discriminator"](torch.cat([real, fake]))
        return {"loss": patchgan_d_loss(*logits.chunk(2), self.config.loss)}
