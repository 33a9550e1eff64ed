"""Where the page is served, for whom, and what is said without Gradio."""

from __future__ import annotations

import socket
import sys

import pytest

from gankit.cli.main import main
from gankit.errors import PluginError, UsageError
from gankit.ui.settings import SHORTEST, VARIABLE, is_loopback, listening, settled


@pytest.fixture
def with_gradio(monkeypatch):
    """As if it were installed; it is not imported."""
    monkeypatch.setattr("gankit.ui.settings.check_installed", lambda: None)


def test_without_gradio_one_sentence_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert main(["ui", str(tmp_path)]) == 3
    told = capsys.readouterr()
    assert told.err == "error: the page needs Gradio: pip install 'gankit[ui]'\n"
    assert told.out == ""


def test_a_directory_that_is_not_there_is_named(tmp_path, with_gradio):
    with pytest.raises(UsageError, match=r"there is no directory .*/nowhere\. Train a run first"):
        settled(tmp_path / "nowhere", "127.0.0.1", 7860, None, environment={})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.9.9.9", "::1"])
def test_at_home_no_password_is_needed(tmp_path, with_gradio, host):
    assert is_loopback(host)
    assert settled(tmp_path, host, 7860, None, environment={}).password is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "some.name", "127.0.0.1.example.org", ""])
def test_where_others_reach_the_page_it_takes_a_password(tmp_path, with_gradio, host):
    with pytest.raises(UsageError, match=f"give a password, by --password-file F or .*{VARIABLE}"):
        settled(tmp_path, host, 7860, None, environment={})
    assert settled(tmp_path, host, 7860, None, environment={VARIABLE: "longenough"}).password == "longenough"


def test_a_password_comes_from_a_file_before_the_environment(tmp_path, with_gradio):
    file = tmp_path / "password"
    file.write_text("ünterwegs\nsecond line\n", encoding="utf-8")
    found = settled(tmp_path, "0.0.0.0", 7860, file, environment={VARIABLE: "another-one"})
    assert found.password == "ünterwegs"


@pytest.mark.parametrize("text", ["", "\n", "short", "x" * (SHORTEST - 1) + "\n" + "y" * 20])
def test_a_password_that_is_none_is_refused(tmp_path, with_gradio, text):
    file = tmp_path / "password"
    file.write_text(text)
    with pytest.raises(UsageError, match=f"takes {SHORTEST} or more"):
        settled(tmp_path, "127.0.0.1", 7860, file, environment={})
    with pytest.raises(UsageError, match=VARIABLE):
        settled(tmp_path, "127.0.0.1", 7860, None, environment={VARIABLE: ""})


def test_a_password_file_that_cannot_be_read_is_named(tmp_path, with_gradio):
    with pytest.raises(UsageError, match="cannot be read"):
        settled(tmp_path, "0.0.0.0", 7860, tmp_path / "none", environment={})
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00rubbish")
    with pytest.raises(UsageError, match="not UTF-8"):
        settled(tmp_path, "0.0.0.0", 7860, binary, environment={})


def test_a_port_that_is_taken_is_said_and_none_shared():
    with listening("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        assert port > 0
        with pytest.raises(UsageError, match=rf"--port {port} is taken .* 0 takes a free one"):
            listening("127.0.0.1", port)
    with pytest.raises(UsageError, match="Give an address of this machine"):
        listening("192.0.2.1", 0)  # an address of documentation, which no machine has


def test_it_listens_at_home_alone():
    with listening("127.0.0.1", 0) as opened:
        assert opened.getsockname()[0] == "127.0.0.1"
        others = {found[4][0] for found in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
        for other in others - {"127.0.0.1", "127.0.1.1"}:
            with pytest.raises(OSError):
                socket.create_connection((other, opened.getsockname()[1]), timeout=2)


def test_a_gradio_that_cannot_be_imported_is_said(monkeypatch):
    from gankit.ui.settings import unusable

    error = unusable(ImportError("cannot import name 'x' from 'pydantic'"))
    assert isinstance(error, PluginError)
    assert "cannot import name" in str(error)
