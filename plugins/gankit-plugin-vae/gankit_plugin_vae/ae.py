"""Variant ``ae``: a convolutional autoencoder."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from gankit.plugin import Config, DataSpec, Optim, Phase, SampleRequest, Step, Variant

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from gankit.plugin import Batch, Networks


class AEConfig(Config):
    """Options of the variant ``ae``."""

    width: int = Field(128, ge=2)
    """Channels of the encoder's first layer and of the decoder's; the decoder's second has half as many."""
    code: int = Field(8, ge=1)
    """Channels of the code; of a 28x28 image it has 2x2 places."""
    code_slope: float = Field(0.2, ge=0, le=1)
    """Slope below zero of the code's leaky ReLU. With 0, the document's ReLU, numbers of a code can be 0 for good."""
    optim: Optim = Optim(lr=1e-3, betas=(0.9, 0.999), schedule="cosine", hold=0.3)
    """Optimiser of encoder and decoder."""


_RUN = {"steps": 6000, "batch_size": 64, "eval_every": 1000, "sample_every": 1000, "data.size": 28}


class AE(Variant[AEConfig]):
    """Convolutional autoencoder: an image to a short code, and back with the least squared error."""

    Config = AEConfig
    dataset = "mnist"
    averaged = ("encoder", "decoder")
    metric = "squared_error"
    metrics: ClassVar = {"squared_error": "smaller"}
    presets: ClassVar = {
        "default": _RUN,
        "document": {**_RUN, "width": 16, "code_slope": 0.0},
    }

    def networks(self, spec: DataSpec) -> dict[str, nn.Module]:
        from gankit_plugin_vae import convolutions

        return convolutions.build(self.config, spec)

    def phases(self) -> Sequence[Phase]:
        return (Phase(name="ae", updates=("encoder", "decoder"), loss=self._loss, optim=self.config.optim),)

    def expect(self) -> Mapping[str, str]:
        return {
            "": "There is no adversary: the error falls and levels off. Images from random codes stay far worse than "
            "reconstructions, since nothing holds codes to a distribution.",
            "ae": "If it does not leave its first values, numbers of the code may be 0 for good, and all comes out "
            "grey (code_slope, a lower rate).",
            "squared_error": "Of held-out images. A default run on mnist ends at 0.059 to 0.061; 32 principal "
            "components have 0.068. Where it rises again, the training images are learnt by heart.",
        }

    def codes(self, request: SampleRequest) -> Tensor:
        """Standard normal (n, length of a code): codes here are told apart from their mean, in units of their spread.

        So they are what `encode` returns of training images, as far as a Gaussian describes those.
        """
        from gankit_plugin_vae.convolutions import code_shape

        return request.noise(request.n, math.prod(code_shape(self.config, request.spec)))

    def encode(self, networks: Networks, batch: Batch) -> Tensor:
        return networks["gaussian"].standardised(networks["encoder"](batch["image"]))

    def decode(self, networks: Networks, codes: Tensor, request: SampleRequest) -> Tensor:
        return networks["decoder"](networks["gaussian"].codes(codes))

    def panels(self, networks: Networks, request: SampleRequest) -> Mapping[str, Tensor]:
        """An image, what is left of it, and one drawn from a random code."""
        image = request.batch["image"]
        return {
            "image": image,
            "reconstruction": networks["decoder"](networks["encoder"](image)),
            "drawn": self.sample(networks, request),
        }

    def measure(self, networks: Networks, batches: Iterable[Batch], generator: torch.Generator) -> dict[str, float]:
        """Squared error of a pixel in [-1, 1], as a mean over pixels and images."""
        total, pixels = 0.0, 0
        for batch in batches:
            image = batch["image"]
            total += float((networks["decoder"](networks["encoder"](image)) - image).double().square().sum())
            pixels += image.numel()
        return {"squared_error": total / pixels}

    def _loss(self, step: Step) -> dict[str, Tensor]:
        from gankit import whole_batch

        image = step.batch["image"]
        code = step.networks["encoder"](image)
        step.networks["gaussian"].update(whole_batch.gather(code.detach()), step.index)
        return {"squared_error": (step.networks["decoder"](code).float() - image).square().mean()}
