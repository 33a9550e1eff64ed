"""The page's server, asked by those who never saw the page."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

pytest.importorskip("gradio", reason="the page needs Gradio")

import httpx

PAINTER = "painter-painter-dots/0001"


class Session:
    """A browser's tab, as far as the server can tell."""

    def __init__(self, place: str) -> None:
        self.web = httpx.Client(base_url=place.rstrip("/"), timeout=60)
        self.hash = secrets.token_hex(5)
        self.functions = {one["api_name"]: one["id"] for one in self.web.get("/config").json()["dependencies"]}

    def call(self, function: str, data: list) -> dict:
        """What the function of the page answers to `data`: what it returns, or its error."""
        body = {"data": data, "fn_index": self.functions[function], "session_hash": self.hash}
        joined = self.web.post("/gradio_api/queue/join", json=body)
        assert joined.status_code == 200, joined.text
        with self.web.stream("GET", f"/gradio_api/queue/data?session_hash={self.hash}") as stream:
            for line in stream.iter_lines():
                message = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
                if message.get("msg") == "process_completed":
                    rendered = (message["output"].get("render_config") or {}).get("dependencies", ())
                    self.functions |= {one["api_name"]: one["id"] for one in rendered}
                    return message["output"]
        raise AssertionError("no answer")

    def open(self, run: str) -> None:
        """Chooses a run, of which the tabs are then made."""
        self.call("look", [None, None, None])
        self.call("choose_run", [run])
        for tab in ("apply", "apply_1", "apply_2"):
            self.call(tab, [None])

    def upload(self, name: str, content: bytes) -> dict:
        """As the page hands an upload on."""
        answer = self.web.post("/gradio_api/upload", files={"files": (name, content)})
        assert answer.status_code == 200, answer.text
        return {"path": answer.json()[0], "orig_name": name, "meta": {"_type": "gradio.FileData"}}


@pytest.fixture
def session(place):
    return Session(place)


def lives(place):
    return httpx.get(place).status_code == 200


def test_it_listens_at_home_alone_and_nothing_is_said_of_what_serves_it(place):
    answer = httpx.get(place)
    assert answer.status_code == 200
    assert "server" not in answer.headers
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    port = int(place.rstrip("/").rpartition(":")[2])
    for line in Path("/proc/net/tcp").read_text().splitlines() if sys.platform == "linux" else ():
        at, state = line.split()[1], line.split()[3]
        if state == "0A" and int(at.split(":")[1], 16) == port:
            assert socket.inet_ntoa(struct.pack("<I", int(at.split(":")[0], 16))) == "127.0.0.1"


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/etc/passwd",
            "/proc/self/environ",
            "../../etc/passwd",
            "RUNS/painter-painter-dots/0001/config.toml",
            "RUNS",
        ),
        *("http://127.0.0.1:1/x", "https://example.org/", "%2fetc%2fpasswd", "..%2f..%2fetc%2fpasswd"),
        "/etc/../etc/passwd",
    ],
)
def test_paths_outside_of_what_was_drawn_are_refused(place, made, path):
    for way in ("file=", "file/"):
        answer = httpx.get(f"{place}gradio_api/{way}{path.replace('RUNS', str(made.root))}")
        assert answer.status_code in (403, 404), answer.text
        assert "root:" not in answer.text
        assert "variant" not in answer.text


@pytest.mark.parametrize("run", ["/etc", "../runs/" + PAINTER, PAINTER + "/", "%2e%2e/x", "x" * 5000, "<script>", ""])
def test_no_report_is_made_of_what_is_no_run_here(place, run):
    answer = httpx.get(f"{place}report", params={"run": run})
    assert answer.status_code == 404
    assert "text/html" not in answer.headers["content-type"]


def test_a_report_is_there_for_a_run(place):
    answer = httpx.get(f"{place}report?run={quote(PAINTER, safe='')}")
    assert answer.status_code == 200
    assert "painter" in answer.text
    assert httpx.get(f"{place}report").status_code == 422


@pytest.mark.parametrize(
    "name",
    ["../../evil.png", "/etc/cron.d/x.png", "a\\..\\b.png", "x" * 300 + ".png", ".", "", "ü $(x);'\".png", "\n.png"],
)
def test_names_of_uploads_lead_nowhere(session, name):
    answer = session.web.post("/gradio_api/upload", files={"files": (name, b"text")})
    if answer.status_code == 200:
        path = Path(answer.json()[0])
        assert path.read_bytes() == b"text"
        assert path == path.resolve()
        assert path.parent.parent.name.startswith("gankit-ui-")
    assert lives(str(session.web.base_url))


def test_what_is_uploaded_is_no_page_of_this_server(session):
    sent = session.upload("x.html", b"<script>alert(1)</script>")
    answer = session.web.get(f"/gradio_api/file={sent['path']}")
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_too_much_is_refused(session):
    long = "x" * 2**21
    body = {"data": [long], "fn_index": 0, "session_hash": "x"}
    assert session.web.post("/gradio_api/queue/join", json=body).status_code == 413
    said = {"content-length": str(2**40), "content-type": "multipart/form-data; boundary=x"}
    with socket.create_connection((session.web.base_url.host, session.web.base_url.port)) as raw:
        head = "".join(f"{name}: {value}\r\n" for name, value in said.items())
        raw.sendall(f"POST /gradio_api/upload HTTP/1.1\r\nhost: 127.0.0.1\r\n{head}\r\n".encode())
        assert b" 413 " in raw.recv(1000).split(b"\r\n")[0]
    assert lives(str(session.web.base_url))


def test_a_drawing_can_be_asked_for(session):
    session.open(PAINTER)
    output = session.call("draw", ["best", 2, 0, "0,0,1,1", ["red"], "frame", True, 0.5])
    sheet, gallery, file, command = output["data"]
    assert "gankit sample" in command
    assert "--given tone=0.5" in command
    picture = session.web.get(f"/gradio_api/file={sheet['value']['path']}")
    assert picture.content.startswith(b"\x89PNG")
    assert len(gallery["value"]) == 2
    assert session.web.get(f"/gradio_api/file={file['value']['path']}").content == picture.content


@pytest.mark.parametrize(
    ("place_of", "value", "said"),
    [
        (0, "../../x", "not in the list of choices"),
        (1, 10**9, "greater than maximum"),
        (1, 0, "less than minimum"),
        (1, 1.5, "must be a whole number"),
        (1, "many", ""),
        (1, None, ""),
        (2, -1, "less than minimum"),
        (2, 2**70, "greater than maximum"),
        (2, None, "must be a whole number"),
        (3, "0,0,9,9", "not a box"),
        (3, {"x": 1}, "not a text"),
        (3, "x" * 500_000, "characters"),
        (4, ["<script>"], "not in the list of choices"),
        (4, [7], "not in the list of choices"),
        (5, "x" * 500_000, ""),
        (6, "yes", ""),
        (7, 1e300, "greater than maximum"),
        (7, "one", ""),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_values_that_the_page_never_sends_are_refused(session, place_of, value, said):
    session.open(PAINTER)
    data = ["best", 2, 0, "", [], "", True, 0.5]
    data[place_of] = value
    output = session.call("draw", data)
    if place_of == 6:  # not ticked: as if nothing had been given
        assert "tone" not in output["data"][3]
        return
    assert output.get("error"), output
    assert said in output["error"]
    assert "Traceback" not in json.dumps(output)
    assert session.call("draw", ["best", 1, 0, "", [], "", False, 0])["data"]


@pytest.mark.parametrize("data", [[], ["best"], ["best", 1, 0], [None] * 30])
def test_too_few_or_too_many_values_are_refused(session, data):
    session.open(PAINTER)
    assert session.call("draw", data).get("error")
    assert lives(str(session.web.base_url))


NEGATIVE = "painter-negative-painter-sides/0001"


def test_a_bad_image_is_said_and_the_server_lives_on(session):
    session.open(NEGATIVE)
    for name, content in (("a.png", b"no picture"), ("empty.jpg", b""), ("a.svg", b"<svg/>"), ("a.exe", b"MZ")):
        sent = session.upload(name, content)
        output = session.call("change", ["best", sent, "translate", "stretch", "input", 0])
        assert output.get("error"), output
        assert "Traceback" not in output["error"]
    assert lives(str(session.web.base_url))


def test_only_uploads_are_read(session):
    session.open(NEGATIVE)
    for path in ("/etc/passwd", "http://127.0.0.1:1/x.png", "../x.png"):
        sent = {"path": path, "meta": {"_type": "gradio.FileData"}}
        data = ["best", sent, "translate", "stretch", "input", 0]
        body = {"data": data, "fn_index": session.functions["change"], "session_hash": session.hash}
        assert session.web.post("/gradio_api/queue/join", json=body).status_code == 400


def test_runs_come_and_go_while_it_is_served(serve, made, tmp_path):
    root = tmp_path / "runs"
    root.mkdir()
    with serve(root=root) as place:
        session = Session(place)
        assert "There are no runs here yet" in json.dumps(session.call("look", [None, None, None]))
        path = shutil.copytree(made.painter, root / PAINTER)
        assert "painter on painter-dots, 0001: finished, 2 steps" in json.dumps(
            session.call("look", [None, None, None])
        )
        session.open(PAINTER)
        asked = ["best", 1, 0, "", [], "", False, 0]
        assert session.call("draw", asked)["data"]
        shutil.rmtree(path)
        assert "it was removed, or lies elsewhere" in session.call("draw", asked)["error"]
        assert session.call("look", [PAINTER, None, None])["data"][0]["value"] is None


def test_with_a_password_nothing_is_told_without_it(serve, tmp_path):
    file = tmp_path / "password"
    file.write_text("open sesame\n")
    with serve("--host", "0.0.0.0", "--password-file", str(file)) as place:
        for path in ("", "theme.css", "report?run=x"):
            assert httpx.get(place + path).status_code == 401, path
        assert httpx.get(place, auth=("me", "wrong one")).status_code == 401
        assert httpx.get(place, auth=("me", "open sesame")).status_code == 200
        assert "open sesame" not in httpx.get(place + "config", auth=("me", "open sesame")).text


def test_a_password_is_on_no_command_line():
    command = [sys.executable, "-m", "gankit", "ui", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "--password-file" in text
    assert "--password " not in text
