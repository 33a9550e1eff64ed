"""``gankit import``: a run made of what others wrote. Weights of another program, one command a format; or a run that
was shared, a directory or ``hf://``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from gankit.cli.arguments import Json
from gankit.cli.output import at_least, emit, say, shown, warn
from gankit.cli.streams import escaped
from gankit.errors import UsageError

if TYPE_CHECKING:
    from gankit.api import Run
    from gankit.discovery.entry import PluginEntry


class Formats(TyperGroup):
    """Lists formats by metadata; a command imports what reads its format when it runs."""

    @cached_property
    def found(self) -> dict[str, list[PluginEntry]]:
        """What reads each format, an entry a variant."""
        from gankit.discovery.entry_points import formats
        from gankit.discovery.problems import marked

        found: dict[str, list[PluginEntry]] = {}
        for name, entry in marked(formats()).items():
            found.setdefault(name.partition(".")[0], []).append(entry)
        return found

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.found)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.found and _is_place(cmd_name):
            return _shared(cmd_name)
        if cmd_name not in self.found:
            return None
        variants = ", ".join(entry.name.partition(".")[2] for entry in self.found[cmd_name])
        read = list(dict.fromkeys(entry.summary for entry in self.found[cmd_name]))
        return _command(cmd_name, f"Weights for {variants}. {' '.join(read)}")

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            what = "name the format: gankit import FORMAT FILE..., or a directory or hf://ORG/NAME of a run"
            raise UsageError(f"{what}\ninstalled: {', '.join(self.found)}")
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        if args[0] not in self.found and not _is_place(args[0]) and not ctx.resilient_parsing:
            from gankit.options.spelling import nearest
            from gankit.options.spelling import shown as quoted

            known = f"installed: {', '.join(self.found) or 'none'}"
            what = f"unknown format {quoted(args[0])}"
            raise UsageError(f"{what}{nearest(args[0], self.found)}\n{known}; or a run's directory, or hf://ORG/NAME")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=Formats,
    help="Make a run of the weights of another program, or of a run that was shared: a directory that gankit export "
    "wrote, or hf://ORG/NAME (hf://ORG/NAME@REVISION); to draw, translate, export, train on. Nothing of it is run.",
    subcommand_metavar="FORMAT FILE... | DIR | hf://ORG/NAME [OPTIONS]",
    rich_markup_mode="rich",
)


@app.callback()
def _import() -> None:
    """For typer, which wants one."""


def _command(format: str, text: str) -> Any:
    """The command of a format. Options that it does not know are those of the run: of the variant and of its data."""

    def command(
        ctx: typer.Context,
        files: Annotated[
            list[str], typer.Argument(metavar="FILE...", help="Files of one model: .pth, .ckpt, .safetensors.")
        ],
        dataset: Annotated[
            str | None,
            typer.Option(help="Dataset to train on, with its options (--data.root DIR). Without: to draw alone."),
        ] = None,
        size: Annotated[int | None, typer.Option(help="Side of the images, where the weights do not say it.")] = None,
        classes: Annotated[
            str, typer.Option(metavar="NAME,NAME", help="Names of the classes, of weights that are told one.")
        ] = "",
        out: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("runs"),
        json: Json = False,
    ) -> None:
        at_least("--size", size, 1)
        paths, options = split_options([*files, *ctx.args])
        from gankit.api import import_weights

        names = [name for part in classes.split(",") if (name := part.strip())]
        run = import_weights(
            format, *paths, dataset=dataset, out=out, size=size, classes=names, on_event=_tell, **options
        )
        conclude(run, json=json)

    more = "Further options are those of the run: --steps 20000, and others of the variant and of the data."
    command.__doc__ = escaped(f"{text}\n\n{more}")
    made = typer.Typer(add_completion=False, rich_markup_mode="rich")
    settings = {"ignore_unknown_options": True, "allow_extra_args": True}
    made.command(format, context_settings=settings)(command)
    return typer.main.get_command(made)


def _is_place(word: str) -> bool:
    """Whether a word in a format's place is a run that was shared."""
    return word.startswith("hf://") or os.sep in word or "/" in word or os.path.isdir(word)


def _shared(place: str) -> Any:
    """The command of a run that was shared."""

    def command(
        ctx: typer.Context,
        out: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("runs"),
        json: Json = False,
    ) -> None:
        files, options = _split(ctx.args)
        if files:
            raise UsageError(f"{files[0]}: one run at a time, {place}")
        from gankit.api import import_run

        conclude(import_run(place, out=out, on_event=_tell, **options), json=json)

    text = "Make a run of one that was shared: it draws the same samples."
    command.__doc__ = f"{text}\n\nFurther options are laid over its own: --data.root DIR, --steps 20000."
    made = typer.Typer(add_completion=False, rich_markup_mode="rich")
    settings = {"ignore_unknown_options": True, "allow_extra_args": True}
    made.command("directory", context_settings=settings)(command)
    return typer.main.get_command(made)


def _tell(event: object) -> None:
    from gankit.events import Note

    if isinstance(event, Note):
        warn(f"note: {event.text}")


def split_options(words: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """As :func:`_split`; :class:`UsageError` if there are no files."""
    files, options = _split(words)
    if not files:
        raise UsageError("name the files of the weights: gankit import FORMAT FILE...")
    return files, options


def _split(words: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Files, and the options among them, by dotted name: ``--data.root DIR`` or ``--data.root=DIR``."""
    files: list[str] = []
    options: dict[str, Any] = {}
    rest = iter(words)
    for word in rest:
        if not word.startswith("--"):
            files.append(word)
            continue
        name, equals, value = word[2:].partition("=")
        value = value if equals else next(rest, "")
        if not equals and (not value or value.startswith("--")):
            raise UsageError(f"{word} needs a value: write {word} VALUE, true or false of a switch")
        options[name.replace("-", "_")] = value
    return files, options


def conclude(run: Run, *, json: bool) -> None:
    """Where the run is, and what to type next."""
    from gankit.cli.train import next_command

    if json:
        emit({"run": str(run.path), "variant": run.config.variant, "dataset": run.config.dataset})
        return
    say(f"run: {shown(run.path)}")
    say(f"next: {next_command(run)}")
