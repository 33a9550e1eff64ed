"""Everything a training step works on: built from a config, saved to and restored from a checkpoint."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from gankit.compiled import compiled
from gankit.data.augment import DiffAugment
from gankit.data.feed import Feed
from gankit.data.loader import Loader
from gankit.device import check_shared, make_generator, memory_format, resolve_device, resolve_precision
from gankit.errors import GankitError, PluginError, UsageError
from gankit.events import Note, OnEvent, TrainingDiverged, ignore
from gankit.nn.whole_batch_norm import of_whole_batch
from gankit.plugin import Dataset, Variant
from gankit.processes import ALONE, World
from gankit.runs.checkpoint import PARTS, Checkpoint
from gankit.runs.log import Meter
from gankit.training.ema import Ema
from gankit.training.frozen import check_frozen, freeze
from gankit.training.networks import Weights, build_networks, load_weights
from gankit.training.optim import scheduled_ema
from gankit.training.preparation import PreparationStore, TrainPreparation
from gankit.training.random_part import RandomPart
from gankit.training.start import Start
from gankit.training.step import TrainStep
from gankit.training.turns import Turns
from gankit.version import __version__
from gankit.whole_batch import shared

if TYPE_CHECKING:
    from gankit.options.resolve import Resolved


DRAIN = 500
"""Turns whose loss terms are kept before they are read back, logged or not: how far behind the NaN watch can be."""
APART = 1e-6
"""By what part the norms of weights may differ among processes: unlike processors add up in another order."""
WITHOUT_IT = "Move that folder away: gankit resume then goes on from the checkpoint before it."


class Part(Protocol):
    """One of the things that a training consists of. It saves itself, and goes on from what it saved bit for bit."""

    def state_dict(self) -> Mapping[str, Any]:
        """Tensors, and values that fit into JSON, by name."""

    def load_state_dict(self, state: Any) -> None:
        """The reverse. :class:`UsageError`, or a plain ValueError, KeyError, ... if that is not what `state` is."""


class Session:
    """Networks, optimisers, averages, data stream and random state of one training: each a :class:`Part`."""

    def __init__(self, variant: Variant[Any], dataset: Dataset[Any], resolved: Resolved, world: World = ALONE) -> None:
        run = resolved.run
        self.world = world
        self.variant, self.dataset, self.resolved = variant, dataset, resolved
        self.spec = dataset.spec
        self.device = resolve_device(run.device)
        if world.size > 1:
            check_shared(run.device, self.device)
        self.precision = resolve_precision(run.precision, self.device)
        self.generator = make_generator(run.seed, "run", self.device)
        self.networks = build_networks(variant, self.spec, run.seed)
        convolves = any(p.dim() == 4 for network in self.networks.values() for p in network.parameters())
        self.memory_format = memory_format(run.memory_format, self.precision, self.device, convolves)
        exchanging = set()
        for name, network in self.networks.items():
            network.to(self.device, memory_format=self.memory_format)  # type: ignore[call-overload]
            network.train()
            if world.size > 1 and of_whole_batch(network):
                exchanging.add(name)
        if missing := [name for name in variant.averaged if name not in self.networks]:
            raise PluginError(f"`averaged` names {missing[0]!r}; the networks are {', '.join(self.networks)}")
        frozen = freeze(self.networks, run.freeze)
        self.weights = Weights(self.networks)
        self.turns = Turns(variant, self.networks, self.precision, self.device, world)
        check_frozen(frozen, list(dict.fromkeys(name for turn in self.turns for name in turn.phase.updates)))
        pin = self.device.type == "cuda"
        self.loader = Loader(dataset, run.batch_size, run.seed, run.workers, pin=pin, world=world)
        self.feed = Feed(self.loader, self.spec, run.augment, self.generator, self.device, self.memory_format)
        self.diff_augment = DiffAugment(run.augment.diff) if run.augment.diff else None
        self.meter = Meter(world)
        self.random = RandomPart(self.generator, self.device)
        # torch.compile knows nothing of what processes exchange: it takes a network with that apart, or passes it over
        self.as_written = sorted(exchanging) if run.compile else []
        self._called = compiled(self.networks, self.as_written) if run.compile else self.networks
        # a step's first turns see the same batches; the further ones of a repeated phase see batches of their own
        self._main = [self._make_step() for _ in range(run.accumulate)]
        self._further = [self._make_step() for _ in range(run.accumulate)]
        self.ema: Ema | None = None

    @property
    def parts(self) -> dict[str, Part]:
        """All of them, in the order in which they are restored: the random state last, as it was at the end."""
        averages = {"ema": self.ema} if self.ema is not None else {}
        return {
            "weights": self.weights,
            **averages,
            "optimizers": self.turns,
            "loader": self.loader,
            "meter": self.meter,
            "random": self.random,
        }

    def begin(
        self,
        tell: OnEvent = ignore,
        weights: Mapping[str, Mapping[str, Tensor]] | None = None,
        store: PreparationStore | None = None,
        start: Start | None = None,
    ) -> None:
        """A new run: takes over `weights` of an earlier stage, by network, prepares, and starts the averages.

        With a `store` the preparation is kept while it goes, and goes on from what is kept. What comes of `start` is
        laid over all; if it has everything, nothing is prepared.
        """
        for name, tensors in (weights or {}).items():
            load_weights(self.networks[name], tensors, name)
        if start is None or not start.whole:
            self.variant.prepare(TrainPreparation(self.networks, self.dataset, self.random, tell, store))
        if start is not None:
            start.put_into(self.networks)
        for network in self.networks.values():
            network.zero_grad(set_to_none=True)
            network.train()
        self._start_averages()

    def take(self, weights: Mapping[str, Tensor], step: int) -> None:
        """Networks as they were after `step` steps: of `weights`, all that they have, which averages begin with too.

        Nothing is prepared. :class:`UsageError`, or ValueError if one is not finite.
        """
        self.weights.load_state_dict(weights)
        self._start_averages()
        if self.ema is not None:
            self.ema.updates = step

    def _start_averages(self) -> None:
        decay = self.resolved.run.ema
        if self.variant.averaged and decay > 0:
            self.ema = Ema({name: self.networks[name] for name in self.variant.averaged}, decay)

    def train_step(self, index: int, most: int | None = None) -> None:
        """Step `index`: every phase's turns, `most` of each if given, then the averages. Waits for nothing."""
        run = self.resolved.run
        self._fill(self._main, index)
        with shared(self.world, self.loader.size):
            for turn in self.turns:
                repeats = turn.repeats(index) if most is None else min(turn.repeats(index), most)
                if repeats:
                    turn.schedule(index, run.steps)
                for repetition in range(repeats):
                    if repetition:
                        self._fill(self._further, index)
                    steps = self._further if repetition else self._main
                    for terms, step in zip(turn.run(steps), steps, strict=True):
                        self.meter.add(index, turn.name, terms, step.take_logged())
        if self.ema is not None:
            if run.ema_start is not None:
                self.ema.decay = scheduled_ema(run, index)
            self.ema.update()
        for step in self._main + self._further:
            step.clear()  # what the last turns drew must not be kept while samples are drawn

    @property
    def diff_augment_unused(self) -> bool:
        """After step 0: whether ``augment.diff`` is on, every phase had its turn, and none augmented anything."""
        augment = self.diff_augment
        return augment is not None and not augment.used and all(turn.repeats(0) for turn in self.turns)

    @staticmethod
    def _fill(steps: Sequence[TrainStep], index: int) -> None:
        for step in steps:
            step.begin(index)

    def new_step(self, index: int) -> TrainStep:
        """A step of its own, beside those that :meth:`train_step` fills."""
        step = self._make_step()
        step.begin(index)
        return step

    def _make_step(self) -> TrainStep:
        size, steps = self.loader.size, self.resolved.run.steps
        return TrainStep(
            steps, size, self.device, self._called, self.generator, self.feed, self.spec, self.diff_augment
        )

    def sampling_networks(self) -> dict[str, nn.Module]:
        """The networks to draw from: averaged where there is an average."""
        if self.ema is None:
            return dict(self.networks)
        self.ema.sync_buffers()
        return {**self.networks, **self.ema.networks}

    def look_back(self, step: int, owed: Sequence[str]) -> None:
        """After step `step`, of several processes in all: reads the loss terms back where it is time to.

        :class:`TrainingDiverged` if one is not finite; :class:`PluginError` if, where a checkpoint is due, the weights
        of the processes are no longer the same.
        """
        if owed or len(self.meter) >= DRAIN:
            self.meter.drain()
        if "save" in owed and self.world.size > 1:
            self._check_together(step)

    def _check_together(self, step: int) -> None:
        tensors = {key: t for key, t in self.weights.state_dict().items() if t.numel()}
        norms = torch.stack([t.detach().double().norm().cpu() for t in tensors.values()])
        apart = self.world.spread(norms.nan_to_num(posinf=0.0, neginf=0.0)).tolist()
        sizes = norms.abs().clamp_min(1e-12).tolist()
        off = [one / size for one, size in zip(apart, sizes, strict=True)]
        if (worst := max(off, default=0.0)) > APART:
            name = list(tensors)[off.index(worst)]
            text = f"step {step}: {name} is no longer the same in all processes"
            raise PluginError(
                f"{text}. A variant draws for the samples of a batch with step.noise or gankit.whole_batch, and keeps "
                "no state that depends on the samples of one process."
            )

    def check_finite(self, step: int) -> None:
        """:class:`TrainingDiverged` if a weight is NaN or infinite: such a state must not replace a good checkpoint."""
        if (bad := self.weights.not_finite()) is not None:
            raise TrainingDiverged(f"step {step}: weight {bad} is not finite")

    def checkpoint(
        self, step: int, seconds: float, best: Mapping[str, Any] | None, owed: Sequence[str] = ()
    ) -> Checkpoint:
        """The state after `step` steps. :meth:`restore` continues from it bit for bit.

        `owed` is what the step called for and has not had yet: a resumed run does it first.
        """
        tensors: dict[str, dict[str, Tensor]] = {}
        values: dict[str, dict[str, Any]] = {}
        for name, part in self.parts.items():
            state = part.state_dict()
            values[name] = {key: value for key, value in state.items() if not isinstance(value, Tensor)}
            if name in PARTS:
                tensors[name] = {key: value for key, value in state.items() if isinstance(value, Tensor)}
        about = {
            "variant": self.resolved.variant,
            "dataset": self.resolved.dataset,
            "stage": self.resolved.stage,
            "config": self.resolved.to_dict(),
            "device": self.device.type,
            "precision": self.precision,
            "seconds": round(seconds, 3),
            "best": dict(best) if best else None,
            "owed": list(owed),
            "versions": {"gankit": __version__, "torch": torch.__version__, "python": platform.python_version()},
            "parts": values,
        }
        return Checkpoint(step=step, tensors=tensors, state=about)

    def restore(self, checkpoint: Checkpoint, tell: OnEvent = ignore) -> None:
        """Continues from `checkpoint`. :class:`GankitError` names its folder if it is another variant's, or damaged.

        On another kind of device, in another precision, or with another torch, it goes on all the same, but `tell` is
        told that the result is not that of an uninterrupted run.
        """
        state = checkpoint.state
        check_owner(checkpoint, self.resolved)
        self._start_averages()
        for name in self.parts:
            self.restore_part(name, checkpoint)
        precision = state.get("precision", self.precision)
        then = (state["device"], precision, state["versions"].get("torch"))
        now = (self.device.type, self.precision, torch.__version__)
        if then != now:
            so_far, from_now = (f"on {where} in {how} with torch {version}" for where, how, version in (then, now))
            text = f"Trained so far {so_far}, going on {from_now}"
            tell(Note(text=f"{text}: the result will differ from an uninterrupted run's."))

    def restore_part(self, name: str, checkpoint: Checkpoint) -> None:
        """Restores one of :attr:`parts`. :class:`GankitError` names the folder of a checkpoint that does not fit."""
        state = {**checkpoint.state["parts"].get(name, {}), **checkpoint.tensors.get(name, {})}
        what = f"{checkpoint.folder or 'the checkpoint'}: its {name}"
        try:
            self.parts[name].load_state_dict(state)
        except UsageError as error:
            raise UsageError(f"{what}: {error}") from error
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise GankitError(f"{what} cannot be used ({type(error).__name__}: {reason}). {WITHOUT_IT}") from error

    def close(self) -> None:
        self.loader.close()


def check_owner(checkpoint: Checkpoint, resolved: Resolved) -> None:
    """:class:`UsageError` if `checkpoint` is of another variant, dataset or stage."""
    for what in ("variant", "dataset", "stage"):
        theirs, ours = checkpoint.state[what], getattr(resolved, what)
        if theirs != ours:
            place = f"{checkpoint.folder}: " if checkpoint.folder else ""
            text = f"the checkpoint is of {what} {theirs!r}, not {ours!r} as config.toml says: set it back."
            raise UsageError(place + text)
