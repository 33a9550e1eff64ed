"""``gankit interpolate``: from one sample to another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gankit.cli.arguments import Checkpoint, Device, GivenOption, Json, RunArgument, To, check_rate, fresh
from gankit.cli.output import at_least, emit, say, shown
from gankit.errors import UsageError

FILMS = (".mp4", ".gif", ".webp", ".apng")
"""What names of films end in: of `gankit.sampling.film`, which is imported when a command runs."""


def interpolate(
    run: RunArgument,
    images: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[IMAGE...]", help="Two images or more to go between, for variants that encode them."),
    ] = None,
    n: Annotated[int, typer.Option("--n", help="Rows; of images and captions, one less than there are.")] = 4,
    frames: Annotated[
        int | None, typer.Option(help="Samples a row, with both its ends. [default: 8, of a film 48]")
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option("--text", help="A caption; two or more to go between, for variants that draw from them."),
    ] = None,
    given: GivenOption = None,
    to: To = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="F.png: one sheet. F.mp4, F.gif, F.webp, F.apng: a film. A directory: a file a sample. Else a new "
            "sheet in the run."
        ),
    ] = None,
    rate: Annotated[float | None, typer.Option(help="Of a film: pictures a second. [default: 24]")] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Of a film: its end leads to its beginning.")] = False,
    seed: Annotated[int, typer.Option(help="The same seed draws the same samples; on CUDA, up to rounding.")] = 0,
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the samples that are in --out.")] = False,
    json: Json = False,
) -> None:
    """Go from one sample to another: along an arc between random codes or captions, straight between images."""
    at_least("--n", n, 1)
    at_least("--frames", frames, 2)
    at_least("--seed", seed, 0)
    film = out is not None and out.suffix.lower() in FILMS
    if rate is not None:
        check_rate(rate)
    for option, value in {"--rate": rate, "--loop": loop}.items():
        if value and not film:
            raise UsageError(f"{option} is for a film: give --out F.mp4, or another of {', '.join(FILMS)}")
    from gankit.api import open_run
    from gankit.sampling.given import from_options
    from gankit.sampling.samples import check_out

    opened = open_run(run)
    asked: dict[str, Any] = {
        "texts": text or [],
        "rows": n,
        "frames": frames or (48 if film else 8),
        "given": from_options(given or []),
        "to": to,
        "seed": seed,
        "checkpoint": checkpoint,
        "device": device,
    }
    if film and out is not None:
        made = opened.film(out, images or None, **asked, rate=rate or 24.0, loop=loop, overwrite=overwrite)
        name = opened.directory.resolve(checkpoint)
        if json:
            emit({"run": str(opened.path), "checkpoint": name, "out": str(out), "frames": made})
        else:
            say(f"{made} frames of {name} in {shown(out)}")
        return
    if out is not None:
        check_out(out, overwrite=overwrite)
    samples = opened.interpolate(images or None, **asked)
    out = out or fresh(opened.path, "interpolation", ".png" if samples.are_images else ".npy")
    files, rows = samples.save(out, overwrite=overwrite), len(samples.records) // asked["frames"]
    if json:
        about = {"run": str(opened.path), "checkpoint": samples.checkpoint, "n": rows, "frames": asked["frames"]}
        emit({**about, "out": str(out), "files": [str(file) for file in files], "samples": samples.records})
    else:
        say(f"{rows} x {asked['frames']} samples of {samples.checkpoint} in {shown(out)}")
