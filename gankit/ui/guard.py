"""What stands before the server: who may ask, for what, and how much of it.

Gradio has many addresses: some fetch what they are told to, some need no login. Only those that the page itself uses
are let through, to one machine's own names, with the password where there is one, and what the browser gets back may
fetch from nowhere else.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gankit.ui.settings import is_loopback

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

API = "/gradio_api"
READ = re.compile(
    rf"/|/config/?|/theme\.css|/favicon\.ico|/manifest\.json|/(?:static|assets|svelte)/.+|/report"
    rf"|{API}/(?:theme\.css|startup-events|queue/data|upload_progress|file=.+|heartbeat/\w+)"
)
"""Addresses that the page reads."""
WRITE = re.compile(rf"{API}/(?:queue/join|upload|reset|cancel)/?")
"""Addresses that it sends something to."""
FILE = f"{API}/file="
UPLOAD = f"{API}/upload"
MOST_BODY = 2**20
"""Bytes of a request that is no upload."""
MOST_UPLOAD = 2**26
"""Bytes of an upload."""
PAUSE = 1.0
"""Seconds that a wrong password takes, and all wrong ones that are tried at once take one after another."""
WAITING = 20
"""Wrong passwords that may wait so; beyond them the answer is that there are too many."""
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; media-src 'self' blob:; "
    "worker-src 'self' blob:; frame-src 'self'; frame-ancestors 'self'; object-src 'none'; base-uri 'self'; "
    "form-action 'self'"
)
"""A Content-Security-Policy: Gradio's page has scripts of its own in it, and nothing of it leaves the machine."""
HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


class Guard:
    """Passes on to `app` what may pass. `files` is the one directory that files are served from and uploads lie in."""

    def __init__(self, app: App, files: Path, host: str, password: str | None) -> None:
        self._app = app
        self._files = files.resolve()
        self._loopback = is_loopback(host)
        self._password = password
        self._wrong = asyncio.Lock()
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # the page has no web sockets
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        status, text = self._refusal(scope, headers)
        if not status and not self._knows(headers):
            status, text = await self._slowly()
        if status:
            await _answer(send, status, text)
            return
        body = None
        if scope["method"] == "POST":
            upload = scope["path"].rstrip("/") == UPLOAD
            most = MOST_UPLOAD if upload else MOST_BODY
            if _length(headers) > most:
                await _answer(send, 413, f"more than {most:,} bytes")
                return
            receive = _bounded(receive, most)
            if not upload:
                body = await _whole(receive)
                if body is None:
                    await _answer(send, 413, f"more than {most:,} bytes")
                    return
                if fault := self._fault(body):
                    await _answer(send, 400, fault)
                    return
                receive = _again(body, receive)

        async def answered(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
            await send(message)

        await self._app(scope, receive, answered)

    def _refusal(self, scope: Scope, headers: Mapping[str, str]) -> tuple[int, str]:
        """A status and what to say, for what nobody may ask; (0, "") else."""
        path, host = scope["path"], headers.get("host", "")
        if self._loopback and not _is_own(host):  # a name that somebody points at this machine
            return 403, "this page has the names localhost and 127.0.0.1"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return 403, "asked for by another page"
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and headers.get("sec-fetch-mode") != "navigate":
            return 403, "asked for by another page"
        known = {"GET": READ, "HEAD": READ, "POST": WRITE}.get(scope["method"])
        if known is None:
            return 405, "not a method of this page"
        if not known.fullmatch(path):
            return 404, "there is no such address"
        if path.startswith(FILE) and not self._is_ours(path.removeprefix(FILE)):
            return 403, "that file is none of this page's"
        return 0, ""

    def _knows(self, headers: Mapping[str, str]) -> bool:
        """Whether the password is there, by HTTP's basic authentication; the user's name is of no account."""
        if self._password is None:
            return True
        kind, _, code = headers.get("authorization", "").partition(" ")
        try:
            told = b64decode(code.strip(), validate=True) if kind.lower() == "basic" else b""
        except (NotBase64, ValueError):
            return False
        return hmac.compare_digest(told.partition(b":")[2], self._password.encode("utf-8"))

    async def _slowly(self) -> tuple[int, str]:
        if self._waiting >= WAITING:
            return 429, "too many wrong passwords; try again later"
        self._waiting += 1
        try:
            async with self._wrong:
                await asyncio.sleep(PAUSE)
        finally:
            self._waiting -= 1
        return 401, "the password, please"

    def _is_ours(self, path: str) -> bool:
        """Whether a file lies where uploads and results do; it is no address of another server."""
        try:
            return os.path.isabs(path) and Path(path).resolve().is_relative_to(self._files)
        except (OSError, ValueError):
            return False

    def _fault(self, body: bytes) -> str:
        """What is wrong with what is sent: files that it names must be uploads."""
        try:
            content = json.loads(body)
        except (ValueError, RecursionError):
            return "not JSON"
        for one in _objects(content):
            path, url = one.get("path"), one.get("url")
            if isinstance(path, str) and not self._is_ours(path):
                return "a file that is none of this page's"
            if isinstance(url, str) and url.startswith("data:"):
                return "a file that was not uploaded"
        return ""


def _is_own(host: str) -> bool:
    name = host.rpartition(":")[0] if re.search(r":[0-9]+$", host) else host
    return is_loopback(name.strip("[]"))


def _objects(content: Any) -> Iterator[Mapping[str, Any]]:
    """All objects in JSON, however deep."""
    left = [content]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            yield one
            left += one.values()
        elif isinstance(one, list):
            left += one


def _length(headers: Mapping[str, str]) -> int:
    told = headers.get("content-length", "0")
    return int(told) if told.isascii() and told.isdecimal() and len(told) < 20 else 0


def _bounded(receive: Receive, most: int) -> Receive:
    """`receive`, which breaks off where more than `most` bytes come, whatever their number was said to be."""
    come = 0

    async def bounded() -> Message:
        nonlocal come
        message = await receive()
        come += len(message.get("body", b""))
        return {"type": "http.disconnect"} if come > most else message

    return bounded


async def _whole(receive: Receive) -> bytes | None:
    """The body; None if it is broken off."""
    parts = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """A `receive` that has the `body` yet to come."""
    told = False

    async def again() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _answer(send: Send, status: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *HEADERS]
    if status == 401:
        headers.append((b"www-authenticate", b'Basic realm="gankit", charset="UTF-8"'))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f"{text}\n".encode()})


__all__ = ["Guard"]
