"""Cards as text: metadata in YAML, a body from a template, tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import jinja2
import yaml

from dialoguellm_release.render.tables import Table
from dialoguellm_release.resources import record, resource_folder

FENCE = "---\n"


def render_card(
    folder: str, template: str, metadata: Mapping[str, object], body: Mapping[str, object]
) -> str:
    """A card: front matter from data, then the body from a template.

    Args:
        folder: `dataset_cards` or `model_cards`; sections that both have lie in `model_cards`.
        template: File name in that folder.
        body: The names that the template may use; one that it lacks is an error, never blank.
    """
    return f"{front_matter(metadata)}\n{render_text(folder, template, body)}"


def render_text(folder: str, template: str, body: Mapping[str, object]) -> str:
    """A text from a template, without metadata; the arguments are those of `render_card`."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(partial(_template, [folder, "model_cards"])),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(body)


def _template(folders: Sequence[str], name: str) -> str | None:
    """The text of a template from the first folder that has it."""
    paths = (resource_folder(folder) / name for folder in folders)
    found = next((path for path in paths if path.is_file()), None)
    return record(found).read_text(encoding="utf-8") if found else None


def front_matter(metadata: Mapping[str, object]) -> str:
    """Metadata as the YAML that a card begins with."""
    text = yaml.dump(dict(metadata), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=10_000)
    return f"{FENCE}{text}{FENCE}"


class _Plain(yaml.SafeDumper):
    """Writes what occurs twice twice: the reader of a card should not have to follow anchors."""

    def ignore_aliases(self, _data: object) -> bool:
        return True


def _quoted_where_it_breaks(dumper: _Plain, text: str) -> yaml.ScalarNode:
    """Text as it is; in double quotes where YAML takes a character for a line break, and would lose it."""
    style = '"' if any(one in text for one in "\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Plain.add_representer(str, _quoted_where_it_breaks)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of a card."""
    return Table(header, rows).markdown()
