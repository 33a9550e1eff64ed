"""``F.safetensors``: the weights of the networks that draw, with all that is needed to build and load them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from gankit.data.spec_json import spec_from_json
from gankit.errors import GankitError, UsageError
from gankit.export.inputs import Interface, identifier
from gankit.export.job import Job
from gankit.plugin import DataSpec, Variant
from gankit.training.networks import build_networks, by_network, load_weights

__all__ = ["built", "read", "restored", "runner", "write"]


_JSON = ("options", "spec", "inputs", "output", "step")
"""Entries of the header that are JSON; the others are words."""


def write(job: Job, path: Path, facts: Mapping[str, str]) -> None:
    """Writes the weights of the networks that `job` used, with `facts` in the header."""
    tensors = {
        f"{name}.{key}": value.detach().clone().contiguous()
        for name in sorted(job.used)
        for key, value in job.networks[name].state_dict().items()
    }
    path.write_bytes(save(tensors, dict(facts)))  # save_file would make a file that nobody else may read


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The facts and the weights of a file. :class:`UsageError` if it cannot be read or is none of :func:`write`."""
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            facts = {name: json.loads(text) if name in _JSON else text for name, text in header.items()}
            tensors = {name: file.get_tensor(name) for name in list(file.keys())}
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}.") from None
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    if missing := {"variant", "options", "spec"} - facts.keys():
        raise UsageError(f"{path} is no export of gankit: its header has no {min(missing)}.")
    return facts, tensors


def built(variant: type[Variant[Any]], facts: Mapping[str, Any]) -> Variant[Any]:
    """`variant` with the options that the file has. ValueError if it knows them no longer."""
    return variant(variant.Config.model_validate(facts["options"]))


def restored(variant: Variant[Any], spec: DataSpec, tensors: Mapping[str, Tensor]) -> dict[str, nn.Module]:
    """The networks of `variant` that have weights among `tensors`, or have none to be saved, in eval mode.

    :class:`UsageError` if none fit.
    """
    saved = by_network(tensors)
    made = build_networks(variant, spec, 0)
    networks = {name: network for name, network in made.items() if name in saved or not network.state_dict()}
    if unknown := saved.keys() - networks.keys():
        raise UsageError(f"{type(variant).__name__} has no network {min(unknown)!r}")
    for name, network in networks.items():
        load_weights(network, saved.get(name, {}), name)
        network.eval().requires_grad_(False)
    return networks


def runner(path: Path, job: Job, interface: Interface) -> Callable[[Mapping[str, Tensor]], Tensor]:
    """What computes what `job` does with the weights of the file, in networks built anew."""
    facts, tensors = read(path)
    try:
        options = job.variant.config.model_dump(mode="json")  # the file has files' names, and not where they are
        variant = built(type(job.variant), {**facts, "options": options})
        networks = restored(variant, spec_from_json(facts["spec"]), tensors)
    except (UsageError, ValueError) as error:
        raise GankitError(f"the weights cannot be loaded again: {error}") from error
    again = Job(variant, networks, job.spec, job.produces, job.keys, job.name)

    def run(values: Mapping[str, Tensor]) -> Tensor:
        n, given = interface.given(values)
        return again.run(n, {name: values[identifier(name)] for name in job.keys}, given)[0]

    return run
