"""The server of the page."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gankit.errors import GankitError
from gankit.ui.guard import Guard
from gankit.ui.runs import Runs
from gankit.ui.settings import Settings, listening, unusable
from gankit.ui.studio import Studio

QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
}
"""Nothing that Gradio brings asks or tells another machine anything."""


def serve(settings: Settings, say: Callable[[str], None]) -> None:
    """Serves the page until it is interrupted; `say` is told where it is."""
    with listening(settings.host, settings.port) as opened, tempfile.TemporaryDirectory(prefix="gankit-ui-") as made:
        files = Path(made).resolve()
        os.environ.update(QUIET, GRADIO_TEMP_DIR=str(files))
        try:
            import uvicorn
            from fastapi import FastAPI, HTTPException
            from fastapi.responses import FileResponse

            from gankit.ui.page import mounted
        except ImportError as error:
            raise unusable(error) from error
        studio = Studio(Runs(settings.root), files, settings.device)
        app = FastAPI(openapi_url=None)

        @app.get("/report")
        def report(run: str) -> FileResponse:
            try:
                return FileResponse(studio.report(run), media_type="text/html", headers={"cache-control": "no-store"})
            except GankitError as error:
                raise HTTPException(404, str(error)) from error

        guarded = Guard(mounted(app, studio), files, settings.host, settings.password)
        port = opened.getsockname()[1]
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        place = f"http://{'localhost' if settings.host in ('0.0.0.0', '::') else host}:{port}/"
        say(f"runs in {settings.root}: {place} (Ctrl-C ends it)")
        if settings.browser:
            threading.Timer(1, webbrowser.open, [place]).start()
        for name in ("SIGTERM", "SIGHUP"):  # they end it as Ctrl-C does: files are removed
            if number := getattr(signal, name, None):
                signal.signal(number, signal.default_int_handler)
        # a page that is open somewhere asks without end: its end is not waited for, and that it comes is no error
        level = "critical" if os.environ.get("GANKIT_DEBUG", "0") in ("", "0") else "warning"
        quiet: dict[str, Any] = {"log_level": level, "access_log": False, "server_header": False}
        config = uvicorn.Config(guarded, timeout_graceful_shutdown=1, **quiet)
        uvicorn.Server(config).run(sockets=[opened])


__all__ = ["serve"]
