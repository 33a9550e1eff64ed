"""What `make dist` makes is installed as by a user, beside the packages that are here but apart from the source tree:
from the wheels alone and from the source distributions alone gankit trains, and a stranger's plugin beside it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from apart import Apart
from by_path import load
from libraries import misfits, newest, undefined

import gankit

for tool in ("build", "twine", "auditwheel"):
    pytest.importorskip(tool, reason="pip install --group dist")

ROOT = Path(__file__).parent.parent
PLUGINS = sorted((ROOT / "plugins").glob("gankit-plugin-*"))
NAMES = ["gankit", *(plugin.name for plugin in PLUGINS)]
SMALL = ("--steps", "3", "--batch-size", "8", "--device", "cpu", "--eval-every", "0", "--data.size", "16")
needs_binutils = pytest.mark.skipif(not (shutil.which("nm") and shutil.which("readelf")), reason="no binutils")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="wheels are made on Linux")


dist = load(ROOT / "tools" / "dist.py")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what `make dist` makes."""
    out = tmp_path_factory.mktemp("dist")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("GANKIT_", "TORCH_CUDA"))}
    command = [sys.executable, ROOT / "tools" / "dist.py", "--out", out]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=1800)
    assert done.returncode == 0, done.stderr
    assert all(path.name in done.stdout for path in out.iterdir())
    return out


@pytest.fixture(scope="module")
def from_wheels(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Apart:
    apart = Apart(tmp_path_factory.mktemp("wheels") / "apart")
    apart.install(*NAMES, options=("--find-links", str(made), "--only-binary", ":all:"))
    return apart


def trains(apart: Apart, variant: str, *options: str) -> None:
    """A few steps, and samples of them."""
    said = apart.run("gankit", "run", variant, *options)
    assert "next: gankit sample" in said
    (run,) = (path for path in apart.home.glob(f"runs/{variant}-*/*") if path.name.isdigit())
    apart.run("gankit", "sample", run, "--n", "4")
    assert (run / "sample-0001.png").stat().st_size > 100
    assert (run / "report.html").is_file()


def facts(apart: Apart) -> dict[str, str]:
    said = json.loads(apart.run("gankit", "doctor", "--json"))
    assert said["ok"], said
    return {fact["name"]: fact["value"] for fact in said["facts"]}


def test_one_of_each_and_no_more(made: Path) -> None:
    expected = {f"{name.replace('-', '_')}-{gankit.__version__}" for name in NAMES}
    assert {path.name.removesuffix(".tar.gz") for path in made.glob("*.tar.gz")} == expected
    wheels = [path.name for path in made.glob("*.whl")]
    assert {"-".join(name.split("-")[:2]) for name in wheels} == expected
    assert len(wheels) == len(expected)
    assert len(list(made.iterdir())) == 2 * len(expected)


@pytest.mark.parametrize("name", NAMES)
def test_a_wheel_holds_the_package_and_nothing_else(made: Path, name: str) -> None:
    folder = ROOT if name == "gankit" else ROOT / "plugins" / name
    module = name.replace("-", "_")
    (wheel,) = made.glob(f"{module}-[0-9]*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {path for path in archive.namelist() if not path.endswith("/")}
        info = f"{module}-{gankit.__version__}.dist-info"
        metadata = {path.removeprefix(f"{info}/") for path in held if path.startswith(info)}
        assert metadata == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "top_level.txt", "licenses/LICENSE"}
        assert archive.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
        for group, points in tomllib.loads((folder / "pyproject.toml").read_text())["project"]["entry-points"].items():
            assert f"[{group}]" in archive.read(f"{info}/entry_points.txt").decode()
            assert all(value in archive.read(f"{info}/entry_points.txt").decode() for value in points.values())
        links = re.findall(r"\]\(([^)\s]+)\)", archive.read(f"{info}/METADATA").decode())
        assert all("://" in link or link.startswith("#") for link in links)
    tracked = {str(path) for path in dist.sources(folder) if path.parts[0] == module}
    libraries = {path for path in held if path.endswith(".so")}
    assert held - libraries - {f"{info}/{path}" for path in metadata} == tracked
    assert {Path(path).name.split(".")[0] for path in libraries} == ({"_C"} if name == "gankit" else set())


@pytest.mark.parametrize("name", NAMES)
def test_a_source_distribution_holds_what_is_built_and_no_tests_of_the_repository(made: Path, name: str) -> None:
    folder = ROOT if name == "gankit" else ROOT / "plugins" / name
    (archive,) = made.glob(f"{name.replace('-', '_')}-[0-9]*.tar.gz")
    with tarfile.open(archive) as tar:
        held = {member.name.partition("/")[2] for member in tar if member.isfile()}
        assert not [member.name for member in tar if not (member.isfile() or member.isdir())]  # no link
    generated = {path for path in held if path in ("PKG-INFO", "setup.cfg") or ".egg-info/" in path}
    left_out = {"Makefile", "conftest.py", "mkdocs.yml", ".gitignore"}
    assert held - generated == {path.as_posix() for path in dist.sources(folder)} - left_out


def test_wheels_alone_train(from_wheels: Apart) -> None:
    said = facts(from_wheels)
    assert said["gankit"] == gankit.__version__
    assert said["kernels"].startswith("CPU: kernels")
    assert {name.partition(" ")[2] for name in said} >= {
        plugin.name.removeprefix("gankit-plugin-") for plugin in PLUGINS
    } - {"earth"}
    where = from_wheels.run("python", "-c", "import gankit.ops, gankit._C as c; print(gankit.__file__, c.__file__)")
    assert all(path.startswith(str(from_wheels.site)) for path in where.split())
    assert "dcgan" in from_wheels.run("gankit", "list")
    trains(from_wheels, "dcgan", *SMALL)


def test_source_distributions_alone_train(made: Path, tmp_path: Path) -> None:
    sources = tmp_path / "sources"
    sources.mkdir()
    for archive in made.glob("*.tar.gz"):
        shutil.copy(archive, sources)
    apart = Apart(tmp_path / "apart")
    options = ("--find-links", str(sources), "--no-binary", ",".join(NAMES))
    apart.install("gankit-plugin-dcgan", options=options)  # which needs gankit and another plugin
    assert facts(apart)["kernels"].startswith("CPU: kernels")
    trains(apart, "dcgan", *SMALL)


def test_a_strangers_plugin_installs_beside_them(from_wheels: Apart) -> None:
    from_wheels.run("gankit", "plugins", "new", "strange")
    folder = from_wheels.home / "gankit-plugin-strange"
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", from_wheels.home / "published", folder]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = from_wheels.home.glob("published/*.whl")
    shutil.rmtree(folder)
    from_wheels.install(wheel)
    assert "keeps the contract" in from_wheels.run("gankit", "plugins", "check", "strange")
    trains(from_wheels, "strange", "--steps", "10", "--device", "cpu")
    assert {"variant strange", "variant dcgan"} <= facts(from_wheels).keys()


@needs_binutils
def test_the_library_is_for_other_systems_and_other_torches(made: Path, tmp_path: Path) -> None:
    (wheel,) = made.glob("gankit-[0-9]*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".so"))
        library = Path(archive.extract(name, tmp_path))
    assert not misfits(library)
    tag = re.search(r"-manylinux_(\d+)_(\d+)_\w+\.whl$", wheel.name)
    assert tag, wheel.name
    assert (2,) < newest(undefined(library), "GLIBC") <= (int(tag[1]), int(tag[2]))
    here = [str(ROOT), str(Path(sys.prefix)), os.path.realpath(sys.prefix), "/tmp"]
    assert not [path for path in here if path.encode() in library.read_bytes()]


def test_built_again_it_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    plugin = next(plugin for plugin in PLUGINS if plugin.name == "gankit-plugin-cut")
    bytes_of = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        bytes_of.append({path.name: path.read_bytes() for path in dist.build(plugin, tmp_path / name, ("cpu",))})
    assert len(bytes_of[0]) == 2
    assert bytes_of[0] == bytes_of[1]


def test_earlier_builds_go_and_other_files_stay(tmp_path: Path) -> None:
    old = [
        "gankit-0.0.9.tar.gz",
        "gankit-0.1.0+cu130-cp311-cp311-linux_x86_64.whl",
        "gankit_plugin_a-0.1.0-py3-none-any.whl",
    ]
    others = [
        "gankit_plugin_b-0.1.0-py3-none-any.whl",
        "gankit_plugin_a_b-1.0.tar.gz",
        "notes.txt",
        "gankit-data.tar.gz",
    ]
    for name in old + others:
        (tmp_path / name).touch()
    assert [path.name for path in dist.outdated(tmp_path, ["gankit", "gankit-plugin-a"])] == sorted(old)


def test_a_failed_build_changes_nothing_and_says_why(tmp_path: Path) -> None:
    kept = tmp_path / "gankit-0.0.9.tar.gz"
    kept.touch()
    environment = os.environ | {"CXX": "no-such-compiler", "CC": "no-such-compiler"}
    command = [sys.executable, ROOT / "tools" / "dist.py", "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900)
    assert done.returncode == 1
    assert "no cpu wheel: gankit._C cannot be built" in done.stderr
    assert "Traceback (most recent call last)" not in done.stderr.splitlines()[0]
    assert list(tmp_path.iterdir()) == [kept]


@pytest.mark.parametrize("folder", [ROOT, *PLUGINS], ids=NAMES)
def test_links_of_readmes_lead_somewhere(folder: Path) -> None:
    text = dist.linked((folder / "README.md").read_text(), folder, "v1")
    links = re.findall(rf"\]\({dist.PAGES}/(?:blob|raw)/v1/([^)#\s]+)", text)
    assert all((ROOT / link).is_file() for link in links), links
    assert not re.search(r"\]\((?!https?://|#)", text)
