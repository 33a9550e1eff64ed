"""The errors a user sees: one or two lines, and the exit code of the command that met them."""

from __future__ import annotations


class GankitError(Exception):
    """Something failed while running. Printed without a traceback (``GANKIT_DEBUG=1`` shows it)."""

    exit_code = 1


class UsageError(GankitError):
    """Wrong usage, option value, config file or data: the user can mend it. Exit code 2."""

    exit_code = 2


class PluginError(GankitError):
    """A plugin or the environment cannot be used. Exit code 3."""

    exit_code = 3
    cause = ""
    """Why a plugin cannot be used, without its name and the remedy."""
