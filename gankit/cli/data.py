"""``gankit data``: datasets, apart from any training."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gankit.cli.arguments import Json
from gankit.cli.options import Set, assigned
from gankit.cli.output import at_least, emit, say, shown, warn

if TYPE_CHECKING:
    from gankit.plugin import Dataset

app = typer.Typer(help="Pack datasets.", rich_markup_mode="rich")


@app.callback()
def _data() -> None:
    """Pack datasets."""


@app.command()
def pack(
    source: Annotated[str, typer.Argument(metavar="IN", help="A dataset, or a directory of images.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new directory.")],
    options: Set = None,
    shard_mib: Annotated[int, typer.Option(help="Size of a tar file, in MiB.")] = 256,
    json: Json = False,
) -> None:
    """Write a dataset as tar shards, which `--dataset shards --data.root OUT` trains from, wherever they are.

    As WebDataset writes them: one file a key, of each sample. Options of the dataset: --set data.size=128.
    """
    at_least("--shard-mib", shard_mib, 1)
    from gankit.cli.progress import reporter
    from gankit.data.pack import pack as write

    splits = {"train": _open(source, options, "train"), "test": _open(source, options, "test")}
    with reporter(json=json or not sys.stdout.isatty()) as tell:
        for dataset in splits.values():
            dataset.load(tell)
        found = write(splits, out.expanduser(), shard_mib=shard_mib, tell=tell)
    for note in dict.fromkeys(note for dataset in splits.values() for note in dataset.notes()):
        warn(f"note: {note}")
    if json:
        emit({"out": str(out), "samples": found})
        return
    counts = [
        f"{n} {split}{f' ({stream})' if stream else ''}" for split, of in found.items() for stream, n in of.items()
    ]
    say(f"{shown(out)}: {', '.join(counts)} samples\ntrain from them: --dataset shards --data.root {shown(out)}")


def _open(source: str, options: list[str] | None, split: Any) -> Dataset[Any]:
    from gankit.discovery.entry_points import datasets, load_dataset
    from gankit.options.resolve import data_options

    given = assigned(options)
    if source not in datasets() and Path(source).expanduser().is_dir():
        source, given = "folder", {"data.root": source, **given}
    cls = load_dataset(source)
    return cls(data_options(cls, given), split)
