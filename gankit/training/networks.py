"""A variant's networks: built, saved and restored."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from gankit.device import derive_seed
from gankit.errors import GankitError, PluginError, UsageError, out_of_memory
from gankit.nn.state import State
from gankit.ops._torch import norms
from gankit.plugin import DataSpec, Variant
from gankit.random_state import fork_rng
from gankit.runs.checkpoint import Checkpoint


def build_networks(variant: Variant[Any], spec: DataSpec, seed: int) -> dict[str, nn.Module]:
    """Freshly initialised networks for data of `spec`, the same for the same seed. Leaves global random state alone."""
    with fork_rng(torch.device("cpu")):
        torch.manual_seed(derive_seed(seed, "init"))
        try:
            networks = variant.networks(spec)
        except Exception as error:
            if not out_of_memory(error):
                raise
            shapes = ", ".join(f"{name} {key.shape}" for name, key in spec.keys.items() if key.shape)
            text = f"there is not enough memory for the networks of {type(variant).__name__} with these options"
            raise UsageError(f"{text} and data of {shapes}") from error
    named = isinstance(networks, Mapping) and networks
    if not named or not all(isinstance(network, nn.Module) for network in networks.values()):
        raise PluginError(f"networks() of {type(variant).__name__} must return modules by name")
    if dotted := [name for name in networks if "." in name]:
        raise PluginError(f"network name {dotted[0]!r} has a dot in it: rename it")
    return dict(networks)


class Weights:
    """The parameters and buffers of some networks, as a part of a checkpoint."""

    def __init__(self, networks: Mapping[str, nn.Module]) -> None:
        self.networks = networks

    def state_dict(self) -> dict[str, Tensor]:
        """Keyed ``network.name``."""
        tensors: dict[str, Tensor] = {}
        for name, network in self.networks.items():
            for key, value in network.state_dict().items():
                if not isinstance(value, Tensor):
                    raise GankitError(f"network {name!r}: its state {key!r} is {type(value).__name__}, not a tensor")
                tensors[f"{name}.{key}"] = value
        return tensors

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """:class:`UsageError` with the first that does not fit; ValueError if one is not finite."""
        weights = by_network(state)
        _ = self._infinite  # before what is loaded takes the place of what was built
        if unknown := sorted(set(weights) - set(self.networks)):
            raise UsageError(f"there are weights of {unknown[0]!r}; the networks are {', '.join(self.networks)}")
        for name, network in self.networks.items():
            load_weights(network, weights.get(name, {}), name)
        if (bad := self.not_finite()) is not None:
            raise ValueError(f"{bad} is not finite")

    def not_finite(self) -> str | None:
        """The name of a parameter, or of a buffer, with a NaN or an infinity in it.

        Not of a buffer that had one when it was first looked at, a mask of -inf; nor of a :class:`~gankit.nn.State`,
        whose value may be an infinity (the least loss so far).
        """
        for name, network in self.networks.items():
            watched = {key: t for key, t in _watched(network).items() if f"{name}.{key}" not in self._infinite}
            if (bad := _not_finite(watched)) is not None:
                return f"{name}.{bad}"
        return None

    @cached_property
    def _infinite(self) -> frozenset[str]:
        """The buffers that are not finite from the start."""
        return frozenset(
            f"{name}.{key}"
            for name, network in self.networks.items()
            for key, buffer in _watched(network).items()
            if not isinstance(buffer, nn.Parameter) and not buffer.isfinite().all()
        )


def _watched(network: nn.Module) -> dict[str, Tensor]:
    """The floating-point parameters and buffers of `network`, but for those of a State."""
    states = {id(b) for one in network.modules() if isinstance(one, State) for b in one.buffers(recurse=False)}
    both = (*network.named_parameters(), *network.named_buffers())
    return {key: t for key, t in both if t.is_floating_point() and t.numel() and id(t) not in states}


def _not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    detached = [tensor.detach() for tensor in tensors.values()]
    if not detached or torch.stack([n.float() for n in norms(detached)]).sum().isfinite():
        return None
    # none, where a norm alone is too large
    return next((key for key, tensor in tensors.items() if not tensor.detach().isfinite().all()), None)


def fits(network: nn.Module, tensors: Mapping[str, Tensor]) -> bool:
    """Whether `tensors` are all that `network` has, of the same shapes."""
    shapes = {key: value.shape for key, value in network.state_dict().items()}
    return shapes == {key: value.shape for key, value in tensors.items()}


def load_weights(network: nn.Module, tensors: Mapping[str, Tensor], name: str) -> None:
    """Copies `tensors` into `network`; :class:`UsageError` with the first that does not fit."""
    for key, value in network.state_dict().items():
        if key in tensors and tensors[key].dtype != value.dtype:
            kinds = f"{tensors[key].dtype}, not {value.dtype}"
            raise UsageError(f"the weights do not fit network {name!r}: {key} is of {kinds}")
    try:
        network.load_state_dict(dict(tensors))
    except RuntimeError as error:
        reasons = [line.strip() for line in str(error).splitlines()[1:]] or [str(error)]
        raise UsageError(f"the weights do not fit network {name!r}: {reasons[0]}") from error


def by_network(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """``<network>.<name>`` -> tensor, as network -> name -> tensor."""
    split: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        network, _, name = key.partition(".")
        split.setdefault(network, {})[name] = value
    return split


def load_saved(networks: Mapping[str, nn.Module], saved: Checkpoint) -> None:
    """Puts the weights of `saved` into `networks`, averages where there are any. GankitError names its folder."""
    try:
        Weights(networks).load_state_dict({**saved.tensors["weights"], **saved.tensors.get("ema", {})})
    except UsageError as error:
        raise UsageError(f"{saved.folder}: {error}") from error
    except ValueError as error:
        raise GankitError(f"{saved.folder}: {error}. Give another --checkpoint.") from error


__all__ = ["Weights", "build_networks", "by_network", "fits", "load_saved", "load_weights"]
