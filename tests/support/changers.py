"""Variants that make images of images, for the tests of sampling: small, and trained for a step or two."""

from __future__ import annotations

import torch
from tiny_gan import Tiny, TinyConfig
from torch import nn

from gankit.plugin import Key, Phase, Variant


class Negative(Variant[TinyConfig]):
    """Answers an image with its negative, a little blurred by what it learns; how dark can be asked for."""

    Config = TinyConfig
    dataset = "blobs"
    random = False

    def networks(self, spec):
        net = nn.Conv2d(1, 1, 1, bias=False)
        nn.init.constant_(net.weight, -1.0)
        return {"net": net}

    def phases(self):
        def loss(step):
            return {"loss": (step.networks["net"](step.batch["image"]) + step.batch["image"]).square().mean()}

        return [Phase(name="net", updates=("net",), loss=loss)]

    def asks(self, spec, produces):
        return {"image": spec["image"], "box": Key(kind="box", shape=(4,)), "mood": Key(kind="class", names=("1", "0"))}

    def sample(self, networks, request):
        images = networks["net"](request.batch["image"])
        return images * (1 - request.batch["mood"].view(-1, 1, 1, 1)) if "box" in request.batch else images


class Encoder(Negative):
    """Codes are images of half the size."""

    def asks(self, spec, produces):
        return {}

    def sample(self, networks, request):
        return self.decode(networks, self.codes(request), request)

    def codes(self, request):
        return request.noise(request.n, 1, 4, 4).clamp(-1, 1)

    def encode(self, networks, batch):
        return nn.functional.avg_pool2d(batch["image"], 2)

    def decode(self, networks, codes, request):
        return codes.repeat_interleave(2, 2).repeat_interleave(2, 3)


class Points(Variant[TinyConfig]):
    """Draws points of a plane, of which the data has none, and a plot of them."""

    Config = TinyConfig
    dataset = "blobs"
    produces = ()

    def networks(self, spec):
        return {"net": nn.Linear(2, 2)}

    def phases(self):
        def loss(step):
            return {"loss": step.networks["net"](step.noise(step.size, 2)).square().mean()}

        return [Phase(name="net", updates=("net",), loss=loss)]

    def sample(self, networks, request):
        return networks["net"](request.noise(request.n, 2))

    def figures(self, networks, request):
        return {"plot": torch.zeros(10, 20, 3, dtype=torch.uint8)}


class Shown(Tiny):
    """With panels of real images beside what is drawn."""

    def panels(self, networks, request):
        return {"real": request.batch["image"], "drawn": self.sample(networks, request)}
