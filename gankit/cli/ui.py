"""``gankit ui``: runs in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gankit.cli.arguments import Device
from gankit.cli.output import say


def ui(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="Where runs are: what was --out, or a run.")] = Path(
        "runs"
    ),
    host: Annotated[
        str, typer.Option(help="Address to listen at. Any that others reach takes a password.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: one that is free.")] = 7860,
    password_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Its first line is the password. Else GANKIT_UI_PASSWORD, if it is set."),
    ] = None,
    device: Device = "auto",
    browser: Annotated[bool, typer.Option("--browser", help="Open it in a browser.")] = False,
) -> None:
    """Look at runs in a browser: watch them train, draw, translate, interpolate.

    Nobody but this machine reaches the page unless --host says so. Needs Gradio, the extra ui.
    """
    from gankit.ui.settings import settled

    settings = settled(runs, host, port, password_file, device=device, browser=browser)
    from gankit.ui.serve import serve

    serve(settings, say)
