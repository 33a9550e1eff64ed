"""``gankit run VARIANT``, one command a variant, made when it is asked for; ``gankit resume``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from gankit.cache import byte_size
from gankit.cli import processes
from gankit.cli.arguments import Json, RunArgument
from gankit.cli.output import at_least, duration, emit, figures, say, shown, table, warn
from gankit.cli.streams import escaped

if TYPE_CHECKING:
    from gankit.api import Run
    from gankit.cli.progress import Reporter
    from gankit.discovery.entry import PluginEntry
    from gankit.events import OnEvent
    from gankit.training.plan import Plan


class Variants(TyperGroup):
    """Lists variants by metadata; loads the one that is named."""

    @cached_property
    def found(self) -> dict[str, PluginEntry]:
        from gankit.discovery.entry_points import variants
        from gankit.discovery.problems import marked

        return marked(variants())

    def list_commands(self, ctx: Any) -> list[str]:
        from gankit.discovery.entry_points import NAME

        return [name for name in self.found if NAME.fullmatch(name)]  # the help page and the shell get it as it is

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A placeholder for help pages and completion: nothing is imported for it."""
        found = self.found.get(cmd_name)
        if found is None:
            return None
        text = f"(broken: {found.problem})" if found.problem else found.summary
        return TyperCommand(cmd_name, help=escaped(text))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        from gankit.errors import UsageError

        if not args and not ctx.resilient_parsing:
            raise UsageError(f"name the variant to train: gankit run VARIANT\ninstalled: {', '.join(self.found)}")
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, rest = args[0], args[1:]
        if ctx.resilient_parsing:  # completing: a broken plugin has nothing to offer
            try:
                return name, command(name, rest), rest
            except Exception:
                return super().resolve_command(ctx, args)
        return name, command(name, rest), rest


app = typer.Typer(
    cls=Variants,
    help="Train a variant. `gankit run VARIANT --help` shows its options.",
    subcommand_metavar="VARIANT [OPTIONS]",
    rich_markup_mode="rich",
)


def command(name: str, args: Sequence[str]) -> Any:
    """The command of the variant `name`. Its options depend on the dataset, hence on `args`."""
    from gankit.cli.options import make_command
    from gankit.discovery.entry_points import load_dataset, load_variant
    from gankit.errors import GankitError
    from gankit.options.resolve import read_toml

    helping = "--help" in args
    variant = load_variant(name)
    file = _value(args, "--config")
    content = read_toml(Path(file)) if file and not helping else {}
    dataset_name = _value(args, "--dataset") or content.get("dataset") or variant.dataset
    try:
        dataset = load_dataset(dataset_name)
    except GankitError as error:
        if not helping:
            raise
        warn(f"note: options of the data are left out: {error}")
        dataset = None
    preset = _value(args, "--preset") or content.get("preset")
    return make_command(name, variant, dataset, dataset_name, preset, execute)


def _value(args: Sequence[str], option: str) -> str | None:
    """The value of an option among arguments that are not parsed yet; the last one counts, as it will then."""
    found = None
    for index, argument in enumerate(args):
        if argument.startswith(f"{option}="):
            found = argument.partition("=")[2]
        elif argument == option and index + 1 < len(args):
            found = args[index + 1]
    return found


def execute(name: str, settings: Any, options: dict[str, Any]) -> None:
    """Train, or say what would be done."""
    from gankit import api

    json = settings["json"]
    what = {key: settings[key] for key in ("dataset", "preset", "config", "init")}
    if settings["dry_run"]:
        at_least("--processes", settings["processes"], 1)
        plans = api.plan(name, **what, out=settings["out"], processes=settings["processes"], **options)
        if json:
            emit({"plans": [plan.to_dict() for plan in plans]})
        else:
            say("\n\n".join(describe(plan) for plan in plans))
        return

    processes.launch(settings["processes"])
    with watching(json=json, show=settings["show"]) as (report, tell):
        run = api.train(name, **what, out=settings["out"], resume=settings["resume"], on_event=tell, **options)
        if not processes.follows():
            conclude(run, report, json=json)


@contextmanager
def watching(*, json: bool, show: bool = False) -> Iterator[tuple[Reporter, OnEvent]]:
    """Who listens to a training: what shows it (and keeps the last figures), and all, TensorBoard where it is there."""
    from gankit.cli.progress import reporter
    from gankit.events import together
    from gankit.tensorboard import TensorBoard, available

    with reporter(json=json, show=show) as report:
        if not available():
            yield report, report
            return
        with TensorBoard(report) as board:
            yield report, together(report, board)


def resume(
    run: RunArgument,
    steps: Annotated[int | None, typer.Option(help="Train up to this step, instead of the run's own end.")] = None,
    show: Annotated[bool, typer.Option("--show", help="Draw each new sheet, or figure, on the terminal.")] = False,
    number: Annotated[int, typer.Option("--processes", help=processes.HELP)] = 1,
    json: Json = False,
) -> None:
    """Go on with a run from its newest checkpoint."""
    at_least("--steps", steps, 1)
    processes.launch(number)
    if processes.follows():  # which need not see the run's disk
        from gankit.processes import joined
        from gankit.training.leading import follow

        follow(joined())
        return
    from gankit.api import open_run

    opened = open_run(run)
    with watching(json=json, show=show) as (report, tell):
        opened = opened.resume(steps, tell)
        conclude(opened, report, json=json)


def conclude(run: Run, report: Reporter, *, json: bool) -> None:
    """The end of a training: where it is, its last figures, what to type next."""
    metrics = dict(report.metrics or run.metrics)
    if json:
        result = {"run": str(run.path), "steps": run.steps, "seconds": round(run.seconds, 3), "metrics": metrics}
        emit({**result, "losses": dict(report.losses)})
        return
    say(f"run: {shown(run.path)}  ({run.steps} steps, {duration(run.seconds)})")
    if report.losses:
        say(f"losses: {figures(report.losses)}")
    if metrics:
        say(f"metrics: {figures(metrics)}")
    if sheets := sorted((run.path / "samples").glob("*.png")):
        say(f"samples: {shown(sheets[-1])}")
    say(f"next: {next_command(run)}")


def next_command(run: Run) -> str:
    """What to type next: images are drawn, with a text if the variant can be asked with one, or translated."""
    from gankit.sampling.conditions import asked_keys, choose

    asked, path = asked_keys(run.variant, run.spec, choose(run.variant)), quote(shown(run.path))
    if any(key.kind == "image" for key in asked.values()):
        return f"gankit translate {path} IN OUT"
    texts = [name for name, key in asked.items() if key.kind == "text"]
    told = "" if not texts else ' --text "..."' if "text" in texts else f' --given {texts[0]}="..."'
    return f"gankit sample {path}{told}"


def describe(plan: Plan) -> str:
    """A plan for people."""
    stage = f", stage {plan.stage}" if plan.stage else ""
    batch = f"{plan.batch_size}" + (f" x {plan.accumulate}" if plan.accumulate > 1 else "")
    networks = [
        (n["name"], f"{n['parameters']:,}", f"{n['trainable']:,}", "yes" if n["averaged"] else "")
        for n in plan.networks
    ]
    phases = [
        (
            phase["name"],
            ", ".join(phase["updates"]),
            f"every {phase['every']}" + repeats(phase["repeat"]),
            f"that of {phase['shares']}" if phase["shares"] else optimizers(phase["optimizers"]),
        )
        for phase in plan.phases
    ]
    shares = f", {plan.processes} processes" if plan.processes > 1 else ""
    memory = [(key, "unknown" if value is None else byte_size(value)) for key, value in plan.memory.items()]
    return "\n\n".join(
        [
            f"{plan.variant} on {plan.dataset}{stage}, preset {plan.preset}: {plan.steps} steps of {batch} samples "
            f"on {plan.device}, {plan.precision}, {plan.memory_format}{shares}",
            table(networks, ("network", "parameters", "trainable", "averaged")),
            table(phases, ("phase", "updates", "in a step", "optimiser")),
            table([*plan.data.items(), ("samples", plan.samples)], ("data", "")),
            table(memory, ("memory" if plan.processes == 1 else "memory of each process", "estimate"))
            + (f"\nactivations are unknown, and no part of the total: {plan.unknown}" if plan.unknown else ""),
        ]
    )


def repeats(number: int | str) -> str:
    """How often a phase's turn comes in a step, as it goes on after "every n"."""
    if isinstance(number, str):
        return f", times {number}"
    return f", {number} times" if number > 1 else ""


def optimizers(described: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(dict.fromkeys(f"{one['kind']} {one['lr']:g} {one['schedule']}" for one in described))
