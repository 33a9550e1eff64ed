"""``gankit bench``: how fast the kernels and the training loop are on this machine."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from gankit.cli.options import Set, assigned
from gankit.cli.output import at_least, emit, number, say, table, warn
from gankit.errors import UsageError
from gankit.options.spelling import by_set, given_as

app = typer.Typer(help="Measure kernels and the training loop on this machine.", rich_markup_mode="rich")

File = Annotated[
    Path | None,
    typer.Argument(
        metavar="FILE", help="Write the JSON to this file (after --json); a row a line where it ends in .jsonl."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the rows as JSON, or write them to FILE.")]
Device = Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")]


@app.command()
def ops(
    file: File = None,
    device: Device = "cpu",
    op: Annotated[list[str] | None, typer.Option("--op", help="Only this op. May be repeated.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A large and a small shape, float32 only.")] = False,
    plot: Annotated[Path | None, typer.Option(metavar="F.png", help="Draw the rows too; needs matplotlib.")] = None,
    compile: Annotated[bool, typer.Option(help="Measure torch.compile too; takes seconds a row.")] = True,
    json: Json = False,
) -> None:
    """Every op against a plain copy of the same bytes, eager torch and torch.compile."""
    _writable(file, json)
    from gankit.bench import bench_ops, check_plot, plot_ops, print_ops

    try:
        if plot is not None:
            check_plot(plot)
        with _lines(file) as write:

            def progress(row: dict[str, Any]) -> None:
                _progress(row)
                write(row)

            rows = bench_ops(device, op or None, quick, compiled=compile, progress=progress)
    except (ValueError, KeyError) as error:  # an unknown op or device
        raise UsageError(str(error.args[0] if error.args else error)) from error
    if not json:
        print_ops(rows)
    elif file is not None and file.suffix == ".jsonl":
        warn(f"{len(rows)} rows in {file}")
    else:
        _deliver(rows, file)
    if plot is not None:
        plot_ops(rows, plot)
        warn(f"{len(rows)} rows drawn in {plot}")


@app.command()
def step(
    variant: Annotated[str, typer.Option("--variant", help="Variant whose step is measured.")],
    file: File = None,
    dataset: Annotated[str | None, typer.Option(help="Dataset; the variant's own if not given.")] = None,
    preset: Annotated[str | None, typer.Option(help="Preset of the variant.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Samples in a batch.")] = None,
    precision: Annotated[str | None, typer.Option(help="float32, bf16, fp16 or auto.")] = None,
    rounds: Annotated[int, typer.Option(help="Rounds; trainer and loop take turns.")] = 20,
    device: Device = "cpu",
    options: Set = None,
    json: Json = False,
) -> None:
    """A step of the trainer against a plain loop of the same networks, both in one process."""
    _writable(file, json)
    at_least("--rounds", rounds, 2)
    from gankit.bench.step import bench_step

    given = {"batch_size": batch_size, "precision": precision, "device": device}
    settings: dict[str, Any] = {key: value for key, value in given.items() if value is not None} | assigned(options)
    with given_as(by_set):
        row = bench_step(variant, dataset, preset=preset, rounds=rounds, **settings)
    if json:
        _deliver([row], file)
    else:
        say(table([(key, number(value)) for key, value in row.items()]))


def _progress(row: dict[str, Any]) -> None:
    """One line that is written over, on a terminal only."""
    if sys.stderr.isatty():
        shape = "x".join(map(str, row["shape"]))
        print(f"\r\x1b[K{row['op']} {shape} {row['dtype']} {row['layout']} {row['direction']}", end="", file=sys.stderr)


def _writable(file: Path | None, json: bool) -> None:
    """Complain before minutes of measuring, not after."""
    if file is None:
        return
    if not json:
        raise UsageError(f"unexpected argument {str(file)!r}\nto write the rows to a file: --json {file}")
    if file.exists():
        raise UsageError(f"{file} exists already. Give another name.")
    if not file.absolute().parent.is_dir():
        raise UsageError(f"cannot write {file}: there is no directory {file.absolute().parent}")


@contextmanager
def _lines(file: Path | None) -> Iterator[Callable[[dict[str, Any]], object]]:
    """What writes a row at once, so that none is lost where a later one fails; of formats other than lines nothing."""
    if file is None or file.suffix != ".jsonl":
        yield lambda row: None
        return
    with file.open("x", encoding="utf-8", buffering=1) as stream:
        try:
            yield lambda row: stream.write(json_module.dumps(row) + "\n")
        finally:
            if stream.tell() == 0:  # not in the way of another try
                file.unlink()


def _deliver(rows: list[dict[str, Any]], file: Path | None) -> None:
    if file is None:
        emit(rows)
        return
    with file.open("x", encoding="utf-8") as stream:
        if file.suffix == ".jsonl":
            stream.writelines(json_module.dumps(row) + "\n" for row in rows)
        else:
            json_module.dump(rows, stream, indent=1)
    warn(f"{len(rows)} rows in {file}")
