"""Where the page is served, for whom, and of which runs: settled before anything heavy is imported."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from gankit.errors import GankitError, PluginError, UsageError
from gankit.files import read_regular

VARIABLE = "GANKIT_UI_PASSWORD"
"""The environment variable that a password is taken from."""
SHORTEST = 8
"""Fewest characters of a password: who guesses is slowed down, and that is all that holds them up."""


@dataclass(frozen=True)
class Settings:
    """What ``gankit ui`` was told."""

    root: Path
    host: str
    port: int
    password: str | None
    device: str = "auto"
    browser: bool = False


def settled(
    root: Path,
    host: str,
    port: int,
    password_file: Path | None,
    *,
    device: str = "auto",
    browser: bool = False,
    environment: Mapping[str, str] = os.environ,
) -> Settings:
    """What was told, made sure of.

    :class:`UsageError` without the directory of runs, or without a password where others could reach the page;
    :class:`PluginError` without Gradio.
    """
    check_installed()
    root = root.expanduser()
    if not root.is_dir():
        raise UsageError(f"there is no directory {root}. Train a run first, or name the directory that holds runs.")
    password = _password(password_file, environment)
    if password is None and not is_loopback(host):
        raise UsageError(
            f"--host {host}: others could draw from your runs; give a password, by --password-file F or the "
            f"environment variable {VARIABLE}."
        )
    return Settings(root, host, port, password, device, browser)


def check_installed() -> None:
    """:class:`PluginError` that says what to install, if Gradio is missing."""
    import importlib.util  # cheap, where importing Gradio takes seconds

    if importlib.util.find_spec("gradio") is None:
        raise PluginError("the page needs Gradio: pip install 'gankit[ui]'")


def is_loopback(host: str) -> bool:
    """Whether nothing but this machine reaches `host`."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name may stand for any address


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there; :class:`UsageError` if the port is taken or there is no such address."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        opened = socket.socket(family, kind, protocol)
        try:
            if os.name == "posix":  # a port that was left a moment ago is free; elsewhere this would share a taken one
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind(address)
            opened.listen(128)
        except OSError:
            opened.close()
            raise
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UsageError(f"--port {port} is taken at {host}. Give another --port; 0 takes a free one.") from None
        if error.errno == errno.EACCES:
            raise UsageError(f"--port {port}: not allowed for this user. Give one from 1024 on.") from None
        raise UsageError(f"--host {host}: {error.strerror or error}. Give an address of this machine.") from None
    return opened


def _password(file: Path | None, environment: Mapping[str, str]) -> str | None:
    """The first line of the file, else what the environment has; None without both."""
    if file is not None:
        try:
            lines = read_regular(file.expanduser()).decode("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            said = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise UsageError(f"--password-file {quote(str(file))} cannot be read: {said}") from None
        return _checked(lines[0] if lines else "", f"--password-file {quote(str(file))}")
    found = environment.get(VARIABLE)
    return None if found is None else _checked(found, VARIABLE)


def _checked(password: str, where: str) -> str:
    if len(password) < SHORTEST:
        raise UsageError(f"{where}: a password of {len(password)} characters; it takes {SHORTEST} or more.")
    return password


def unusable(error: BaseException) -> GankitError:
    """What became of importing Gradio, of which another package's version may be wrong."""
    return PluginError(f"Gradio cannot be imported: {' '.join(str(error).split())}\ntry: pip install -U 'gankit[ui]'")


__all__ = ["SHORTEST", "VARIABLE", "Settings", "check_installed", "is_loopback", "listening", "settled", "unusable"]
