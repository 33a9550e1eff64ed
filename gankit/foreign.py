"""What a plugin says of weights that another program wrote: which of its variant's networks they are.

A :class:`WeightFormat` is found under the entry-point group ``gankit.formats.v1``, by the name of the format and that
of the variant::

    [project.entry-points."gankit.formats.v1"]
    "junyanz.cyclegan" = "gankit_plugin_cyclegan.junyanz:Junyanz"

Several variants may have a part in one format: each is asked whether the files are its own. Nothing is guessed: options
are read off the names and shapes of tensors, all of which must be accounted for. This module imports no torch.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gankit.dataset import DataSpec
from gankit.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FORMAT_GROUP", "Asked", "Foreign", "Renaming", "WeightFile", "WeightFormat"]

FORMAT_GROUP = "gankit.formats.v1"
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True, kw_only=True)
class WeightFile:
    """The tensors of a file, on the CPU, as it names them, and the name of the file without its directory."""

    name: str
    tensors: Mapping[str, Tensor]

    def shape(self, key: str) -> tuple[int, ...]:
        """Of the tensor `key`; () if there is none."""
        return tuple(self.tensors[key].shape) if key in self.tensors else ()

    def numbers(self, pattern: str) -> list[int]:
        """What the group of `pattern`, digits, is in the names that it matches in full, each once, ascending."""
        found = (re.fullmatch(pattern, key) for key in self.tensors)
        return sorted({int(match[1]) for match in found if match})


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """What a variant has recognised: all that makes a run of it."""

    spec: DataSpec
    """What the data was, as far as the networks have to know it."""
    weights: Mapping[str, Mapping[str, Tensor]]
    """By network, all that it has; networks that the files lack may be missing."""
    options: Mapping[str, Any]
    """By dotted name, laid over those of `preset`."""
    dataset: str
    """The dataset that a run is of unless another one is given. It need not be there to draw."""
    preset: str = "default"
    notes: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the user says of the weights, and they do not say themselves."""

    size: int | None = None
    """Side of the images."""
    classes: Sequence[str] = ()
    """Names of what the networks tell apart, in their order."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the run that is to be made, by dotted name, as they were given: text, on the command line."""

    def option(self, name: str, usual: str) -> str:
        """An option of the user's that decides what the weights are read as."""
        return str(self.options.get(name, usual))


class WeightFormat(ABC):
    """Reads the files of one other program for one variant. Its docstring says which, in a line."""

    @abstractmethod
    def read(self, files: Sequence[WeightFile], asked: Asked) -> Foreign | None:
        """What `files` are; None if not this variant's, :class:`UsageError` if they are and cannot be used."""


@dataclass
class Renaming:
    """Names of tensors in a file, and what a network of gankit calls them. The tensors are the same ones."""

    names: dict[str, str] = field(default_factory=dict)
    optional: set[str] = field(default_factory=set)
    """Of a file: what may be there and is not needed."""

    def layer(self, theirs: str, ours: str, bias: str | bool = True) -> None:
        """A convolution or a linear layer; `bias`: whether it has one, or what that is called where it is apart."""
        self.names[f"{theirs}.weight"] = f"{ours}.weight"
        if bias:
            self.names[f"{theirs}.bias"] = bias if isinstance(bias, str) else f"{ours}.bias"

    def batch_norm(self, theirs: str, ours: str) -> None:
        self.layer(theirs, ours)
        self.names |= {f"{theirs}.{name}": f"{ours}.{name}" for name in _STATISTICS}
        self.optional.add(f"{theirs}.num_batches_tracked")  # older files lack it

    def instance_norm(self, theirs: str, ours: str | None = None) -> None:
        """With `ours` an affine one. Statistics that it kept are left out: each image is normed by its own."""
        if ours is not None:
            self.layer(theirs, ours)
        self.optional |= {f"{theirs}.{name}" for name in _STATISTICS}

    def apply(self, file: WeightFile) -> dict[str, Tensor]:
        """The tensors of `file` under their new names. :class:`UsageError` if it has others, or not all of these."""
        tensors = file.tensors
        lacking = [key for key in self.names if key not in tensors and key not in self.optional]
        unknown = [key for key in tensors if key not in self.names and key not in self.optional]
        if lacking or unknown:
            what = f"lacks {lacking[0]!r}" if lacking else f"has {unknown[0]!r}, which does not belong to it"
            raise UsageError(f"{file.name} is not what its other tensors say: it {what}.")
        return {ours: tensors[key] for key, ours in self.names.items() if key in tensors}
