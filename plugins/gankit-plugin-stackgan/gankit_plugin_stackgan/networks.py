"""Generators and discriminators of both stages (Zhang et al. 2017, sections 3.2 to 3.4).

In the shapes, E is the length of a caption's embedding, K of its condition, Z of the noise; images are square.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gankit.nn import ConcatConv2d, ConcatSequential, LeakyReLU, UpsampleConv2d

SLOPE = 0.2


def levels(small: int, large: int) -> int:
    """How many doublings lead from `small` to `large`; ValueError if none do."""
    count = (large // small).bit_length() - 1
    if count < 0 or small << count != large:
        raise ValueError(f"{large} is not {small} times a power of two")
    return count


def conv3(inputs: int, outputs: int) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size; no bias, as in the reference, whether a norm follows or not."""
    return nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)


def down(inputs: int, outputs: int, *, norm: bool, slope: float) -> list[nn.Module]:
    """A 4x4 convolution that halves the size."""
    conv = nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False)
    return [conv, *_normed(outputs, norm), LeakyReLU(negative_slope=slope)]


def _normed(channels: int, norm: bool) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels)] if norm else []


def up(inputs: int, outputs: int) -> list[nn.Module]:
    """Nearest-neighbour doubling and a 3x3 convolution."""
    return [UpsampleConv2d(inputs, outputs, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


class Augmentation(nn.Module):
    """Conditioning augmentation (section 3.2): an embedding becomes a normal distribution to draw a condition from."""

    def __init__(self, embedding: int, condition: int, relu: bool = False) -> None:
        super().__init__()
        self.project = nn.Linear(embedding, 2 * condition)
        self.relu = relu

    def forward(self, embedding: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Of `embedding` (N, E) and `noise` (N, K): the condition drawn, its mean and its log-variance, (N, K) each.

        Without noise the condition is the mean. The authors' code has a ReLU after the projection, which the paper has
        not: it keeps the variance above 1, and the noise drowns what captions differ in least.
        """
        projected = self.project(embedding).float()
        mean, log_variance = (projected.relu() if self.relu else projected).chunk(2, dim=1)
        drawn = mean if noise is None else mean + noise * torch.exp(0.5 * log_variance)
        return drawn, mean, log_variance


class StageOneGenerator(nn.Module):
    """Embedding (N, E) and noise (N, Z) to an image (N, 3, size, size) in [-1, 1] (section 3.3)."""

    def __init__(
        self, *, embedding: int, condition: int, z: int, width: int, size: int, channels: int = 3, relu: bool = False
    ) -> None:
        super().__init__()
        doublings = levels(4, size)
        self.widest = width << (doublings - 1)
        self.augmentation = Augmentation(embedding, condition, relu)
        self.start = nn.Linear(z + condition, self.widest * 16, bias=False)
        self.start_norm = nn.BatchNorm1d(self.widest * 16)
        self.ups = nn.Sequential(
            *[layer for k in range(doublings) for layer in up(self.widest >> k, self.widest >> k + 1)]
        )
        self.image = conv3(self.widest >> doublings, channels)
        self.frozen = False

    def freeze(self) -> StageOneGenerator:
        """For stage II: no gradients, and eval mode for good, so that its batch norms stay as they are."""
        self.frozen = True
        self.requires_grad_(False)
        return self.eval()

    def train(self, mode: bool = True) -> StageOneGenerator:
        return super().train(mode and not self.frozen)

    def forward(self, embedding: Tensor, z: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """The images, and the mean and log-variance of the condition."""
        condition, mean, log_variance = self.augmentation(embedding, noise)
        start = torch.relu(self.start_norm(self.start(torch.cat([condition, z], dim=1))))
        return torch.tanh(self.image(self.ups(start.view(-1, self.widest, 4, 4)))), mean, log_variance


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside an identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv3(width, width),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            conv3(width, width),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.body(x))


class StageTwoGenerator(nn.Module):
    """A stage-I image (N, 3, low, low) and its caption to an image (N, 3, size, size) in [-1, 1] (section 3.4).

    The image is halved `halvings` times (2 in the paper), joined with the condition, refined by residual blocks and
    enlarged. With `onto` the result is added to the enlarged stage-I image, before the tanh; not in the paper.
    """

    def __init__(
        self,
        *,
        embedding: int,
        condition: int,
        width: int,
        low: int,
        size: int,
        blocks: int,
        halvings: int = 2,
        onto: bool = False,
        channels: int = 3,
        relu: bool = False,
    ) -> None:
        super().__init__()
        doublings = levels(low >> halvings, size)
        wide = width << halvings
        self.onto = onto
        self.augmentation = Augmentation(embedding, condition, relu)
        self.encoder = nn.Sequential(
            conv3(channels, width),
            nn.ReLU(inplace=True),
            *[layer for k in range(halvings) for layer in down(width << k, width << k + 1, norm=True, slope=0.0)],
        )
        self.joint = ConcatSequential(
            ConcatConv2d(wide, condition, wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU(inplace=True)
        )
        self.residual = nn.Sequential(*[ResidualBlock(wide) for _ in range(blocks)])
        self.ups = nn.Sequential(*[layer for k in range(doublings) for layer in up(wide >> k, wide >> k + 1)])
        self.image = conv3(wide >> doublings, channels)

    def forward(self, low: Tensor, embedding: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """The images, and the mean and log-variance of the condition."""
        condition, mean, log_variance = self.augmentation(embedding, noise)
        joined = self.joint(self.encoder(low), condition)
        drawn = self.image(self.ups(self.residual(joined)))
        if self.onto:
            large = F.interpolate(low.float(), drawn.shape[-2:], mode="bilinear")
            drawn = drawn + torch.atanh(large.clamp(-0.99, 0.99))
        return torch.tanh(drawn), mean, log_variance


class Score(nn.Conv2d):
    """A 4x4 convolution of a map (N, C, 4, 4) to one logit (N, 1), as the product that it is."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, 1, 4)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.flatten(1), self.weight.flatten(1), self.bias)


class Discriminator(nn.Module):
    """Whether an image (N, 3, size, size) is real and shows what a condition (N, K) says.

    Halved down to 4x4, narrowed again to 8 times `width` if it grew wider, joined with the condition. `unconditional`
    adds a second head that judges the image alone, as the discriminator of stage II has.
    """

    def __init__(
        self, *, condition: int, width: int, size: int, unconditional: bool, channels: int = 3, norm: bool = True
    ) -> None:
        super().__init__()
        doublings = levels(4, size)
        layers = down(channels, width, norm=False, slope=SLOPE)
        for k in range(doublings - 1):
            layers += down(width << k, width << k + 1, norm=norm, slope=SLOPE)
        wide = width << (doublings - 1)
        while wide > 8 * width:
            layers += [conv3(wide, wide // 2), *_normed(wide // 2, norm), LeakyReLU(negative_slope=SLOPE)]
            wide //= 2
        self.encoder = nn.Sequential(*layers)
        self.joint = ConcatSequential(
            ConcatConv2d(wide, condition, wide, bias=False),
            *_normed(wide, norm),
            LeakyReLU(negative_slope=SLOPE),
            Score(wide),
        )
        self.alone = Score(wide) if unconditional else None

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, 4, 4), and what comes of it in the layer that joins a condition: several may be judged of them."""
        features = self.encoder(images)
        return features, self.joint.of_map(features)

    def matched(self, features: tuple[Tensor, Tensor], condition: Tensor) -> Tensor:
        """Logits (N,): real and of this condition."""
        return self.joint.of_both(features[1], condition).flatten().float()

    def real(self, features: tuple[Tensor, Tensor]) -> Tensor:
        """Logits (N,): real, whatever the condition. Only with `unconditional`."""
        assert self.alone is not None
        return self.alone(features[0]).flatten().float()


def count(module: nn.Module) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in module.parameters())
