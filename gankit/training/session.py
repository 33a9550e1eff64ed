"""Everything a training step works on: built from a config, saved to and restored from a checkpoint."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gankit.data.augment import DiffAugment
from gankit.data.feed import Feed
from gankit.data.loader import Loader
from gankit.device import (
    Precision,
    check_precision,
    derive_seed,
    make_generator,
    memory_format,
    resolve_device,
)
from gankit.errors import GankitError, PluginError, UsageError
from gankit.ops._torch import norms
from gankit.plugin import Dataset, DataSpec, Variant
from gankit.runs.checkpoint import Checkpoint, decode_bytes, encode_bytes
from gankit.runs.log import Meter
from gankit.training.ema import Ema
from gankit.training.preparation import TrainPreparation
from gankit.training.requirements import check_requirements
from gankit.training.step import TrainStep
from gankit.training.turn import Turn
from gankit.version import __version__

if TYPE_CHECKING:
    from gankit.options.resolve import Resolved


class Session:
    """Networks, optimisers, averages, data stream and random generator of one training."""

    def __init__(self, variant: Variant[Any], dataset: Dataset[Any], resolved: Resolved) -> None:
        run = resolved.run
        self.variant, self.dataset, self.resolved = variant, dataset, resolved
        self.spec = dataset.spec
        check_requirements(variant, dataset, resolved.dataset)
        self.device = resolve_device(run.device)
        check_precision(run.precision, self.device)
        self.generator = make_generator(run.seed, "run", self.device)
        self.networks = build_networks(variant, self.spec, run.seed)
        convolves = any(p.dim() == 4 for network in self.networks.values() for p in network.parameters())
        self.memory_format = memory_format(run.memory_format, run.precision, self.device, convolves)
        for network in self.networks.values():
            network.to(self.device, memory_format=self.memory_format)  # type: ignore[call-overload]
            network.train()
        if missing := [name for name in variant.averaged if name not in self.networks]:
            raise PluginError(f"`averaged` names {missing[0]!r}; the networks are {', '.join(self.networks)}")
        self.turns = make_turns(variant, self.networks, run.precision, self.device)
        self.loader = Loader(dataset, run.batch_size, run.seed, run.workers, pin=self.device.type == "cuda")
        self.feed = Feed(self.loader, self.spec, run.augment, self.generator, self.device, self.memory_format)
        self.diff_augment = DiffAugment(run.augment.diff) if run.augment.diff else None
        self.meter = Meter()
        # a step's first turns see the same batches; the further ones of a repeated phase see batches of their own
        self._main = [self._make_step() for _ in range(run.accumulate)]
        self._further = [self._make_step() for _ in range(run.accumulate)]
        self.ema: Ema | None = None

    def begin(self, report: Callable[[str], None], weights: Mapping[str, Mapping[str, Tensor]] | None = None) -> None:
        """A new run: takes over `weights` of an earlier stage, by network, prepares, and starts the averages."""
        for name, tensors in (weights or {}).items():
            load_weights(self.networks[name], tensors, name)
        self.variant.prepare(TrainPreparation(self.networks, self.dataset, self.generator, self.device, report))
        for network in self.networks.values():
            network.zero_grad(set_to_none=True)
            network.train()
        self._start_averages()

    def _start_averages(self) -> None:
        decay = self.resolved.run.ema
        if self.variant.averaged and decay > 0:
            self.ema = Ema({name: self.networks[name] for name in self.variant.averaged}, decay)

    def train_step(self, index: int) -> None:
        """Step `index`: every phase's turns, then the averages. Waits for nothing on the device."""
        run = self.resolved.run
        self._fill(self._main, index)
        for turn in self.turns:
            repeats = turn.repeats(index)
            if repeats:
                turn.schedule(index, run.steps)
            for repetition in range(repeats):
                if repetition:
                    self._fill(self._further, index)
                steps = self._further if repetition else self._main
                for terms, step in zip(turn.run(steps), steps, strict=True):
                    self.meter.add(index, turn.name, terms, step.take_logged())
        if self.ema is not None:
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
        size, steps = self.loader.batch_size, self.resolved.run.steps
        return TrainStep(
            steps, size, self.device, self.networks, self.generator, self.feed, self.spec, self.diff_augment
        )

    def sampling_networks(self) -> dict[str, nn.Module]:
        """The networks to draw from: averaged where there is an average."""
        if self.ema is None:
            return dict(self.networks)
        self.ema.sync_buffers()
        return {**self.networks, **self.ema.networks}

    def check_finite(self, step: int) -> None:
        """:class:`GankitError` if a weight is NaN or infinite: such a state must not replace a good checkpoint."""
        for name, network in self.networks.items():
            tensors = [p.detach() for p in network.parameters() if p.is_floating_point() and p.numel()]
            if tensors and not torch.stack([n.float() for n in norms(tensors)]).sum().isfinite():
                bad = next((k for k, p in network.named_parameters() if not p.detach().isfinite().all()), None)
                if bad is not None:
                    from gankit.events import TrainingDiverged

                    raise TrainingDiverged(f"step {step}: weight {name}.{bad} is not finite")

    def checkpoint(self, step: int, seconds: float, best: Mapping[str, Any] | None) -> Checkpoint:
        """The state after `step` steps. :meth:`restore` continues from it bit for bit."""
        tensors = {"weights": _tensors(self.networks)}
        if self.ema is not None:
            self.ema.sync_buffers()
            tensors["ema"] = _tensors(self.ema.networks)
        tensors["optimizers"] = {}
        scalers = {}
        for turn in self.turns:
            state_of_turn = turn.state_dict()
            if (scaler := state_of_turn.pop("scaler", None)) is not None:
                scalers[turn.name] = scaler
            tensors["optimizers"] |= {f"{turn.name}/{key}": value for key, value in state_of_turn.items()}
        state: dict[str, Any] = {
            "variant": self.resolved.variant,
            "dataset": self.resolved.dataset,
            "stage": self.resolved.stage,
            "config": self.resolved.to_dict(),
            "device": self.device.type,
            "seconds": round(seconds, 3),
            "random": self._random_state(),
            "loader": self.loader.state_dict(),
            "ema_updates": self.ema.updates if self.ema else 0,
            "scalers": scalers,
            "meter": self.meter.state_dict(),
            "best": dict(best) if best else None,
            "versions": {"gankit": __version__, "torch": torch.__version__, "python": platform.python_version()},
        }
        return Checkpoint(step=step, tensors=tensors, state=state)

    def restore(self, checkpoint: Checkpoint, report: Callable[[str], None] = lambda text: None) -> None:
        """Continues from `checkpoint`; :class:`UsageError` if it is another variant's.

        On another kind of device, or with another torch, it goes on all the same, but `report` is told that the result
        is not that of an uninterrupted run.
        """
        state, tensors = checkpoint.state, checkpoint.tensors
        check_owner(state, self.resolved)
        weights = by_network(tensors["weights"])
        for name, network in self.networks.items():
            load_weights(network, weights.get(name, {}), name)
        self._start_averages()
        if self.ema is not None:
            averages = by_network(tensors.get("ema", {}))
            for name, network in self.ema.networks.items():
                load_weights(network, averages.get(name, {}), name)
            self.ema.updates = state["ema_updates"]
        for turn in self.turns:
            prefix = f"{turn.name}/"  # a phase's name may have a slash in it
            own = {k.removeprefix(prefix): v for k, v in tensors["optimizers"].items() if k.startswith(prefix)}
            scaler = {"scaler": state["scalers"][turn.name]} if turn.name in state["scalers"] else {}
            turn.load_state_dict({**own, **scaler})
        self.loader.load_state_dict(state["loader"])
        self.meter.load_state_dict(state["meter"])
        self._set_random_state(state["random"], checkpoint.step)
        then, now = (state["device"], state["versions"]["torch"]), (self.device.type, torch.__version__)
        if then != now:
            report(
                f"Trained so far on {then[0]} with torch {then[1]}, going on on {now[0]} with torch {now[1]}: "
                "the result will differ from an uninterrupted run's."
            )

    def _random_state(self) -> dict[str, str]:
        state = {"run": encode_bytes(self.generator.get_state()), "cpu": encode_bytes(torch.get_rng_state())}
        if self.device.type == "cuda":
            state["cuda"] = encode_bytes(torch.cuda.get_rng_state(self.device))
        return state

    def _set_random_state(self, state: Mapping[str, str], step: int) -> None:
        run = decode_bytes(state["run"])
        if run.numel() == self.generator.get_state().numel():
            self.generator.set_state(run)
        else:  # another kind of device, whose numbers could not be the same anyway
            self.generator.manual_seed(derive_seed(self.resolved.run.seed, f"run from {step} on {self.device.type}"))
        torch.set_rng_state(decode_bytes(state["cpu"]))
        if self.device.type == "cuda" and "cuda" in state:
            torch.cuda.set_rng_state(decode_bytes(state["cuda"]), self.device)

    def close(self) -> None:
        self.loader.close()


def make_turns(
    variant: Variant[Any], networks: Mapping[str, nn.Module], precision: Precision, device: torch.device
) -> list[Turn]:
    """The turns of a step, in order. :class:`PluginError` if there are none, or two of one name."""
    turns: list[Turn] = []
    for phase in variant.phases():
        if phase.name in {turn.name for turn in turns}:
            raise PluginError(f"{type(variant).__name__} has two phases of the name {phase.name!r}")
        turns.append(Turn(phase, networks, precision, device, turns))
    if not turns:
        raise PluginError(f"{type(variant).__name__} has no phases: there is nothing to train")
    return turns


def build_networks(variant: Variant[Any], spec: DataSpec, seed: int) -> dict[str, nn.Module]:
    """Freshly initialised networks for data of `spec`, the same for the same seed. Leaves global random state alone."""
    with torch.random.fork_rng([]):
        torch.manual_seed(derive_seed(seed, "init"))
        networks = variant.networks(spec)
    named = isinstance(networks, Mapping) and networks
    if not named or not all(isinstance(network, nn.Module) for network in networks.values()):
        raise PluginError(f"networks() of {type(variant).__name__} must return modules by name")
    return dict(networks)


def check_owner(state: Mapping[str, Any], resolved: Resolved) -> None:
    for what in ("variant", "dataset", "stage"):
        theirs, ours = state[what], getattr(resolved, what)
        if theirs != ours:
            raise UsageError(f"the checkpoint is of {what} {theirs!r}, not {ours!r} as config.toml says: set it back.")


def fits(network: nn.Module, tensors: Mapping[str, Tensor]) -> bool:
    """Whether `tensors` are all that `network` has, of the same shapes."""
    shapes = {key: value.shape for key, value in network.state_dict().items()}
    return shapes == {key: value.shape for key, value in tensors.items()}


def load_weights(network: nn.Module, tensors: Mapping[str, Tensor], name: str) -> None:
    """Copies `tensors` into `network`; :class:`UsageError` with the first that does not fit."""
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


def _tensors(networks: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name, network in networks.items():
        if "." in name:
            raise PluginError(f"network name {name!r} has a dot in it: rename it")
        for key, value in network.state_dict().items():
            if not isinstance(value, Tensor):
                raise GankitError(f"network {name!r}: its state {key!r} is {type(value).__name__}, not a tensor")
            tensors[f"{name}.{key}"] = value
    return tensors
