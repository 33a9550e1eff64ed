"""``hf://org/name[@revision]``: the files of a repository of the Hugging Face Hub, fetched by its own library."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from gankit.cache import byte_size
from gankit.errors import UsageError
from gankit.hub.files import LIMITS, NEEDED
from gankit.json_file import shortened

__all__ = ["SCHEME", "fetched", "is_address"]

SCHEME = "hf://"
_ADDRESS = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")


def is_address(place: object) -> bool:
    return str(place).startswith(SCHEME)


def fetched(address: str) -> Path:
    """The folder with the files that `address` names, in the library's own cache.

    Of files with the names of a run's alone, of one commit, and of none that is larger than it may be. Where the Hub
    is, and who asks, are the library's settings. :class:`UsageError`, in a sentence, for whatever goes wrong.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise UsageError(f"{address} is no address: write hf://ORG/NAME, or hf://ORG/NAME@REVISION")
    hub = _library()
    name, revision = match[1], match[2]
    try:
        found = hub.HfApi().model_info(name, revision=revision, files_metadata=True)
        names = [one.rfilename for one in found.siblings if _allowed(address, one)]
        if lacking := [one for one in NEEDED if one not in names]:
            raise UsageError(f"{address} is no run that gankit export wrote: it has no {lacking[0]}.")
        folder = hub.snapshot_download(name, revision=found.sha, allow_patterns=names)
    except UsageError:
        raise
    except Exception as error:  # of the library, of its transport, of the disk
        raise UsageError(f"{address} cannot be fetched: {shortened(str(error) or type(error).__name__)}") from error
    return Path(folder)


def _allowed(address: str, one: Any) -> bool:
    """Whether a file is one that is read. :class:`UsageError` if it is too large to be."""
    limit = LIMITS.get(one.rfilename)
    if limit is not None and (one.size or 0) > limit:
        raise UsageError(
            f"{address}: {one.rfilename} has {byte_size(one.size)}; at most {byte_size(limit)} are fetched."
        )
    return limit is not None


def _library() -> Any:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read as it is imported
    try:
        import huggingface_hub
    except ImportError as error:
        raise UsageError("hf:// needs huggingface_hub: pip install 'gankit[hub]'") from error
    return huggingface_hub
