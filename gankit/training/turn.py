"""A phase as the trainer runs it: loss, backward pass, optimisers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import increment_version

from gankit.compiled import failure
from gankit.device import Precision, autocast
from gankit.errors import PluginError
from gankit.plugin import Optim, Phase
from gankit.processes import ALONE, World
from gankit.training.graphs import explain
from gankit.training.optim import ScheduledOptimizer, scheduled_lr
from gankit.training.step import TrainStep


class Turn:
    """One :class:`~gankit.plugin.Phase` with its parameters and its optimisers.

    Gradients are taken with respect to the phase's own parameters only (``backward(inputs=...)``): nothing has to be
    frozen, no other network gathers gradients, and the weight gradients of the networks in between are not computed.
    `earlier` are the turns of the phases before it, whose optimisers it may share. Of several processes of a `world`
    the gradients are averaged, once for each step of the optimisers. :class:`PluginError` if the phase cannot be: it
    names the phase and what is wrong with it.
    """

    def __init__(
        self,
        phase: Phase,
        networks: Mapping[str, nn.Module],
        precision: Precision,
        device: torch.device,
        earlier: Sequence[Turn] = (),
        world: World = ALONE,
    ) -> None:
        self.phase = phase
        self._world = world
        self.name = phase.name
        self.precision: Precision = precision
        self.device = device
        if unknown := [name for name in phase.updates if name not in networks]:
            raise self._error(f"updates {unknown[0]!r}; the networks are {', '.join(networks)}")
        if not _counts(phase.every) or not (callable(phase.repeat) or _counts(phase.repeat)):
            raise self._error(f"every ({phase.every!r}) and repeat ({phase.repeat!r}) are whole numbers from 1 on")
        named = _trainable(networks, phase.updates)
        if not named:
            raise self._error(f"{', '.join(phase.updates) or 'it'} has no parameters to train")
        self.names, self.parameters = list(named), list(named.values())
        self.optimizers = self._optimizers(named) if phase.shares is None else self._shared(phase.shares, earlier)
        self._stepped = [p for optimizer in self.optimizers for p in optimizer.parameters]
        self._seen_to_train = False
        self.scaler = torch.amp.GradScaler("cuda") if precision == "fp16" else None

    def _optimizers(self, named: Mapping[str, Tensor]) -> list[ScheduledOptimizer]:
        """One of all parameters, or one a network."""
        optim, updates = self.phase.optim, self.phase.updates
        if isinstance(optim, Optim):
            return [ScheduledOptimizer(optim, named)]
        if set(optim) != set(updates):
            odd = next(name for name in [*optim, *updates] if name not in optim or name not in updates)
            what = f"lacks {odd!r}" if odd in updates else f"names {odd!r}"
            raise self._error(f"`optim` is by network and {what}; the phase updates {', '.join(updates)}")
        parts = {n: {k: p for k, p in named.items() if k.startswith(f"{n}.")} for n in updates}
        return [ScheduledOptimizer(optim[name], part) for name, part in parts.items() if part]

    def _shared(self, name: str, earlier: Sequence[Turn]) -> list[ScheduledOptimizer]:
        """Those of the optimisers of the phase `name` that step this phase's networks."""
        owner = next((turn for turn in earlier if turn.name == name), None)
        if owner is None:
            before = ", ".join(turn.name for turn in earlier) or "none"
            raise self._error(f"shares the optimiser of {name!r}; the phases before it are: {before}")
        if self.phase.optim != Optim():
            raise self._error(f"shares the optimiser of {name!r} and has an `optim` too: leave one out")
        if more := [n for n in self.phase.updates if n not in owner.phase.updates]:
            theirs = ", ".join(owner.phase.updates)
            raise self._error(f"updates {more[0]!r}, but {name!r}, whose optimiser it shares, updates {theirs} alone")
        own = {id(p) for p in self.parameters}
        return [one for one in owner.optimizers if any(id(p) in own for p in one.parameters)]

    def rates(self, done: int, steps: int) -> dict[str, float]:
        """The learning rates of the phase's last turn within `done` of `steps` steps; before its first, that of it.

        By phase; by ``phase/network`` where each network has an optimiser of its own.
        """
        last = max(done - 1, 0) // self.phase.every * self.phase.every
        rates = [scheduled_lr(one.optim, last, steps) for one in self.optimizers]
        if len(rates) == 1:
            return {self.name: rates[0]}
        return {
            f"{self.name}/{one.names[0].partition('.')[0]}": lr for one, lr in zip(self.optimizers, rates, strict=True)
        }

    def repeats(self, step: int) -> int:
        """How many turns the phase has in step `step`: none where it rests."""
        if step % self.phase.every:
            return 0
        repeat = self.phase.repeat
        if not callable(repeat):
            return repeat
        number = repeat(step)
        if not _counts(number):
            raise self._error(f"repeat({step}) is {number!r}; it must be a whole number from 1 on")
        return number

    def schedule(self, step: int, steps: int) -> None:
        """Sets what the optimisers' schedules say of step `step`."""
        for optimizer in self.optimizers:
            optimizer.schedule(step, steps)

    def run(self, steps: Sequence[TrainStep]) -> list[dict[str, Tensor]]:
        """One optimiser step over the gradients of `steps` (more than one when accumulating); the detached terms."""
        for p in self._stepped:
            p.grad = None
        terms = [self._gradients(step, len(steps)) for step in steps]
        if not self._seen_to_train:  # a loss may depend on other networks' parameters alone
            if all(p.grad is None for p in self.parameters):
                raise self._error(self._complaint({}))
            self._seen_to_train = True
        self._world.average_([p.grad for p in self.parameters if p.grad is not None])
        if self.scaler is None:
            for one in self.optimizers:
                one.optimizer.step()
        else:
            for one in self.optimizers:
                if any(p.grad is not None for p in one.parameters):  # the scaler refuses an optimiser without gradients
                    self.scaler.step(one.optimizer)
            self.scaler.update()
        # fused optimisers do not: a graph drawn before this step would differentiate at the new weights unnoticed
        increment_version(self.parameters)
        for step in steps:
            step.updated.append((self.name, self.phase.updates))
        if self.phase.after is not None:
            with torch.no_grad():
                self.phase.after(steps[-1])
        return terms

    def _gradients(self, step: TrainStep, parts: int) -> dict[str, Tensor]:
        step.phase = self.name
        try:
            with autocast(self.precision, self.device):
                terms = self.phase.loss(step)
        except Exception as error:
            if (reason := failure(error)) is None:
                raise
            raise self._error(reason) from error
        if not isinstance(terms, Mapping) or not all(isinstance(term, Tensor) for term in terms.values()):
            raise self._error(f"its loss must return scalar tensors by name, not {_kinds(terms)}")
        total: Tensor | None = None
        for term in terms.values():
            total = term if total is None else total + term
        if total is None or not total.requires_grad or total.dim():
            raise self._error(self._complaint(terms))
        if parts > 1:
            total = total / parts
        if self.scaler is not None:
            total = self.scaler.scale(total)
        try:
            total.backward(inputs=self.parameters)
        except RuntimeError as error:
            if (reason := failure(error) or explain(error, total, step)) is None:
                raise
            raise self._error(reason) from error
        return {key: term.detach() for key, term in terms.items()}

    def _complaint(self, terms: Mapping[str, Tensor]) -> str:
        for key, term in terms.items():
            if term.dim():
                return f"term {key!r} must be a scalar, its shape is {tuple(term.shape)}"
        return f"no term of its loss depends on a parameter of {', '.join(self.phase.updates)}"

    def _error(self, text: str) -> PluginError:
        return PluginError(f"phase {self.name!r}: {text}")

    def state_dict(self) -> dict[str, Any]:
        """The optimisers' tensors, keyed ``parameter/name``, and the gradient scaler's state."""
        state: dict[str, Any] = {}
        if self.phase.shares is None:
            for optimizer in self.optimizers:
                state |= optimizer.state_dict()
        return state | ({"scaler": self.scaler.state_dict()} if self.scaler else {})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The reverse of :meth:`state_dict`. ValueError if it is of another phase."""
        tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
        if self.phase.shares is None:
            for one in self.optimizers:
                own = set(one.names)
                one.load_state_dict({k: v for k, v in tensors.items() if k.rpartition("/")[0] in own})
        known = {name for one in self.optimizers for name in one.names}
        if unknown := [key for key in tensors if key.rpartition("/")[0] not in known]:
            raise ValueError(f"{unknown[0]!r} belongs to no parameter of phase {self.name!r}")
        if self.scaler is not None and "scaler" in state:
            self.scaler.load_state_dict(_scaler_state(state["scaler"], self.scaler.state_dict()))


def _scaler_state(state: Any, own: Mapping[str, Any]) -> dict[str, Any]:
    """`state` of a gradient scaler, if it says what its `own` does. ValueError names what is wrong with it."""
    if not isinstance(state, Mapping) or set(state) != set(own):
        raise ValueError(f"the gradient scaler's state is {state!r:.80}")
    for name, value in state.items():
        least = 0 if name == "_growth_tracker" else 1 if name == "growth_interval" else math.nextafter(0, 1)
        number = isinstance(value, int if isinstance(own[name], int) else (int, float)) and not isinstance(value, bool)
        if not number or not least <= value < math.inf:
            raise ValueError(f"{name} of the gradient scaler is {value!r:.40}")
    return dict(state)


def _trainable(networks: Mapping[str, nn.Module], names: Sequence[str]) -> dict[str, Tensor]:
    """The parameters to train, keyed ``network.parameter``, one that is in several places once."""
    unique: dict[int, tuple[str, Tensor]] = {}
    for name in names:
        for key, p in networks[name].named_parameters():
            if p.requires_grad:
                unique.setdefault(id(p), (f"{name}.{key}", p))
    return dict(unique.values())


def _counts(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _kinds(terms: object) -> str:
    """What a loss returned, in words."""
    if not isinstance(terms, Mapping):
        return f"a {type(terms).__name__}"
    return ", ".join(f"{key}: {type(term).__name__}" for key, term in terms.items())


__all__ = ["Turn"]
