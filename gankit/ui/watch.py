"""Where a run stands, as a part of the page: its state, how long it takes, what it drew last."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from gankit.report.pictures import Picture, embed
from gankit.sampling.animation import series
from gankit.ui.runs import Runs, Standing

SHEET = 1_500_000
"""Bytes of the sheet that is shown; a larger one becomes smaller."""
TERMS = 24
"""Most numbers that are listed."""


def panel(runs: Runs, run: Standing) -> str:
    """HTML about `run`. All that comes out of its directory is escaped, pictures are only such that are whole."""
    facts = [f"<dt>State</dt><dd>{escape(run.state)}</dd>", f"<dt>Step</dt><dd>{_steps(run)}</dd>"]
    if run.seconds_left is not None:
        facts.append(f"<dt>Time left</dt><dd>{_duration(run.seconds_left)}</dd>")
    facts.append(f"<dt>Directory</dt><dd><code>{escape(str(run.path))}</code></dd>")
    most = run.steps or max(run.step, 1)
    bar = f'<progress max="{most}" value="{min(run.step, most)}" aria-label="Steps done"></progress>'
    tables = _table("Last means", run.values) + _table("Metrics", run.metrics)
    return f'<div class="gk-watch"><div>{bar}<dl>{"".join(facts)}</dl>{tables}</div>{_sheet(runs, run)}</div>'


def _sheet(runs: Runs, run: Standing) -> str:
    """The newest sheet or figure, within the page itself."""
    drawn = next(iter(series(run.path).values()), [])
    if not drawn:
        return "<p>There are no samples yet.</p>"
    picture = Picture(drawn[-1])
    if not runs.inside(picture.path):
        return "<p>Its last picture is a link that leads out of the runs, and is not shown.</p>"
    embed([picture], SHEET)
    name = escape(picture.path.name)
    if not picture.uri:
        return f"<p>{escape(picture.problem)}</p>"
    small = ' class="gk-small"' if max(picture.wide, picture.high) < 400 else ""
    return f'<figure><img src="{picture.uri}" alt="Samples, {name}"{small}><figcaption>{name}</figcaption></figure>'


def _steps(run: Standing) -> str:
    return f"{run.step:,}" if run.steps is None else f"{run.step:,} of {run.steps:,}"


def _table(title: str, values: Mapping[str, float]) -> str:
    if not values:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{escape(name[:80])}</th><td>{value:.4g}</td></tr>'
        for name, value in list(values.items())[:TERMS]
    )
    return f"<table><caption>{title}</caption>{rows}</table>"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60:02d} min"


__all__ = ["panel"]
