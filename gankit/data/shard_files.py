"""Bytes of shards, by the number of a shard: of local files, or of any that fsspec reaches (s3, gcs, http, ...)."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

from gankit.cache import cache_directory, make_room, use
from gankit.errors import GankitError, UsageError
from gankit.events import OnEvent, Progress
from gankit.files import open_regular

__all__ = ["ShardFiles", "content", "is_remote", "join", "reached", "unread"]


def is_remote(place: str) -> bool:
    """Whether `place` is a URL, and no path."""
    return "://" in place


def join(root: str, name: str) -> str:
    """The file `name` of the directory or URL `root`."""
    return f"{root.rstrip('/')}/{name}" if is_remote(root) else str(Path(root) / name)


def reached(url: str) -> tuple[Any, str]:
    """The fsspec file system of `url`, and what it calls the file. :class:`UsageError` if it cannot be had."""
    import fsspec

    try:
        return fsspec.core.url_to_fs(url)
    except Exception as error:  # no package for it, no such scheme, no credentials, ...
        raise UsageError(f"{url} cannot be reached: {' '.join(str(error).split())[:200]}") from error


def content(place: str) -> bytes | None:
    """All of a file; None if there is none, or nobody may know. :class:`UsageError` if it cannot be read."""
    try:
        if is_remote(place):
            system, path = reached(place)
            return bytes(system.cat_file(path))
        with open_regular(place) as file:
            return file.read()
    except FileNotFoundError:
        return None
    except PermissionError as error:
        if is_remote(place):  # stores say so of what is not there
            return None
        raise unread(place, error) from error
    except UsageError:
        raise
    except Exception as error:  # of whatever library reaches it
        raise unread(place, error) from error


def unread(place: str, error: Exception) -> UsageError:
    """The error for a file that cannot be read, or not reached."""
    said = (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split())[:200]
    return UsageError(f"{place} cannot be read ({type(error).__name__}: {said})")


class ShardFiles:
    """The shards at `places`, paths or URLs, of `sizes` bytes; `version` changes with what is in them.

    :meth:`read` may be called from several threads. Of remote shards :meth:`load` fetches those that are `chosen` into
    the cache, which may hold `disk` bytes of shards; of the others just what is asked for is read, each time.
    """

    def __init__(
        self, places: Sequence[str], sizes: Sequence[int], version: str, chosen: frozenset[str], disk: int
    ) -> None:
        self.places, self.sizes, self.version = tuple(places), tuple(sizes), version
        self._chosen, self._disk = chosen, disk
        self._copies: dict[int, Path] = {}
        self._problem = ""

    def read(self, shard: int, offset: int, length: int) -> bytes:
        """The bytes of a shard from `offset` on. :class:`UsageError` if it cannot be read, or is shorter."""
        if not shard < len(self.places):
            raise UsageError(f"an index names shard {shard} of {len(self.places)}: pack them again")
        place = self.places[shard]
        if (copy := self._copies.get(shard)) is not None:
            with suppress(OSError):  # another process may have made room
                data = _read(copy, offset, length)
                if len(data) == length:
                    return data
        try:
            if is_remote(place):
                system, path = reached(place)
                data = bytes(system.cat_file(path, start=offset, end=offset + length))
            else:
                data = _read(Path(place), offset, length)
        except UsageError:
            raise
        except Exception as error:  # of whatever library reaches it
            raise unread(place, error) from error
        if len(data) != length:
            what = "is shorter than" if len(data) < length else "sends more than it is asked for, or is not"
            raise UsageError(f"{place} {what} it was when its samples were counted: pack it again")
        return data

    def load(self, tell: OnEvent) -> None:
        """Fetch what is chosen of remote shards, telling :class:`~gankit.events.Progress`."""
        todo = [n for n, place in enumerate(self.places) if place in self._chosen and n not in self._copies]
        for done, shard in enumerate(todo):
            tell(Progress(what="fetching shards", done=done, total=len(todo)))
            try:
                self._copies[shard] = self._copy(shard)
            except (GankitError, OSError) as error:
                self._problem = str(error)
        if todo:
            tell(Progress(what="fetching shards", done=len(todo), total=len(todo)))

    def _copy(self, shard: int) -> Path:
        """A shard in the cache, fetched unless it is there. GankitError or OSError if it cannot be."""
        place, size = self.places[shard], self.sizes[shard]
        folder = cache_directory() / "shards"
        folder.mkdir(parents=True, exist_ok=True)
        known = f"{place} {size} {self.version}".encode("utf-8", "surrogatepass")
        path = folder / f"{blake2b(known, digest_size=16).hexdigest()}.tar"
        if path.is_file() and path.stat().st_size == size:
            os.utime(path)
            return path
        if reason := make_room(folder, size, self._disk):
            raise GankitError(reason)
        system, source = reached(place)
        unfinished = folder / f".tmp-{secrets.token_hex(8)}"
        with open(unfinished, "wb") as held:
            use(held.fileno())
            try:
                system.get_file(source, str(unfinished))
                if unfinished.stat().st_size != size:
                    raise UsageError(f"{place} has another size than its index says: pack it again")
                os.replace(unfinished, path)
            except GankitError:
                raise
            except Exception as error:  # of whatever library reaches it
                raise unread(place, error) from error
            finally:
                with suppress(OSError):
                    unfinished.unlink()
        return path

    def notes(self) -> list[str]:
        """What the user should know: shards that are read from afar each time."""
        far = sum(map(is_remote, self.places)) - len(self._copies)
        if not far:
            return []
        why = self._problem or "--data.cache-gib says how much is kept"
        return [f"{far} of {len(self.places)} shards are read from afar each time: {why}"]


def _read(path: Path, offset: int, length: int) -> bytes:
    with open_regular(path) as file:
        file.seek(offset)
        return file.read(length)
