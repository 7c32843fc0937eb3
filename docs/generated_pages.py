"""The pages of the site that are made from the code: commands, recipes and functions cannot drift from it."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
SCHEMAS = sorted((ROOT / "recipes").glob("*.schema.json"))
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md"}
"""Files of the repository that are pages of the site as well."""

_LINK = re.compile(r"(?<!!)\[([^]]+)\]\(([^)#:\s]*)(#[^)\s]*)?\)")


class Examples(griffe.Extension):
    """Shows the section `Example` of docstrings as code; griffe knows it as `Examples`."""

    def on_object(self, *, obj: griffe.Object, **others: Any) -> None:
        _ = others
        if obj.docstring:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that no file under docs/ holds."""
    for name, page in PAGES.items():
        add(files, config, page, within_site((ROOT / name).read_text(encoding="utf-8"), page, "."))
    add(files, config, "reference/command-line.md", command_line())
    add(files, config, "reference/python.md", python_names())
    for path in SCHEMAS:
        add(files, config, f"reference/recipes/{path.name.split('.')[0]}.md", recipe_kind(path))
    return files


def on_page_markdown(markdown: str, page: Any, config: MkDocsConfig, files: Files) -> str:
    """Links of a page, as it is in the repository, lead within the site."""
    _ = config, files
    path = page.file.src_uri
    return markdown if page.file.generated_by else within_site(markdown, path, "docs")


def add(files: Files, config: MkDocsConfig, path: str, text: str) -> None:
    files.append(File.generated(config, path, content=text))


def within_site(text: str, page: str, folder: str) -> str:
    """A page whose links to other files of the repository name them instead.

    Args:
        page: Where it is in the site.
        folder: Where it is in the repository; its links are relative to this.
    """

    def link(match: re.Match[str]) -> str:
        words, path, anchor = match[1], match[2], match[3] or ""
        if not path:
            return match[0]
        target = posixpath.normpath(posixpath.join(folder, path))
        where = PAGES.get(target, target.removeprefix("docs/") if target.startswith("docs/") else "")
        if where.endswith(".md"):
            return f"[{words}]({posixpath.relpath(where, posixpath.dirname(page) or '.')}{anchor})"
        return words if target in words.replace("`", "") else f"{words} (`{target}`)"

    text = re.sub(r"(!\[[^]]*\]\(|<img src=\")docs/", r"\1", text) if folder == "." else text
    return _LINK.sub(link, text)


def command_line() -> str:
    """Every command with its options, from Typer."""
    import typer
    from typer.cli import get_docs_for_click
    from typer.main import get_command

    from dialoguellm_release.cli.main import app

    command = get_command(app)
    context = typer.Context(command, info_name="dlm-release")
    return get_docs_for_click(obj=command, ctx=context, name="dlm-release", title="Command line")


TOPICS = {
    "predict": "Predict",
    "steps.dataset": "Datasets",
    "steps.video": "Datasets",
    "records": "Datasets",
    "prompts": "Datasets",
    "steps.adapter": "Adapters",
    "steps.model": "Adapters",
    "steps.score": "Scores",
    "steps.compare": "Scores",
    "serve": "Scores",
    "steps.release": "Releases",
    "errors": "Errors",
}
"""Where a public name is described, by the begin of its module; under `Other` where none fits."""


def python_names() -> str:
    """Every public name by topic, with its docstring by mkdocstrings."""
    import dialoguellm_release as release

    names: dict[str, list[str]] = {topic: [] for topic in [*TOPICS.values(), "Other"]}
    for name in release.__all__:
        value = getattr(release, name)
        module = value.__module__.partition(".")[2]
        topic = next(
            (words for start, words in TOPICS.items() if f"{module}.".startswith(f"{start}.")), "Other"
        )
        names[topic] += [f"::: {value.__module__}.{value.__qualname__}", ""]
    lines = ["# Python", "", "All names are imported from `dialoguellm_release`.", ""]
    for topic, found in names.items():
        lines += [f"## {topic}", "", *found] if found else []
    return "\n".join(lines)


def recipe_kind(path: Path) -> str:
    """The keys of a kind of recipe, from its JSON Schema."""
    schema = json.loads(path.read_text(encoding="utf-8"))
    kind = path.name.split(".")[0]
    lines = [
        f"# Recipe: {kind}",
        "",
        f"`dlm-release recipe schema {kind}` prints this as JSON Schema, for editors.",
        "",
    ]
    lines += section(schema)
    for name, part in sorted(schema.get("$defs", {}).items()):
        lines += [f"## {name}", "", *section(part)]
    return "\n".join(lines)


def section(schema: Mapping[str, Any]) -> Iterator[str]:
    summary, _, attributes = schema.get("description", "").partition("Attributes:\n")
    said = dict(re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", attributes, re.MULTILINE))
    yield from (summary.strip(), "")
    if "enum" in schema:
        yield from ("One of " + ", ".join(f"`{value}`" for value in schema["enum"]) + ".", "")
    if properties := schema.get("properties"):
        yield from ("| key | type | default | |", "|---|---|---|---|")
        required = schema.get("required", [])
        for key, value in properties.items():
            default = (
                "required"
                if key in required
                else f"`{json.dumps(value['default'])}`"
                if "default" in value
                else ""
            )
            words = " ".join(said.get(key, value.get("description", "")).split())
            yield (
                "| "
                + " | ".join(
                    cell.replace("|", "\\|") for cell in (f"`{key}`", type_of(value), default, words)
                )
                + " |"
            )
        yield ""


def type_of(value: Mapping[str, Any]) -> str:
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for way in ("anyOf", "oneOf", "allOf"):
        if way in value:
            return " or ".join(dict.fromkeys(map(type_of, value[way])))
    if "const" in value or "enum" in value:
        return ", ".join(f"`{one}`" for one in value.get("enum", [value.get("const")]))
    if value.get("type") == "array":
        return f"list of {type_of(value['items'])}" if "items" in value else "list"
    if value.get("type") == "object":
        values = value.get("additionalProperties")
        return f"mapping to {type_of(values)}" if isinstance(values, dict) else "mapping"
    return str(value.get("type", "any"))
