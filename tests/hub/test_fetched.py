"""`hf://`: only files of known names and bounded sizes, of one commit; and what goes wrong is a sentence."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from shared_runs import drawn, made_run

import gankit
from gankit.errors import UsageError
from gankit.hub import fetched


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return made_run("cgan", tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def shared(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("hub") / "shared"
    run.export_directory(out)
    (out / "evil.py").write_text("raise SystemExit")
    return out


@pytest.fixture
def hub(shared, tmp_path, monkeypatch):
    """The library in little: a cache of links, as the real one makes it. `asked` holds what it was asked for."""
    module = ModuleType("huggingface_hub")
    module.asked, module.sizes = [], {}

    class HfApi:
        def model_info(self, name, *, revision, files_metadata):
            assert files_metadata
            module.asked.append((name, revision))
            if name != "org/digits":
                raise OSError(f"404 Client Error.\nRepository Not Found for url: {name}")
            files = [path for path in shared.rglob("*") if path.is_file()]
            size = {path: module.sizes.get(path.name, path.stat().st_size) for path in files}
            siblings = [
                SimpleNamespace(rfilename=path.relative_to(shared).as_posix(), size=size[path]) for path in files
            ]
            return SimpleNamespace(sha="c0ffee", siblings=siblings)

    def snapshot_download(name, *, revision, allow_patterns):
        assert revision == "c0ffee"
        module.asked.append(sorted(allow_patterns))
        folder = tmp_path / "cache" / "snapshots" / revision
        folder.mkdir(parents=True)
        (tmp_path / "cache" / "blobs").mkdir()
        for i, pattern in enumerate(allow_patterns):
            blob = tmp_path / "cache" / "blobs" / str(i)
            blob.write_bytes((shared / pattern).read_bytes())
            (folder / pattern).symlink_to(Path("../../blobs") / str(i))
        return str(folder)

    module.HfApi, module.snapshot_download = HfApi, snapshot_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return module


def test_a_run_of_the_hub(hub, run, tmp_path):
    again = gankit.import_run("hf://org/digits@v1.0", out=tmp_path / "runs")
    data = run._source.open(run.config.data, "train")
    assert torch.equal(drawn(again, data), drawn(run, data))
    known = ["config.toml", "environment.json", "model.safetensors", "spec.json"]
    assert hub.asked == [("org/digits", "v1.0"), known]
    assert json.loads((again.path / "environment.json").read_text())["imported"]["from"] == "hf://org/digits@v1.0"


@pytest.mark.parametrize("address", ["hf://", "hf://org", "hf://org/a/b", "hf://org/a@", "hf://../a b", "hf://o/a?x=1"])
def test_what_is_no_address(address):
    with pytest.raises(UsageError, match="is no address: write hf://ORG/NAME, or hf://ORG/NAME@REVISION"):
        fetched(address)


def test_what_goes_wrong_is_one_sentence(hub, tmp_path, shared):
    with pytest.raises(UsageError, match=r"hf://org/none cannot be fetched: 404 Client Error. Repository") as error:
        fetched("hf://org/none")
    assert "\n" not in str(error.value)
    hub.sizes["config.toml"] = 2 << 20
    with pytest.raises(UsageError, match=r"config.toml has 2 MiB; at most 1 MiB are fetched"):
        fetched("hf://org/digits")
    hub.sizes.clear()
    (shared / "spec.json").rename(shared / "other.json")
    try:
        with pytest.raises(UsageError, match=r"is no run that gankit export wrote: it has no spec.json"):
            fetched("hf://org/digits")
    finally:
        (shared / "other.json").rename(shared / "spec.json")
    assert not (tmp_path / "cache").exists()


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match=r"hf:// needs huggingface_hub: pip install 'gankit\[hub\]'"):
        fetched("hf://org/digits")


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the Hub as its library asks for."""

    folder: Path
    sha = "0123456789abcdef0123456789abcdef01234567"
    served: list[str]

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.partition("?")[0]
        if path.startswith("/api/models/org/digits"):
            files = [one for one in self.folder.rglob("*") if one.is_file()]
            siblings = [{"rfilename": one.name, "size": one.stat().st_size} for one in files]
            if "/tree/" in path:
                rows = [
                    {"type": "file", "path": one.name, "oid": one.name, "size": one.stat().st_size} for one in files
                ]
                self.answer(json.dumps(rows).encode())
            else:
                about = {"id": "org/digits", "sha": self.sha, "siblings": siblings, "private": False, "tags": []}
                self.answer(json.dumps(about | {"downloads": 0, "likes": 0}).encode())
        elif path.startswith(f"/org/digits/resolve/{self.sha}/"):
            name = path.rpartition("/")[2]
            self.served.append(name)
            self.answer((self.folder / name).read_bytes(), ETag=f'"{name}"', **{"X-Repo-Commit": self.sha})
        else:
            self.send_error(404)

    def answer(self, content, **headers):
        self.send_response(200)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_):
        pass


FETCH = "import sys; from gankit.hub import fetched; print(fetched(sys.argv[1]))"


def test_the_library_itself(shared, tmp_path):
    """Another process, since it reads where the Hub is as it is imported."""
    pytest.importorskip("huggingface_hub")
    served = []
    handler = type("Here", (Hub,), {"folder": shared, "served": served})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    where = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path / "hf")}

    def ask(address):
        command = [sys.executable, "-c", FETCH, address]
        return subprocess.run(command, env={**os.environ, **where}, text=True, capture_output=True, timeout=300)

    try:
        done = ask("hf://org/digits@main")
        assert done.returncode == 0, done.stderr
        folder = Path(done.stdout.strip())
        assert set(served) == {"model.safetensors", "config.toml", "spec.json", "environment.json"}
        assert (folder / "model.safetensors").read_bytes() == (shared / "model.safetensors").read_bytes()
        gone = ask("hf://org/none")
        assert "UsageError: hf://org/none cannot be fetched: " in gone.stderr
    finally:
        server.shutdown()
        server.server_close()
    off = ask("hf://org/digits")
    assert "UsageError: hf://org/digits cannot be fetched: " in off.stderr
