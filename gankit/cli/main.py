"""``gankit``: the commands put together, and what becomes of an error."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import gankit
from gankit.cli import (
    animate,
    bench,
    data,
    doctor,
    evaluate,
    export,
    importing,
    interpolate,
    plugins,
    process,
    processes,
    report,
    sample,
    train,
    translate,
    ui,
)
from gankit.cli.explain import INTERRUPTED, explain
from gankit.cli.output import warn
from gankit.cli.streams import discard, forgive, only_data_on_stdout
from gankit.discovery.metadata import spare_libraries


def _version(asked: bool) -> None:
    if asked:
        print(f"gankit {gankit.__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train, sample and judge GANs. Variants and datasets are plugins: see `gankit list`."""


class Commands(TyperGroup):
    """The commands in the order of use."""

    def list_commands(self, ctx: Any) -> list[str]:
        order = ["run", "resume", "sample", "translate", "reconstruct", "interpolate", "animate", "eval"]
        order += ["report", "ui", "export", "import", "list", "data", "plugins", "doctor", "bench"]
        return sorted(self.commands, key=lambda name: order.index(name) if name in order else len(order))


def build() -> typer.Typer:
    """All commands."""
    app = typer.Typer(name="gankit", cls=Commands, pretty_exceptions_enable=False, rich_markup_mode="rich")
    app.callback()(_root)
    app.add_typer(train.app, name="run")
    app.command("resume")(train.resume)
    app.command("sample")(sample.sample)
    app.command("translate")(translate.translate)
    app.command("reconstruct")(translate.reconstruct)
    app.command("interpolate")(interpolate.interpolate)
    app.command("animate")(animate.animate)
    app.command("eval")(evaluate.evaluate)
    app.command("report")(report.report)
    app.command("ui")(ui.ui)
    app.command("export")(export.export)
    app.add_typer(importing.app, name="import")
    app.command("list")(plugins.list_all)
    app.add_typer(data.app, name="data")
    app.add_typer(plugins.app, name="plugins")
    app.add_typer(bench.app, name="bench")
    app.command("doctor")(doctor.doctor)
    return app


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; its exit code: 0 done, 1 failed, 2 wrong usage, 3 broken plugin, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    processes.command[:] = arguments
    forgive()
    try:
        with only_data_on_stdout() if "--json" in arguments and "--help" not in arguments else nullcontext():
            code = _dispatch(arguments or ["--help"])
        sys.stdout.flush()
        if code == INTERRUPTED and not processes.launched:  # typer makes a code of Ctrl-C, and says nothing
            raise KeyboardInterrupt
    except BrokenPipeError:
        # the reader of our output is gone; python would complain once more when it closes stdout
        discard(sys.stdout)
        return processes.ended(1, BrokenPipeError())[1]
    except (Exception, KeyboardInterrupt) as error:
        code, message = explain(error, arguments)
        tells, code = processes.ended(code, error)
        try:
            if os.environ.get("GANKIT_DEBUG", "0") not in ("", "0"):
                warn(traceback.format_exc())
            if tells:
                warn(message)
        except OSError:
            discard(sys.stderr)
    return code if isinstance(code, int) else 0


def _dispatch(arguments: list[str]) -> Any:
    root: Any = typer.main.get_command(build())
    name = arguments[0]
    if name in root.commands:
        spare_libraries()  # before torch or pydantic is loaded
    if name != "list" and arguments[:2] != ["bench", "ops"] and "--help" not in arguments:
        process.settle()  # before any command loads torch; but kernels are measured as they are
    if name in root.commands and "_GANKIT_COMPLETE" not in os.environ:
        # straight to the command: parsing the root's own options would import pydantic, and --help is to be quick
        return root.commands[name].main(arguments[1:], prog_name=f"gankit {name}", standalone_mode=False)
    return root.main(arguments, prog_name="gankit", standalone_mode=False)


if __name__ == "__main__":
    sys.exit(main())
