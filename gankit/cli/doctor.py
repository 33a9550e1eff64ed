"""``gankit doctor``: is everything there?"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from gankit.cli.output import emit, say, table
from gankit.cli.plugins import warn_of_damage

MARKS = {True: "ok", False: "!!", None: ""}


def doctor(json: Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")] = False) -> None:
    """Say what this machine offers, which kernels run, and which plugins are broken."""
    from gankit.cli.doctor_facts import facts

    warn_of_damage()
    found = facts()
    if json:
        emit({"ok": not any(fact.ok is False for fact in found), "facts": [asdict(fact) for fact in found]})
    else:
        say(table([(MARKS[fact.ok], fact.name, fact.value) for fact in found]))
    if any(fact.fatal for fact in found):
        raise typer.Exit(3)
