"""The page, as Gradio makes it: runs to choose from, and a tab for each thing that is done with one."""

from __future__ import annotations

import functools
import time
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr
from fastapi import FastAPI

from gankit.ui.guard import MOST_UPLOAD
from gankit.ui.saying import told
from gankit.ui.studio import Studio
from gankit.ui.tabs import QUICK, draw_tab, interpolate_tab, translate_tab
from gankit.ui.watch import panel

_Seen = dict[str, list[tuple[str, str]]]

EVERY = 3.0
"""Seconds after which the page looks at the runs again."""
FONTS = ["system-ui", "sans-serif"]
MONO = ["ui-monospace", "monospace"]
CHOOSE = "<p>Choose a run.</p>"
NOTHING = "<p>There are no runs here yet. Train one: <code>gankit run VARIANT</code></p>"


def mounted(app: FastAPI, studio: Studio) -> FastAPI:
    """`app` with the page at its root."""
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    theme = gr.themes.Default(font=FONTS, font_mono=MONO)
    return gr.mount_gradio_app(
        app,
        page(studio),
        "/",
        theme=theme,
        head=f"<style>{style}</style>",  # as `css` Gradio would put a name of its own before each rule
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        pwa=False,
        max_file_size=MOST_UPLOAD,
        app_kwargs={"openapi_url": None},
    )


def page(studio: Studio) -> gr.Blocks:
    """The page of the runs of `studio`."""
    with gr.Blocks(title="gankit", analytics_enabled=False, delete_cache=(600, 3600)) as made:
        root = escape(str(studio.runs.root))
        gr.HTML(f"<h1>gankit</h1><p>Runs in <code>{root}</code></p>", elem_classes="gk-head")
        with gr.Row():
            run = gr.Dropdown([], label="Run", interactive=True, scale=4, min_width=260)
            to = gr.Dropdown([], label="What it draws", interactive=True, visible=False, min_width=120)
            checkpoint = gr.Dropdown(
                ["best", "latest"], value="best", label="Checkpoint", interactive=True, scale=2, min_width=220
            )
        known, seen = gr.State({}), gr.State("")
        subject = gr.State(None)  # the run, and what it draws: together, since the tabs are made anew when it changes
        with gr.Tabs():
            with gr.Tab("Run"):
                watched = gr.HTML(NOTHING)
            with gr.Tab("Draw"):
                draw_tab(studio, subject, checkpoint)
            with gr.Tab("Translate"):
                translate_tab(studio, subject, checkpoint)
            with gr.Tab("Interpolate"):
                interpolate_tab(studio, subject, checkpoint)
            with gr.Tab("Report") as report:
                shown = gr.HTML()
                anew = gr.Button("Make it anew", size="sm")

        def look(chosen: str | None, before: _Seen, panel_before: str) -> list[Any]:
            """What changed since the page looked last: of the runs, and of the one that is shown."""
            runs = studio.runs.all()
            first = not before and chosen is None and bool(runs)
            one = runs[0] if first else next((one for one in runs if one.name == chosen), None)
            now: _Seen = {"runs": [(run.label, run.name) for run in runs]}
            now["checkpoints"] = _checkpoints(studio, one.name) if one else []
            offered: list[Any] = [gr.skip(), gr.skip()]
            if now["runs"] != before.get("runs"):
                offered[0] = gr.update(choices=now["runs"], **({"value": one.name} if first and one else {}))
            if one and now["checkpoints"] != before.get("checkpoints"):
                offered[1] = gr.update(choices=now["checkpoints"])
            if chosen is not None and one is None:
                gr.Warning(escape(f"The run {chosen} is not here any more."))
                offered[0] = gr.update(choices=now["runs"], value=None)
            text = panel(studio.runs, one) if one else CHOOSE if runs else NOTHING
            return [*offered, now, gr.skip() if text == panel_before else text, text]

        def choose_run(chosen: str | None) -> list[Any]:
            """What the run that was chosen draws, its checkpoints, and both as the subject of the tabs."""
            if chosen is None:
                return [gr.update(choices=[], visible=False), gr.skip(), None]
            produces = studio.open(chosen).variant.produces
            first = produces[0] if produces else None
            draws = gr.update(choices=list(produces), value=first, visible=len(produces) > 1)
            return [draws, gr.update(choices=_checkpoints(studio, chosen), value="best"), (chosen, first)]

        looking: dict[str, Any] = {"inputs": [run, known, seen], "outputs": [run, checkpoint, known, watched, seen]}
        made.load(told(look), **looking, **QUICK)
        gr.Timer(EVERY).tick(told(look), **looking, **QUICK)
        run.change(told(look), **looking, **QUICK)
        run.change(told(choose_run), run, [to, checkpoint, subject], **QUICK)
        to.input(lambda *both: both, [run, to], subject, **QUICK)  # not when `choose_run` sets it
        for shows in (run.change, report.select, anew.click):
            shows(told(functools.partial(_frame, studio)), run, shown, **QUICK)
    made.queue(max_size=64, api_open=False)
    return made


def _checkpoints(studio: Studio, name: str) -> list[tuple[str, str]]:
    directory = studio.runs.open(name)
    names, best, latest = directory.checkpoints(), directory.best, directory.latest
    if not names:
        return [("none yet", "best")]
    return [
        (f"best ({best})" if best else f"best (none picked: {latest})", "best"),
        (f"newest ({latest})", "latest"),
        *((name, name) for name in reversed(names)),
    ]


def _frame(studio: Studio, name: str | None) -> str:
    """The run's report, within the page, made when it is seen; its own policy lets nothing of it out."""
    if name is None:
        return CHOOSE
    run = studio.runs.open(name)
    title = escape(f"Report of {run.path.name}", quote=True)
    address = f"report?run={quote(name, safe='')}&amp;asked={time.time_ns()}"  # another one each time
    return f'<iframe class="gk-page" src="{address}" title="{title}" sandbox="allow-scripts" loading="lazy"></iframe>'


__all__ = ["mounted", "page"]
