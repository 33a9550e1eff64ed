"""Pages of the site that are made of what stands elsewhere: the README, the plugins' READMEs, the commands' help."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from mkdocs.structure.files import File
from typer.cli import get_docs_for_click

from gankit.cli.main import build

ROOT = Path(__file__).parents[1]
PLUGINS = sorted(ROOT.glob("plugins/*/README.md"))
SOURCE = "https://github.com/gankit/gankit/tree/main/"


def on_config(config: Any) -> Any:
    """The plugins' pages stand behind the list of variants."""
    use = next(part["Use"] for part in config.nav if "Use" in part)
    if not any(isinstance(part, dict) and "Each plugin" in part for part in use):
        use.insert(1, {"Each plugin": [{name(page): f"gallery/{name(page)}.md"} for page in PLUGINS]})
    return config


def on_files(files: Any, config: Any) -> Any:
    for path, text in made():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links out of docs/ lead to the pages made of what they name, or to the source."""
    return placed(markdown, page.file.src_uri, f"docs/{page.file.src_uri}") if not page.file.generated_by else markdown


def on_page_content(html: str, **_: Any) -> str:
    """Docstrings say what a name is, ":class:`Run`", as Sphinx wants it; a reader sees that by the name."""
    return re.sub(r":(?:class|func|meth|data|attr|mod):<code>~?(?:gankit\.[\w.]*\.)?", "<code>", html)


def made() -> Iterator[tuple[str, str]]:
    """Path in the site, and text."""
    yield "index.md", placed((ROOT / "README.md").read_text(encoding="utf-8"), "index.md", "README.md")
    for page in PLUGINS:
        path = f"gallery/{name(page)}.md"
        yield path, placed(page.read_text(encoding="utf-8"), path, str(page.relative_to(ROOT)))
    yield "changelog.md", placed((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), "changelog.md", "CHANGELOG.md")
    yield "commands.md", commands()


def name(readme: Path) -> str:
    return readme.parent.name.removeprefix("gankit-plugin-")


def placed(text: str, page: str, file: str) -> str:
    """`text` of the repository's `file`, with its links as they are from `page` of the site."""
    here, up = (ROOT / file).parent, "../" * page.count("/")

    def moved(match: re.Match[str]) -> str:
        target, hash_, anchor = match[1].partition("#")
        if not target or "://" in target:
            return match[0]
        path = (here / target).resolve()
        if not path.exists():
            return match[0]  # for mkdocs to complain of
        inside = path.relative_to(ROOT)
        if path in PLUGINS:
            where = f"{up}gallery/{name(path)}.md"
        elif inside.parts[0] == "docs" and path.suffix in (".md", ".png"):
            where = up + "/".join(inside.parts[1:])
        elif inside.name in ("README.md", "CHANGELOG.md") and len(inside.parts) == 1:
            where = up + {"README.md": "index.md", "CHANGELOG.md": "changelog.md"}[inside.name]
        else:
            where = SOURCE + str(inside)
        return f"]({where}{hash_}{anchor})"

    parts = re.split(r"(```.*?```)", text, flags=re.DOTALL)  # what is in code is no link
    return "".join(part if part.startswith("```") else re.sub(r"\]\(([^)\s]+)\)", moved, part) for part in parts)


def commands() -> str:
    """Every command's help, and its options."""
    command = typer.main.get_command(build())
    text = get_docs_for_click(obj=command, ctx=typer.Context(command, info_name="gankit"), name="gankit")
    variants = "\n".join(f"- `gankit run {name(page)} --help`" for page in PLUGINS)
    return f"{text}\n\nWhat a variant's own options are it says itself, and its page here:\n\n{variants}\n"
