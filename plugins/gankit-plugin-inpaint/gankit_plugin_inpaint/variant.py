"""Variant ``inpaint``: fills what a mask hides, so that nobody sees where it was."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from gankit.options.spelling import give
from gankit.plugin import DataSpec, Key, Phase, SampleRequest, Step, UsageError, Variant
from gankit_plugin_inpaint.config import InpaintConfig

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from gankit.plugin import Batch, Networks

MASK = "mask"


class Inpaint(Variant[InpaintConfig]):
    """Fills what a mask hides (Yu et al. 2019; Pathak et al. 2016)."""

    Config = InpaintConfig
    dataset = "emoji"
    random = False
    keeps = MASK
    averaged = ("filler",)
    metric = "swd"
    metrics: ClassVar = {"psnr": "larger"}
    presets: ClassVar = {
        "default": {
            "steps": 1500,
            "batch_size": 16,
            "precision": "auto",
            "sample_n": 8,
            "sample_every": 250,
            "eval_every": 500,
            "ema": 0.99,
            "augment.flip": True,
            "g_width": 24,
            "spread": True,
            "act": "leaky_relu",
            "d_width": 32,
            "d_layers": 4,
            "d_norm": "none",
            "penalty": 3.0,
            "adversarial": 0.05,
            "loss": "bce",
            "optim.lr": 1e-3,
            "optim.schedule": "linear",
            "d_optim.lr": 5e-4,
            "d_optim.schedule": "linear",
        },
        # the paper's networks and setting, for images of 256x256
        "paper": {
            "steps": 500_000,
            "batch_size": 16,
            "sample_n": 8,
            "sample_every": 5000,
            "checkpoint_every": 5000,
            "ema": 0.0,
            "augment.flip": True,
            "data.size": 256,
        },
        # Pathak et al.: the centre of 128x128
        "context-encoder": {
            "steps": 100_000,
            "batch_size": 64,
            "sample_n": 8,
            "sample_every": 1000,
            "checkpoint_every": 1000,
            "ema": 0.0,
            "augment.flip": True,
            "data.size": 128,
            "network": "context-encoder",
            "g_width": 64,
            "loss": "bce",
            "pixels": 0.999,
            "adversarial": 0.001,
            "optim.lr": 2e-3,
            "d_optim.lr": 2e-4,
        },
    }

    def __init__(self, config: InpaintConfig) -> None:
        super().__init__(config)
        self.requires, self.produces = frozenset({config.image_key}), (config.image_key,)

    def networks(self, spec: DataSpec) -> dict[str, nn.Module]:
        from gankit_plugin_inpaint import context_encoder, gated

        c, shape = self.config, self._shape(spec)
        if c.network == "gated":
            filler = gated.GatedFiller(shape[0], c.g_width, c.attention, c.spread, c.act)
            return gated.build(shape, filler, c.d_width, c.d_layers, c.d_norm == "spectral")
        return context_encoder.build(*shape, g_width=c.g_width, d_width=c.d_width, neck=c.neck, overlap=c.overlap)

    def _shape(self, spec: DataSpec) -> tuple[int, int, int]:
        name = self.config.image_key
        if name not in spec.images and spec.images:
            raise UsageError(
                f"inpaint: the data has no image under {name!r}; its images: {', '.join(spec.images)} "
                f"({give('image_key', spec.images[0])})"
            )
        return spec.shape_of(name)

    def phases(self) -> Sequence[Phase]:
        c = self.config
        return (
            Phase(name="discriminator", updates=("discriminator",), loss=self._discriminator, optim=c.d_optim),
            Phase(name="filler", updates=("filler",), loss=self._filler, optim=c.optim),
        )

    def expect(self) -> Mapping[str, str]:
        from gankit import chance

        c = self.config
        pixels = f"The error of pixels, times {c.pixels:g}: it falls, fast at first, and slowly for long."
        return {
            "": "swd falls while texture comes, and psnr with it: texture of the right kind is in the wrong place. "
            "Of a default run on earth-layer, at every 500 steps, swd was 58.8, 53.5 and 49.8, psnr 24.77, 24.66 and "
            "24.44.",
            "discriminator/adversarial": chance.discriminator(c.loss),
            "discriminator/penalty": "Times its weight; it holds a discriminator that has no norm.",
            "filler/adversarial": chance.generator(c.loss, c.adversarial),
            "filler/coarse": pixels,
            "filler/fine": pixels,
            "filler/pixels": pixels,
        }

    def asks(self, spec: DataSpec, produces: str) -> Mapping[str, Key]:
        _, height, width = self._shape(spec)
        return {produces: spec[produces], MASK: Key(kind="mask", shape=(1, height, width), of=produces)}

    def sample(self, networks: Networks, request: SampleRequest) -> Tensor:
        return self._stages(networks, request)[-1]

    def panels(self, networks: Networks, request: SampleRequest) -> Mapping[str, Tensor]:
        import torch

        image, mask = request.batch[request.produces], self._asked_mask(networks, request)
        stages = self._stages(networks, request)
        shown = {request.produces: image, "hole": torch.where(mask > 0, torch.zeros_like(image), image)}
        return shown | dict(zip(("filled", "coarse"), reversed(stages), strict=False))

    def _stages(self, networks: Networks, request: SampleRequest) -> list[Tensor]:
        """What each stage fills in, with the known pixels as they were."""
        import torch

        image, mask = request.batch[request.produces], self._asked_mask(networks, request)
        return [torch.where(mask > 0, drawn.clamp(-1, 1), image) for drawn in networks["filler"](image, mask)]

    def _asked_mask(self, networks: Networks, request: SampleRequest) -> Tensor:
        """The mask that was given, or the data's; if there is none one that is drawn, the same each time."""
        import torch

        if MASK in request.batch:
            mask = _binary(request.batch[MASK])
            networks["filler"].check_mask(mask)
            return mask
        generator = torch.Generator(request.device).manual_seed(0)
        return self.drawn_mask(networks, request.batch[request.produces], generator)

    def drawn_mask(self, networks: Networks, like: Tensor, generator: torch.Generator) -> Tensor:
        """Holes as the options say, for images `like` these: float32 (N, 1, H, W), 1 where something is hidden."""
        from gankit_plugin_inpaint.masks import Holes, centre, draw_holes

        c, size, rim = self.config, (like.shape[2], like.shape[3]), networks["filler"].rim
        if rim is not None or c.holes == "centre":
            sides = (rim, rim) if rim is not None else (size[0] // 4, size[1] // 4)
            return centre(like.shape[0], size, sides, like.device)
        boxes = None if c.holes == "strokes" else c.box
        strokes = None if c.holes == "boxes" else c.strokes
        return draw_holes(Holes(boxes, strokes, c.brush), len(like), size, generator)

    def _mask(self, networks: Networks, batch: Batch, generator: torch.Generator) -> Tensor:
        """Holes for the images of a batch: the data's own, if it has any and nothing else is wanted."""
        image = batch[self.config.image_key]
        own = batch.get(MASK)
        if self.config.holes == "auto" and own is not None and networks["filler"].rim is None:
            return _binary(own)
        return self.drawn_mask(networks, image, generator)

    def _step_mask(self, step: Step) -> Tensor:
        return step.shared("mask", lambda: self._mask(step.networks, step.batch, step.generator))

    def _drawn(self, step: Step) -> tuple[Tensor, ...]:
        """What the filler's stages draw; both phases see the same."""

        def draw() -> tuple[Tensor, ...]:
            return step.networks["filler"](step.batch[self.config.image_key], self._step_mask(step))

        return step.shared("drawn", draw)

    def _seen(self, step: Step, drawn: Tensor) -> Tensor:
        """What the discriminator sees of images that were drawn, or of the real ones."""
        import torch

        image, mask = step.batch[self.config.image_key], self._step_mask(step)
        seen, along = step.networks["filler"].judged(drawn, image, mask)
        return step.augment(seen) if along is None else torch.cat(step.augment(seen, along=along), 1)

    def _discriminator(self, step: Step) -> dict[str, Tensor]:
        from gankit.losses import r1_penalty
        from gankit.ops import patchgan_d_loss

        c, judge = self.config, step.networks["discriminator"]
        fake, real = (self._seen(step, images) for images in (self._drawn(step)[-1].detach(), step.batch[c.image_key]))
        terms: dict[str, Tensor] = {}
        kept: list[Tensor] = []

        def score(images: Tensor) -> Tensor:
            kept.append(judge(images))
            return kept[-1].flatten(1).mean(1)

        if c.penalty and c.network == "gated":  # the other's batch norm lets images see each other
            terms["penalty"] = c.penalty / 2 * r1_penalty(score, real)
        else:
            score(real)
        return terms | {"adversarial": patchgan_d_loss(kept[0], judge(fake), c.loss)}

    def _filler(self, step: Step) -> dict[str, Tensor]:
        from gankit.ops import patchgan_g_loss

        c, stages = self.config, self._drawn(step)
        logits = step.networks["discriminator"](self._seen(step, stages[-1]))
        terms = {"adversarial": c.adversarial * patchgan_g_loss(logits, c.loss)}
        errors = step.networks["filler"].errors(stages, step.batch[c.image_key], self._step_mask(step))
        return terms | {name: c.pixels * error for name, error in errors.items()}

    def measure(self, networks: Networks, batches: Iterable[Batch], generator: torch.Generator) -> dict[str, float]:
        """Peak signal-to-noise ratio inside of held-out holes, in dB: of the squared error of all their pixels."""
        import math

        wrong, hidden = 0.0, 0.0
        for batch in batches:
            image, mask = batch[self.config.image_key], self._mask(networks, batch, generator)
            drawn = networks["filler"](image, mask)[-1].float().clamp(-1, 1)
            wrong += float(((drawn - image).square() * mask).double().sum())
            hidden += float(mask.double().sum()) * image.shape[1]
        return {"psnr": 10 * math.log10(4 * hidden / wrong) if wrong else math.inf}


def _binary(mask: Tensor) -> Tensor:
    """1 where a mask as in a step holds at least by half, else 0."""
    return (mask >= 0.5).float()
