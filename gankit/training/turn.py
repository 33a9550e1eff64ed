"""A phase as the trainer runs it: loss, backward pass, optimiser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gankit.device import Precision, autocast
from gankit.errors import PluginError
from gankit.plugin import Phase, Step
from gankit.training.optim import make_optimizer, scheduled_lr


class Turn:
    """One :class:`~gankit.plugin.Phase` with its parameters and its optimiser.

    Gradients are taken with respect to the phase's own parameters only (``backward(inputs=...)``): nothing has to be
    frozen, no other network gathers gradients, and the weight gradients of the networks in between are not computed.
    """

    def __init__(
        self, phase: Phase, networks: Mapping[str, nn.Module], precision: Precision, device: torch.device
    ) -> None:
        if unknown := [name for name in phase.updates if name not in networks]:
            raise PluginError(f"phase {phase.name!r} updates {unknown[0]!r}; the networks are {', '.join(networks)}")
        if phase.every < 1 or phase.repeat < 1:
            raise PluginError(f"phase {phase.name!r}: every ({phase.every}) and repeat ({phase.repeat}) start at 1")
        self.phase = phase
        self.name = phase.name
        self.precision: Precision = precision
        self.device = device
        named = {f"{name}.{key}": p for name in phase.updates for key, p in networks[name].named_parameters()}
        unique: dict[int, str] = {}
        for key, p in named.items():
            if p.requires_grad:
                unique.setdefault(id(p), key)
        self.names = list(unique.values())
        self.parameters = [named[key] for key in self.names]
        if not self.parameters:
            raise PluginError(f"phase {phase.name!r}: {', '.join(phase.updates) or 'it'} has no parameters to train")
        self.optimizer = make_optimizer(phase.optim, self.parameters)
        self.scaler = torch.amp.GradScaler("cuda") if precision == "fp16" else None
        self.lr = phase.optim.lr

    def schedule(self, step: int, steps: int) -> None:
        """Sets the learning rate of step `step`."""
        if self.phase.optim.schedule != "constant":
            self.lr = scheduled_lr(self.phase.optim, step, steps)
            for group in self.optimizer.param_groups:
                group["lr"] = self.lr

    def run(self, steps: Sequence[Step]) -> list[dict[str, Tensor]]:
        """One optimiser step over the gradients of `steps` (more than one when accumulating); the detached terms."""
        for p in self.parameters:
            p.grad = None
        terms = [self._gradients(step, len(steps)) for step in steps]
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        return terms

    def _gradients(self, step: Step, parts: int) -> dict[str, Tensor]:
        if self.precision == "float32":
            terms = self.phase.loss(step)
        else:
            with autocast(self.precision, self.device):
                terms = self.phase.loss(step)
        if not isinstance(terms, Mapping) or not all(isinstance(term, Tensor) for term in terms.values()):
            raise PluginError(f"phase {self.name!r}: its loss must return scalar tensors by name, not {_kinds(terms)}")
        total: Tensor | None = None
        for term in terms.values():
            total = term if total is None else total + term
        if total is None or not total.requires_grad or total.dim():
            raise PluginError(self._complaint(terms))
        if parts > 1:
            total = total / parts
        if self.scaler is not None:
            total = self.scaler.scale(total)
        total.backward(inputs=self.parameters)
        return {key: term.detach() for key, term in terms.items()}

    def _complaint(self, terms: Mapping[str, Tensor]) -> str:
        for key, term in terms.items():
            if term.dim():
                return f"phase {self.name!r}: term {key!r} must be a scalar, its shape is {tuple(term.shape)}"
        return f"phase {self.name!r}: no term of its loss depends on a parameter of {', '.join(self.phase.updates)}"

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
        """The optimiser's tensors, keyed ``phase/parameter/name``, and the gradient scaler's state."""
        tensors = {
            f"{self.name}/{key}/{name}": value if isinstance(value, Tensor) else torch.tensor(value)
            for key, p in zip(self.names, self.parameters, strict=True)
            for name, value in self.optimizer.state.get(p, {}).items()
            if value is not None
        }
        return tensors, self.scaler.state_dict() if self.scaler else None

    def restore(self, tensors: Mapping[str, Tensor], scaler: Mapping[str, Any] | None) -> None:
        """The reverse of :meth:`state`."""
        by_parameter: dict[str, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith(f"{self.name}/"):  # not by partition: a phase's name may have a slash in it
                parameter, _, name = key.removeprefix(f"{self.name}/").rpartition("/")
                by_parameter.setdefault(parameter, {})[name] = value
        self.optimizer.state.clear()
        for key, p in zip(self.names, self.parameters, strict=True):
            for name, value in by_parameter.get(key, {}).items():
                self.optimizer.state[p][name] = self._placed(name, value, p)
        if self.scaler is not None and scaler is not None:
            self.scaler.load_state_dict(dict(scaler))

    def _placed(self, name: str, value: Tensor, parameter: Tensor) -> Tensor:
        """`value` where and as the optimiser expects it: the fused kernels count steps on the device, others do not."""
        if name == "step":
            return value.to(parameter.device if self.optimizer.defaults.get("fused") else "cpu", copy=True)
        like = torch.empty_like(parameter, dtype=value.dtype) if value.shape == parameter.shape else value
        return torch.empty_like(like, device=parameter.device).copy_(value)


def _kinds(terms: object) -> str:
    """What a loss returned, in words."""
    if not isinstance(terms, Mapping):
        return f"a {type(terms).__name__}"
    return ", ".join(f"{key}: {type(term).__name__}" for key, term in terms.items())
