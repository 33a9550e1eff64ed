"""Who may ask the page's server for what."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode

import pytest

from gankit.ui import guard
from gankit.ui.guard import MOST_BODY, POLICY, Guard

PASSWORD = "öffne dich"


async def reached(scope, receive, send):
    """An app that answers with what it was sent."""
    body, more = b"", scope["method"] == "POST"
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"reached " + body})


@pytest.fixture
def ask(tmp_path):
    """Status, headers and text of an answer to a request."""
    (tmp_path / "mine.png").write_bytes(b"x")

    def ask(
        path="/", method="GET", *, host="127.0.0.1:7860", at="127.0.0.1", password=None, body=(), guard=None, **headers
    ):
        guard = guard or Guard(reached, tmp_path, at, password)
        raw = [(b"host", host.encode())]
        raw += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        parts = [body] if isinstance(body, bytes) else list(body)
        messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
        messages.append({"type": "http.request", "body": b"", "more_body": False})
        sent = []

        async def receive():
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": method, "path": path, "headers": raw}
        asyncio.run(guard(scope, receive, send))
        if not sent:
            return None, {}, ""
        head = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], head, sent[1]["body"].decode()

    return ask


def basic(password, user="me"):
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/config",
        "/theme.css",
        "/assets/index.js",
        "/static/img/logo.svg",
        "/report",
        "/gradio_api/queue/data",
        "/gradio_api/startup-events",
        "/gradio_api/heartbeat/abc123",
        "/gradio_api/upload_progress",
    ],
)
def test_what_the_page_reads_is_there_and_fetches_from_nowhere_else(ask, path):
    status, head, text = ask(path)
    assert (status, text) == (200, "reached ")
    assert head["content-security-policy"] == POLICY
    assert "http" not in POLICY
    assert "*" not in POLICY


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/proxy=https://example.org/",
        "/gradio_api/info",
        "/gradio_api/openapi.json",
        "/docs",
        "/redoc",
        "/custom",
        "/reportx",
        "/monitoring",
        "/monitoring/summary",
        "/gradio_api/vibe-code",
        "/gradio_api/runs",
        "/login",
        "/openapi.json",
        "//gradio_api/info",
        "/gradio_api/file/etc/passwd",
        "/gradio_api/stream/x/y/0/playlist.m3u8",
        "/gradio_api/call/draw",
        "/gradio_api/run/draw",
        "/gradio_api/component_server",
        "/gradio_api/token",
    ],
)
def test_what_the_page_does_not_read_is_not_there(ask, path):
    assert ask(path)[0] == 404
    assert ask(path, "POST", body=b"{}")[0] == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"])
def test_other_methods_are_refused(ask, method):
    assert ask("/", method)[0] == 405


def test_only_the_pages_own_files_are_served(ask, tmp_path):
    assert ask(f"/gradio_api/file={tmp_path}/mine.png")[0] == 200
    (tmp_path / "link").symlink_to("/etc/passwd")
    for path in (
        "/etc/passwd",
        f"{tmp_path}/../other",
        f"{tmp_path}x/file",
        f"{tmp_path}/link",
        "mine.png",
        "https://example.org/x.png",
        "file:///etc/passwd",
        f"{tmp_path}/\0",
        "~/.ssh/id_rsa",
    ):
        assert ask(f"/gradio_api/file={path}")[0] == 403, path


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:7860", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:7860", "[::1]:7860", "127.1.2.3:5"]
)
def test_at_home_it_has_the_names_of_this_machine(ask, host):
    assert ask(host=host)[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example:7860", "evil.example", "127.0.0.1.evil.example", "", "192.168.1.5:7860"]
)
def test_a_name_that_somebody_points_here_is_refused(ask, host):
    assert ask(host=host)[0] == 403
    assert ask(host=host, at="0.0.0.0", password=PASSWORD, authorization=basic(PASSWORD))[0] == 200


def test_another_page_may_not_ask(ask):
    path, body = "/gradio_api/queue/join", b"{}"
    assert ask(path, "POST", body=body, origin="http://127.0.0.1:7860")[0] == 200
    for origin in ("https://evil.example", "null", "http://127.0.0.1:8000", "http://localhost:7860"):
        assert ask(path, "POST", body=body, origin=origin)[0] == 403, origin
    assert ask(path, "POST", body=body, sec_fetch_site="cross-site")[0] == 403
    assert ask("/", sec_fetch_site="cross-site", sec_fetch_mode="navigate")[0] == 200  # a link that leads here


def test_with_a_password_nothing_is_there_without_it(ask, monkeypatch):
    monkeypatch.setattr(guard, "PAUSE", 0)
    for path in ("/", "/assets/index.js", "/theme.css", "/report", "/gradio_api/startup-events"):
        status, head, text = ask(path, at="0.0.0.0", password=PASSWORD)
        assert status == 401
        assert head["www-authenticate"].startswith("Basic ")
        assert "reached" not in text
    for wrong in (
        basic("wrong"),
        basic(""),
        basic(PASSWORD + "x"),
        basic(PASSWORD[:-1]),
        "Basic ????",
        "Basic",
        f"Bearer {PASSWORD}",
        "Basic " + b64encode(PASSWORD.encode()).decode(),  # no name before it
    ):
        assert ask(password=PASSWORD, authorization=wrong)[0] == 401, wrong
    assert ask(password=PASSWORD, authorization=basic(PASSWORD, user="anyone"))[0] == 200


def test_guessing_is_slow_and_many_guesses_are_turned_away(tmp_path, monkeypatch):
    monkeypatch.setattr(guard, "PAUSE", 0.05)
    monkeypatch.setattr(guard, "WAITING", 3)
    asked = Guard(reached, tmp_path, "0.0.0.0", PASSWORD)
    answers = []

    async def one():
        async def send(message):
            if message["type"] == "http.response.start":
                answers.append(message["status"])

        await asked({"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"x")]}, None, send)

    async def many():
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.gather(*(one() for _ in range(10)))
        return loop.time() - began

    assert asyncio.run(many()) >= 3 * 0.05
    assert sorted(answers) == [401] * 3 + [429] * 7


def test_a_request_that_is_too_long_is_broken_off(ask):
    path = "/gradio_api/queue/join"
    long = json.dumps({"data": ["x" * MOST_BODY]}).encode()
    assert ask(path, "POST", body=long, content_length=str(len(long)))[0] == 413
    assert ask(path, "POST", body=[long[:1000], long[1000:]])[0] == 413  # nobody said how long
    assert ask(path, "POST", body=b"{}", content_length="9" * 30)[0] == 200
    assert ask("/gradio_api/upload", "POST", content_length=str(2**40))[0] == 413
    assert ask("/gradio_api/upload", "POST", body=[long])[2] == "reached " + long.decode()


def test_what_is_sent_names_no_files_but_uploads(ask, tmp_path):
    path = "/gradio_api/queue/join"
    for data, status in (
        ({"data": [{"path": str(tmp_path / "mine.png"), "url": "http://127.0.0.1:7860/x"}]}, 200),
        ({"data": [{"path": "/etc/passwd"}]}, 400),
        ({"data": [{"path": "http://169.254.169.254/latest"}]}, 400),
        ({"data": [[[{"deep": {"path": f"{tmp_path}/../x"}}]]]}, 400),
        ({"data": [{"path": None, "url": "data:image/png;base64,AAAA"}]}, 400),
        ({"data": ["path"], "path": 7}, 200),
    ):
        assert ask(path, "POST", body=json.dumps(data).encode())[0] == status, data
    assert ask(path, "POST", body=b"not JSON")[0] == 400
    assert ask(path, "POST", body=b"[" * 100_000)[0] == 400
    sent = b'{"data": ["kept as it was sent"]}'
    assert ask(path, "POST", body=[sent[:5], sent[5:]])[2] == "reached " + sent.decode()


def test_web_sockets_are_not_answered(tmp_path):
    called = []

    async def app(scope, receive, send):
        called.append(scope["type"])

    asyncio.run(Guard(app, tmp_path, "127.0.0.1", None)({"type": "websocket", "headers": []}, None, None))
    assert not called
