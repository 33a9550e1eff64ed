"""Layers that stay as they came: the lower ones of a discriminator that sees few images (Mo et al. 2020)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from torch import nn

from gankit.errors import UsageError
from gankit.options.spelling import give

__all__ = ["check_frozen", "freeze", "layers"]


def layers(network: nn.Module) -> Iterator[list[nn.Parameter]]:
    """The parameters of `network` that learn, layer by layer, in the order in which it lists them.

    A layer begins with a weight of two dimensions or more, of a convolution or a linear layer. Biases and norms belong
    to the layer before them, wherever in the network they are kept.
    """
    layer: list[nn.Parameter] = []
    begun = False
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        if parameter.dim() > 1 and name.rpartition(".")[2] != "bias":
            if begun:
                yield layer
                layer = []
            begun = True
        layer.append(parameter)
    if layer:
        yield layer


def freeze(networks: Mapping[str, nn.Module], wanted: Sequence[str]) -> dict[str, int]:
    """Takes the first N layers of each ``NETWORK:N`` from those that learn; N by network.

    Averages of batch norms go on: they are no parameters. :class:`UsageError` if there is no such network or layer, or
    none would be left.
    """
    numbers: dict[str, int] = {}
    for text in wanted:
        name, colon, digits = text.partition(":")
        if not colon or not digits.isdecimal() or not int(digits):
            raise _wrong(text, f"write it as NETWORK:N, with N from 1 on: {give('freeze', 'discriminator:4')}")
        if name not in networks:
            raise _wrong(text, f"the networks are {', '.join(networks)}")
        if name in numbers:
            raise _wrong(text, f"{name} is named twice")
        found, number = list(layers(networks[name])), int(digits)
        if number >= len(found):
            left = f"at most {len(found) - 1}, so that something is left to learn" if found else "none"
            raise _wrong(text, f"{name} has {len(found)} layers that learn: freeze {left}")
        numbers[name] = number
        for layer in found[:number]:
            for parameter in layer:
                parameter.requires_grad_(False)
    return numbers


def check_frozen(frozen: Collection[str], updated: Collection[str]) -> None:
    """:class:`UsageError` if no phase updates a network whose layers are frozen: nothing would come of it."""
    for name in frozen:
        if name not in updated:
            raise _wrong(name, f"no phase updates {name}, and nothing comes of it; these learn: {', '.join(updated)}")


def _wrong(text: str, why: str) -> UsageError:
    return UsageError(f"freeze = {text}: {why}.")
