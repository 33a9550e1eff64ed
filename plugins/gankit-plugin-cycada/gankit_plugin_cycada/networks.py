"""The classifiers of cycada, and the discriminator of their answers."""

from __future__ import annotations

from torch import Tensor, nn

from gankit.nn import LeakyReLU


class Classifier(nn.Module):
    """(N, C, H, W) images in [-1, 1] to (N, classes) logits: three convolutions that halve the sides, two layers.

    Args:
        shape: (C, H, W); sides of 16 at least.
        classes: how many.
        width: channels after the first convolution; the further ones have twice as many.
        dropout: part of the hidden layer that is left out in training.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, width: int = 32, dropout: float = 0.5) -> None:
        super().__init__()
        channels, height, width_ = shape
        layers: list[nn.Module] = []
        for wide in (width, 2 * width, 2 * width):
            layers += [nn.Conv2d(channels, wide, 5, 2, 2), nn.BatchNorm2d(wide), nn.ReLU()]
            channels, height, width_ = wide, -(-height // 2), -(-width_ // 2)
        layers += [
            nn.Flatten(),
            nn.Linear(channels * height * width_, 4 * width),
            nn.LeakyReLU(0.2),
            nn.Dropout(dropout),
        ]
        self.layers = nn.Sequential(*layers, nn.Linear(4 * width, classes))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


def answer_discriminator(classes: int, width: int) -> nn.Sequential:
    """(N, classes) logits of a classifier to (N, 1): of which domain was the image? (CyCADA's: 500-500.)"""
    layers = [nn.Linear(classes, width), LeakyReLU(0.2), nn.Linear(width, width), LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Linear(width, 1))
