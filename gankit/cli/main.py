"""``gankit``: the commands put together, and what becomes of an error."""

from __future__ import annotations

import difflib
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from io import TextIOWrapper
from itertools import pairwise
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import gankit
from gankit.cli import bench, doctor, evaluate, interpolate, plugins, sample, train, translate
from gankit.cli.output import only_data_on_stdout
from gankit.errors import GankitError

INTERRUPTED = 130
"""Exit code of a command that Ctrl-C ended."""


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
        order = ["run", "resume", "sample", "translate", "reconstruct", "interpolate", "eval"]
        order += ["list", "plugins", "doctor", "bench"]
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
    app.command("eval")(evaluate.evaluate)
    app.command("list")(plugins.list_all)
    app.add_typer(plugins.app, name="plugins")
    app.add_typer(bench.app, name="bench")
    app.command("doctor")(doctor.doctor)
    return app


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; its exit code: 0 done, 1 failed, 2 wrong usage, 3 broken plugin, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a file name or a caption that it cannot show is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    try:
        with only_data_on_stdout() if "--json" in arguments and "--help" not in arguments else nullcontext():
            code = _dispatch(arguments or ["--help"])
        sys.stdout.flush()
        if code == INTERRUPTED:  # typer makes a code of Ctrl-C, and says nothing
            raise KeyboardInterrupt
    except BrokenPipeError:
        # the reader of our output is gone; python would complain once more when it closes stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Exception, KeyboardInterrupt) as error:
        if os.environ.get("GANKIT_DEBUG", "0") not in ("", "0"):
            traceback.print_exc()
        code, message = explain(error, arguments)
        print(message, file=sys.stderr)
    return code if isinstance(code, int) else 0


def _dispatch(arguments: list[str]) -> Any:
    root: Any = typer.main.get_command(build())
    name = arguments[0]
    if name in root.commands and "_GANKIT_COMPLETE" not in os.environ:
        # straight to the command: parsing the root's own options would import pydantic, and --help is to be quick
        return root.commands[name].main(arguments[1:], prog_name=f"gankit {name}", standalone_mode=False)
    return root.main(arguments, prog_name="gankit", standalone_mode=False)


def explain(error: BaseException, arguments: Sequence[str] = ()) -> tuple[int, str]:
    """(exit code, one or two lines)."""
    if isinstance(error, GankitError):
        return error.exit_code, f"error: {error}"
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        return INTERRUPTED, "interrupted"
    if isinstance(error, ImportError):  # of a plugin that imports where it needs something, or of gankit's own needs
        from gankit.discovery.entry_points import blame

        return 3, f"error: {blame(error) or error}"
    if hasattr(error, "format_message"):  # typer's and click's own
        return 2, f"error: {_usage(error, arguments)}"
    if isinstance(error, OSError) and error.strerror:
        return 1, f"error: {error.strerror}: {error.filename}" if error.filename else f"error: {error.strerror}"
    text = " ".join(str(error).split())
    text = text if len(text) <= 300 else text[:297] + "..."
    return 1, f"error: {type(error).__name__}: {text}\nset GANKIT_DEBUG=1 for the traceback"


def _usage(error: Any, arguments: Sequence[str]) -> str:
    """What is wrong with the command line, and what to type."""
    context = getattr(error, "ctx", None)
    message = str(error.format_message()).rstrip(".")
    wrong = getattr(error, "option_name", None)
    if context is not None and wrong and hasattr(error, "possibilities"):
        known = [option for param in context.command.params for option in [*param.opts, *param.secondary_opts]]
        by_name = {option.lstrip("-"): option for option in known}  # the dashes would make any two alike
        match = difflib.get_close_matches(wrong.lstrip("-").replace("_", "-"), by_name, n=1, cutoff=0.55)
        message = f"unknown option {wrong}" + (f"; did you mean {by_name[match[0]]}?" if match else "")
    elif message == "Missing command" and context is not None:
        message = f"missing command: one of {', '.join(context.command.list_commands(context))}"
    else:
        message = message[:1].lower() + message[1:]
        flags = getattr(getattr(error, "param", None), "opts", [])
        given = [value for flag, value in pairwise(arguments) if flag in flags]
        if given and "invalid value" in message:
            message = message.replace("invalid value", f"invalid value {given[-1]!r}", 1)
    return message + (f"\ntry: {context.command_path} --help" if context is not None else "")


if __name__ == "__main__":
    sys.exit(main())
