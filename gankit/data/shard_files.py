"""Bytes of shards, by the number of a shard: of local files, or of any that fsspec reaches (s3, gcs, http, ...)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

from gankit.cache import byte_size, cache_directory, make_room, use
from gankit.errors import UsageError
from gankit.events import OnEvent, Progress
from gankit.files import open_regular

__all__ = ["ShardFiles", "content", "is_remote", "join", "reached"]


def is_remote(place: str) -> bool:
    """Whether `place` is a URL, and no path."""
    return "://" in place


def join(root: str, name: str) -> str:
    """The file `name` of the directory or URL `root`."""
    return f"{root.rstrip('/')}/{name}" if is_remote(root) else str(Path(root) / name)


def reached(url: str) -> tuple[Any, str]:
    """The fsspec file system of `url`, and what it calls the file. :class:`UsageError` if there is no such system."""
    import fsspec

    try:
        return fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:  # no package for it, no such scheme
        raise UsageError(f"{url} cannot be reached: {' '.join(str(error).split())}") from error


def content(place: str) -> bytes | None:
    """All of a file; None if there is no such file. :class:`UsageError` if it cannot be read."""
    try:
        if is_remote(place):
            system, path = reached(place)
            return bytes(system.cat_file(path))
        with open_regular(place) as file:
            return file.read()
    except FileNotFoundError:
        return None
    except UsageError:
        raise
    except Exception as error:  # of whatever library reaches it
        raise _unread(place, error) from error


class ShardFiles:
    """The shards at `places`, paths or URLs, of `sizes` bytes.

    :meth:`read` may be called from several threads. Of remote shards :meth:`load` fetches as many as `disk` bytes of
    the cache hold, the first ones: all are asked for equally often, so that none would be a better choice. Of the
    others just what is asked for is read, each time.
    """

    def __init__(self, places: Sequence[str], sizes: Sequence[int], disk: int) -> None:
        self.places, self.sizes, self._disk = tuple(places), tuple(sizes), disk
        self._held: dict[int, Any] = {}  # open, so that no other process makes room by removing them
        self._no_disk = ""

    @property
    def _remote(self) -> bool:
        return any(map(is_remote, self.places))

    def read(self, shard: int, offset: int, length: int) -> bytes:
        """The bytes of a shard from `offset` on. :class:`UsageError` if it cannot be read, or is shorter."""
        place = self.places[shard]
        try:
            if (file := self._held.get(shard)) is not None:
                data = os.pread(file.fileno(), length, offset)
            elif is_remote(place):
                system, path = reached(place)
                data = bytes(system.cat_file(path, start=offset, end=offset + length))
            else:
                with open_regular(place) as file:
                    data = os.pread(file.fileno(), length, offset)
        except UsageError:
            raise
        except Exception as error:  # of whatever library reaches it
            raise _unread(place, error) from error
        if len(data) != length:
            raise UsageError(f"{place} is shorter than it was when its samples were counted: pack it again")
        return data

    def load(self, tell: OnEvent) -> None:
        """Fetch remote shards into the cache, as many as it may hold, telling :class:`~gankit.events.Progress`."""
        if not self._remote or self._no_disk:
            return
        wanted, left = [], self._disk
        for shard, size in enumerate(self.sizes):
            if size > left:
                break
            wanted, left = [*wanted, shard], left - size
        if len(wanted) < len(self.sizes):
            self._no_disk = f"{byte_size(sum(self.sizes))} in all, {byte_size(self._disk)} are allowed"
        todo = [shard for shard in wanted if shard not in self._held]
        for done, shard in enumerate(todo):
            tell(Progress(what="fetching shards", done=done, total=len(todo)))
            if reason := self._hold(shard):
                self._no_disk = reason
                return
        if todo:
            tell(Progress(what="fetching shards", done=len(todo), total=len(todo)))

    def _hold(self, shard: int) -> str:
        """Fetches a shard unless it is there, and holds it. "" or why there is no place for it."""
        place, size = self.places[shard], self.sizes[shard]
        try:
            folder = cache_directory() / "shards"
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{blake2b(f'{place} {size}'.encode(), digest_size=16).hexdigest()}.tar"
            if not path.is_file() or path.stat().st_size != size:
                if reason := make_room(folder, size, self._disk):
                    return reason
                self._fetch(place, path, size)
            file = open(path, "rb")  # noqa: SIM115
            use(file.fileno())
            os.utime(path)
        except OSError as error:
            return f"no cache on disk ({error.strerror or error})"
        self._held[shard] = file
        return ""

    @staticmethod
    def _fetch(place: str, path: Path, size: int) -> None:
        system, source = reached(place)
        unfinished = path.with_name(f".tmp-{os.getpid()}-{path.name}")
        try:
            system.get_file(source, str(unfinished))
            if unfinished.stat().st_size != size:
                raise UsageError(f"{place} has another size than its index says: pack it again")
            os.replace(unfinished, path)
        except (OSError, UsageError):
            raise
        except Exception as error:
            raise _unread(place, error) from error
        finally:
            with suppress(OSError):
                unfinished.unlink()

    def notes(self) -> list[str]:
        """What the user should know: shards that are read from afar each time."""
        if not self._no_disk:
            return []
        far = len(self.places) - len(self._held)
        return [f"{far} of {len(self.places)} shards are read from afar each time (--data.cache-gib): {self._no_disk}"]


def _unread(place: str, error: Exception) -> UsageError:
    said = (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split())[:200]
    return UsageError(f"{place} cannot be read ({type(error).__name__}: {said})")
