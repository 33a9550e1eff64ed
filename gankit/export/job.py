"""What is exported: a method of a variant, what it is asked with, what it draws."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from gankit.data.kinds import kind_of
from gankit.errors import UsageError
from gankit.export.drawn import Draw, Draws
from gankit.plugin import DataSpec, Key, SampleRequest, Variant
from gankit.sampling.conditions import Rows, asked_keys, choose, fill, has_rows
from gankit.sampling.draw import called, checked, defines, sampler

if TYPE_CHECKING:
    from gankit.plugin import Batch

Method = Literal["sample", "reconstruct", "encode"]
__all__ = ["CPU", "Job", "Method", "asked"]

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Job:
    """`method` of `variant`, as it is called to draw `produces`."""

    variant: Variant[Any]
    networks: Mapping[str, nn.Module]
    spec: DataSpec
    produces: str
    keys: Mapping[str, Key]
    """What it is asked with."""
    name: Method
    used: set[str] = field(default_factory=set)
    """The networks that it asked for, once it was called."""

    @classmethod
    def make(
        cls,
        variant: Variant[Any],
        networks: Mapping[str, nn.Module],
        spec: DataSpec,
        name: Method = "sample",
        to: str | None = None,
    ) -> Job:
        """:class:`UsageError` if the variant cannot do that."""
        produces = choose(variant, to)
        keys = asked_keys(variant, spec, produces)
        if name == "sample":
            sampler(variant, networks)
        elif not defines(variant, "encode", *(("decode",) if name == "reconstruct" else ())):
            raise UsageError(f"{type(variant).__name__} cannot {name}: it does not encode images.")
        else:
            keys = {**keys, produces: spec[produces]}
        return cls(variant, networks, spec, produces, keys, name)

    @property
    def output(self) -> Key | None:
        """What comes out, where the data has a key for it."""
        return self.spec[self.produces] if self.produces and self.name != "encode" else None

    @property
    def pixels(self) -> bool:
        return self.output is not None and kind_of(self.output).pixels

    def call(self, request: SampleRequest) -> Tensor:
        """What comes out, images in [-1, 1]."""
        networks = _Watched(self.networks, self.used)
        if self.name == "sample":
            result = self.variant.sample(networks, request)
        else:
            result = self.variant.encode(networks, request.batch)
            if self.name == "reconstruct":
                result = self.variant.decode(networks, result, request)
        if self.output is not None and self.pixels:
            return result.float().clamp(kind_of(self.output).lowest, 1.0)
        return result.float()

    def run(
        self, n: int, batch: Batch, given: Sequence[Tensor] | None = None, *, seed: int = 0
    ) -> tuple[Tensor, list[Draw]]:
        """What comes out in torch as it is, by gankit's kernels, and what was drawn for it, or given."""

        def method(request: SampleRequest) -> Tensor:
            draws = Draws(given)
            with draws, draws.outside(self.networks):
                result = self.call(request)
            seen.extend(draws.seen)
            return result

        seen: list[Draw] = []
        parts = [(n, batch)]
        how: Any = {"seed": seed, "device": CPU, "produces": self.produces}
        ((result, _),) = called(method, self.networks, self.spec, parts, **how)
        produces = self.produces if self.name != "encode" else ""
        return checked(result, n, self.spec, produces, type(self.variant).__name__, f"{self.name}()"), seen

    def rows(self, n: int, source: Rows, *, seed: int = 0) -> tuple[Batch, bool]:
        """`n` rows of what it is asked with, and whether all that could be is real; what nobody has is made up."""
        who, real = type(self.variant).__name__, True
        try:
            batch = fill(who, self.keys, self.spec, n, rows=source, seed=seed).batch
        except (UsageError, OSError):  # the data is gone
            batch, real = {}, False
        generator = torch.Generator().manual_seed(seed)
        for name, key in self.keys.items():
            if name not in batch:
                real = real and not has_rows(self.spec, name, key)
                batch[name] = kind_of(key).to_step(kind_of(key).made_up(key, n, generator))
        return {name: batch[name] for name in self.keys}, real


def asked(job: Job, n: int, source: Rows) -> tuple[Job, Batch, bool]:
    """:meth:`Job.rows`, and `job` without what may be left out, where the variant refuses what is made up of it."""
    batch, real = job.rows(n, source)
    try:
        job.run(n, batch)
    except UsageError:  # a hole that is not where this network fills any, say
        needed = {name: key for name, key in job.keys.items() if key.kind == "class" or has_rows(job.spec, name, key)}
        if len(needed) == len(job.keys):
            raise
        job = replace(job, keys=needed)
        batch = {name: batch[name] for name in needed}
    return job, batch, real


class _Watched(Mapping[str, nn.Module]):
    """Networks, noting which of them are asked for."""

    def __init__(self, networks: Mapping[str, nn.Module], used: set[str]) -> None:
        self._networks, self._used = networks, used

    def __getitem__(self, name: str) -> nn.Module:
        found = self._networks[name]
        self._used.add(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._networks)

    def __len__(self) -> int:
        return len(self._networks)
