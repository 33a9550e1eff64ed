"""Variant ``vae``: a variational autoencoder of perceptrons."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from gankit.plugin import Config, DataSpec, Optim, Phase, SampleRequest, Step, Variant

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from gankit.plugin import Batch, Networks


class VAEConfig(Config):
    """Options of the variant ``vae``."""

    hidden: int = Field(400, ge=1)
    """Width of the hidden layer of encoder and decoder."""
    z: int = Field(20, ge=1)
    """Length of a code."""
    likelihood: Literal["bernoulli", "squared"] = "bernoulli"
    """Of a pixel: its grey level as a probability, or squared error (a Gaussian of variance 1/2)."""
    kl: float = Field(1.0, ge=0)
    """Weight of the divergence of codes from the prior; with 1 the loss is the bound."""
    warmup: int = Field(0, ge=0)
    """Steps over which that weight rises from 0, in a line."""
    optim: Optim = Optim(lr=1e-3, betas=(0.9, 0.999), schedule="cosine", hold=0.3)
    """Optimiser of encoder and decoder."""


_RUN = {"steps": 8000, "batch_size": 128, "eval_every": 1000, "sample_every": 1000, "data.size": 28}


class VAE(Variant[VAEConfig]):
    """Variational autoencoder: codes that a standard normal describes, to be drawn (Kingma, Welling 2014)."""

    Config = VAEConfig
    dataset = "mnist"
    averaged = ("encoder", "decoder")
    metric = "bound"
    metrics: ClassVar = {"bound": "larger", "squared_error": "smaller"}
    presets: ClassVar = {
        "default": _RUN,
        "document": {**_RUN, "likelihood": "squared"},
    }

    def networks(self, spec: DataSpec) -> dict[str, nn.Module]:
        from gankit_plugin_vae.perceptrons import Decoder, Encoder

        c = self.config
        return {
            "encoder": Encoder(spec.image_shape, c.hidden, c.z),
            "decoder": Decoder(spec.image_shape, c.hidden, c.z),
        }

    def phases(self) -> Sequence[Phase]:
        return (Phase(name="vae", updates=("encoder", "decoder"), loss=self._loss, optim=self.config.optim),)

    def expect(self) -> Mapping[str, str]:
        return {
            "": "There is no adversary: all curves go down, or up, and level off. The best checkpoint of a default "
            "run on mnist was that of step 5,000 of 8,000, with a bound of -111 nats for held-out images.",
            "vae/reconstruction": "What the decoder misses of an image, in nats but for a constant: it falls, "
            "fast at first.",
            "vae/kl": "What a code says of its image, in nats, times its weight. It rises as codes come to be used. "
            "Near 0 the code is ignored, and all images are drawn alike: a weight kl below 1, or a warmup, helps.",
            "vae/bound": "Minus the sum of both: it rises and levels off.",
            "bound": "Of held-out images. Where it falls while that of training rises, the training images are learnt "
            "by heart.",
            "squared_error": "Of held-out images, 0.045 to 0.046 at best on mnist; 20 principal components have 0.095.",
        }

    def codes(self, request: SampleRequest) -> Tensor:
        return request.noise(request.n, self.config.z)

    def encode(self, networks: Networks, batch: Batch) -> Tensor:
        """The means of the codes, (N, z)."""
        mean, _ = networks["encoder"](batch["image"])
        return mean

    def decode(self, networks: Networks, codes: Tensor, request: SampleRequest) -> Tensor:
        return self._image(networks["decoder"](codes))

    def panels(self, networks: Networks, request: SampleRequest) -> Mapping[str, Tensor]:
        """An image, what is left of it, and one drawn from a random code."""
        return {
            "image": request.batch["image"],
            "reconstruction": self.decode(networks, self.encode(networks, request.batch), request),
            "drawn": self.sample(networks, request),
        }

    def measure(self, networks: Networks, batches: Iterable[Batch], generator: torch.Generator) -> dict[str, float]:
        """`bound`: on the log-likelihood of an image, in nats, with one code drawn for each (equation 3 of the paper).

        Of grey levels as probabilities, or of densities of pixels in [-1, 1]. `squared_error`: of a pixel in [-1, 1],
        of what the mean of the code is decoded to.
        """
        import torch

        bound, error, images, pixels = 0.0, 0.0, 0, 0
        for batch in batches:
            image = batch["image"]
            mean, logvar = networks["encoder"](image)
            noise = torch.randn(mean.shape, generator=generator, device=mean.device)
            reconstruction, divergence = self._terms(networks, image, mean, logvar, noise)
            bound -= float(reconstruction + divergence) * len(image)
            error += float((self._image(networks["decoder"](mean)) - image).double().square().sum())
            images, pixels = images + len(image), pixels + image.numel()
        return {"bound": bound / images - self._constant(pixels // images), "squared_error": error / pixels}

    def _loss(self, step: Step) -> dict[str, Tensor]:
        image, c = step.batch["image"], self.config
        mean, logvar = step.networks["encoder"](image)
        noise = step.noise(step.size, c.z)
        reconstruction, divergence = self._terms(step.networks, image, mean, logvar, noise)
        step.log("bound", -(reconstruction + divergence) - self._constant(image[0].numel()))
        weight = c.kl * min(1.0, (step.index + 1) / c.warmup) if c.warmup else c.kl
        return {"reconstruction": reconstruction, "kl": weight * divergence}

    def _terms(
        self, networks: Networks, image: Tensor, mean: Tensor, logvar: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What reconstruction, but for :meth:`_constant`, and divergence cost an image: batch means, in nats."""
        from torch.nn import functional as F

        from gankit.losses import kl_normal

        mean, logvar = mean.float(), logvar.float()
        decoded = networks["decoder"](mean + (0.5 * logvar).exp() * noise).float()
        if self.config.likelihood == "bernoulli":
            cost = F.binary_cross_entropy_with_logits(decoded, (image + 1) / 2, reduction="sum")
        else:
            cost = (decoded.tanh() - image).square().sum()
        return cost / len(image), mean.shape[1] * kl_normal(mean, logvar)

    def _image(self, decoded: Tensor) -> Tensor:
        """Images in [-1, 1]; of probabilities p, 2 p - 1, which is the same as tanh of half the logit."""
        return (decoded / 2 if self.config.likelihood == "bernoulli" else decoded).tanh()

    def _constant(self, pixels: int) -> float:
        """What a Gaussian of variance 1/2 costs a perfect image of so many pixels, in nats; 0 for probabilities."""
        return 0.5 * math.log(math.pi) * pixels if self.config.likelihood == "squared" else 0.0
