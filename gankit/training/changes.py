"""What has changed between two sittings of a run: its config.toml, its data, and whether it can go on with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gankit.errors import UsageError
from gankit.options.schema import shown
from gankit.runs.checkpoint import Checkpoint
from gankit.training.networks import by_network, fits, load_weights
from gankit.training.session import Session


def config_changes(then: object, now: Mapping[str, Any]) -> list[str]:
    """The options that differ between two resolved configs, as ``steps = 20 (was 12)``.

    `then` is what a checkpoint says, and nothing has changed if it says nothing.
    """
    if not isinstance(then, Mapping):
        return []
    before, after = dict(_flat(then)), dict(_flat(now))
    return [
        f"{name} = {shown(after.get(name))} (was {shown(before.get(name))})"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]


def check_continues(session: Session, saved: Checkpoint) -> None:
    """:class:`UsageError` if `session` cannot go on from `saved`: other weights, averages or numbers of samples."""
    weights = by_network(saved.tensors["weights"])
    for name, network in session.networks.items():
        if not fits(network, weights.get(name, {})):
            load_weights(network, weights.get(name, {}), name)  # says what does not fit
    averaged = session.variant.averaged if session.resolved.run.ema > 0 else ()
    if averaged and "ema" not in saved.tensors:
        raise UsageError(f"ema = {session.resolved.run.ema}: so far the run has kept no averages; set ema to 0.")
    session.restore_part("loader", saved)


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


__all__ = ["check_continues", "config_changes"]
