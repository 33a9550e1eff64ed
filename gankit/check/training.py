"""The part of ``gankit plugins check`` that trains: networks, phases, gradients, samples, saving and loading."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gankit.check.checker import BATCH, Checker, Failed
from gankit.check.drawing import check_codes, check_measures, check_samples
from gankit.check.processes import check_processes
from gankit.check.state import attributes, changed
from gankit.evaluate.table import better
from gankit.plugin import Dataset, Variant
from gankit.processes import ALONE, World
from gankit.runs import checkpoint as checkpoints
from gankit.training.networks import build_networks
from gankit.training.requirements import check_requirements
from gankit.training.session import Session
from gankit.training.validation import check_metric

if TYPE_CHECKING:
    from gankit.options.resolve import Resolved
    from gankit.training.turn import Turn


def check_training(
    checker: Checker,
    variant: type[Variant[Any]],
    dataset: Dataset[Any],
    resolve: Callable[[int | None], Resolved],
    stage: int | None,
    previous: Session | None,
) -> Session | None:
    """Check `variant` on `dataset`; the trained session, or None if it did not come to that."""
    suffix = f", stage {stage}" if stage else ""
    made: list[Session] = []

    def session(origin: Resolved, size: int = BATCH, world: World = ALONE) -> Session:
        made_of = variant(origin.options)
        check_requirements(made_of, dataset, origin.dataset)
        run = origin.run.model_copy(update={"batch_size": min(size, len(dataset)), "workers": 0, "accumulate": 1})
        return Session(made_of, dataset, replace(origin, run=run), world)

    def networks() -> str:
        origin = resolve(stage)
        first = build_networks(variant(origin.options), dataset.spec, origin.run.seed)
        _same_weights(first, build_networks(variant(origin.options), dataset.spec, origin.run.seed))
        return ", ".join(f"{name} {sum(p.numel() for p in net.parameters()):,}" for name, net in first.items())

    def phases() -> str:
        check_metric(variant)
        made.append(session(resolve(stage)))
        updated = {name for turn in made[0].turns for name in turn.phase.updates}
        idle = [name for name in made[0].networks if name not in updated]
        if constant := [name for name in idle if name in variant.averaged]:
            raise Failed(f"`averaged` names {constant[0]!r}, but no phase updates it")
        _check_expectations(made[0])
        return ", ".join(turn.name for turn in made[0].turns) + (f"; none updates {', '.join(idle)}" if idle else "")

    def prepare() -> str:
        inherited = _inherited(made[0], previous)
        made[0].begin(weights=inherited)
        return f"takes over {', '.join(inherited)}" if inherited else ""

    def gradients() -> str:
        torch.manual_seed(0)
        return "; ".join(_check_turn(made[0], turn) for turn in made[0].turns)

    def samples() -> str:
        return check_samples(made[0]) + check_codes(made[0])

    def measures() -> str:
        return check_measures(made[0])

    def saving() -> str:
        return _check_saving(made[0], lambda: session(resolve(stage)))

    def processes() -> str:
        return check_processes(made[0], lambda world: session(resolve(stage), min(BATCH, len(dataset)) // 2 * 2, world))

    def sixteen_bits() -> str:
        origin = resolve(stage)
        low = session(replace(origin, run=origin.run.model_copy(update={"precision": "bf16"})))
        for name, network in low.networks.items():
            network.load_state_dict(made[0].networks[name].state_dict())
        return "; ".join(_check_turn(low, turn) for turn in low.turns)

    steps = {"networks": networks, "phases": phases, "prepare": prepare, "losses": gradients}
    drawn = {"samples": samples, **({"metrics": measures} if variant.metrics else {})}
    for name, check in {**steps, **drawn, "saving": saving, "processes": processes, "bf16": sixteen_bits}.items():
        if not checker.run(name + suffix, check):
            return None
    return made[0]


def _same_weights(one: Mapping[str, nn.Module], other: Mapping[str, nn.Module]) -> None:
    for name, network in one.items():
        for (key, a), b in zip(network.state_dict().items(), other[name].state_dict().values(), strict=True):
            if not torch.equal(a, b):
                raise Failed(f"{name}.{key} differs between two builds with one seed: draw from torch's generator")


def _check_expectations(session: Session) -> None:
    """What the variant says of its curves is text, of the run, of phases, of their terms, or of metrics."""
    said, phases = session.variant.expect(), {turn.name for turn in session.turns}
    if not isinstance(said, Mapping):
        raise Failed(
            f"expect() returned a {type(said).__name__}; it must be texts by the name of a phase, term or metric"
        )
    for name, text in said.items():
        if not isinstance(text, str) or not text.strip():
            raise Failed(f"expect() says {text!r} of {name!r}; it must be text")
        known = isinstance(name, str) and (not name or name.partition("/")[0] in phases)
        if not known and better(str(name), session.variant.metrics) is None:
            raise Failed(
                f"expect() speaks of {name!r}, which is no metric, and the phases are {', '.join(sorted(phases))}"
            )


def _inherited(session: Session, previous: Session | None) -> dict[str, dict[str, Tensor]] | None:
    inherits = session.variant.inherits()
    if not inherits:
        return None
    if previous is None:
        raise Failed("inherits() names networks, but there is no earlier stage")
    weights = previous.sampling_networks()
    for name, source in inherits.items():
        if source not in weights:
            raise Failed(f"inherits() takes {source!r} from the earlier stage, which has {', '.join(weights)}")
        if name not in session.networks:
            raise Failed(f"inherits() fills {name!r}; this stage has {', '.join(session.networks)}")
    return {name: dict(weights[source].state_dict()) for name, source in inherits.items()}


def _check_turn(session: Session, turn: Turn) -> str:
    """One real training step of a phase: finite scalars, and gradient in every network that it updates."""
    step = session.new_step(0)
    before = {name: (values, values.clone()) for name, values in step.batch.items()}
    (terms,) = turn.run([step])
    for name, (values, copy) in before.items():
        if not torch.equal(values, copy):
            raise Failed(f"phase {turn.name!r} changes step.batch[{name!r}] in place; other phases see it too")
    for name, term in terms.items():
        if not term.isfinite():
            raise Failed(f"phase {turn.name!r}: term {name!r} is {float(term)} in the first step")
    for name in turn.phase.updates:
        trained = [p for p in session.networks[name].parameters() if p.requires_grad]
        grads = [p.grad for p in trained if p.grad is not None]
        if not any(bool(grad.any()) for grad in grads):
            raise Failed(f"phase {turn.name!r} updates {name!r}, but its loss gives that network no gradient")
        if not all(bool(grad.isfinite().all()) for grad in grads):
            raise Failed(f"phase {turn.name!r}: a gradient of {name!r} is not finite")
    return f"{turn.name}: " + ", ".join(f"{name} {float(term):.4g}" for name, term in terms.items())


def _check_saving(session: Session, fresh: Callable[[], Session]) -> str:
    """Two sessions restored from a checkpoint hold its weights, and train on to those of the one that went on."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "step-000001"
        checkpoints.write(place, session.checkpoint(1, 0.0, None))
        first, second = fresh(), fresh()
        for restored in (first, second):
            restored.restore(checkpoints.read(place))
    _compare(session, first, "does not come back from a checkpoint as it was saved")
    for one in (first, second, session):
        torch.manual_seed(0)
        one.train_step(1)
        before = attributes(one.variant, one.networks)
        one.train_step(2)
        if lost := changed(before, attributes(one.variant, one.networks)):
            remedy = "keep it in a network, as a buffer (gankit.nn.State)"
            raise Failed(f"{lost[0]} changes from step to step and is lost with the process: {remedy}")
    _compare(first, second, "differs between two runs from one checkpoint: draw all randomness from step.generator")
    _compare(session, first, "differs after resuming: keep what steps change in networks, as parameters or buffers")
    return "restored and trained on, bit for bit"


def _compare(one: Session, other: Session, complaint: str) -> None:
    for name, network in one.networks.items():
        theirs = other.networks[name].state_dict()
        for key, value in network.state_dict().items():
            if not torch.equal(value, theirs[key]):
                raise Failed(f"{name}.{key} {complaint}")


__all__ = ["check_training"]
