"""`croissant.json`: the dataset folder in the vocabulary of MLCommons' Croissant 1.1, from its manifest.

Why no library: the form is plain JSON, and mlcroissant would bring ten packages to every build; the tests
validate with it and read records back through it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from dialoguellm_release.cards.card import render_text
from dialoguellm_release.cards.dataset import corpora_held, languages_of, recipe_of
from dialoguellm_release.cards.metadata import corpora_in
from dialoguellm_release.layout import DataFile, data_file
from dialoguellm_release.schemas.corpus import CorpusEntry, CorpusLicense
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import CorpusName
from dialoguellm_release.schemas.manifests import FileStamp
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe
from dialoguellm_release.schemas.record import COLUMN_NOTES, SFT_COLUMNS

PARQUET = "application/x-parquet"
COLUMN_TYPES = dict.fromkeys(COLUMN_NOTES, "sc:Text") | {
    "label": "sc:Integer",
    "utterance_index": "sc:Integer",
    "start_s": "sc:Float",
    "end_s": "sc:Float",
}
"""The type of a column's values; of a column of lists, that of their items."""

LIST_COLUMNS = ("context", "other_labels", "leaks")

_SFT_NOTES = {
    "id": "the id of the record",
    "prompt": "what a model is given; ends without white space",
    "completion": "what it should answer: one space and the label",
} | {name: COLUMN_NOTES[name] for name in SFT_COLUMNS if name not in ("id", "prompt", "completion")}
_TERMS = """
    arrayShape citeAs column containedIn equivalentProperty extract field fileObject fileProperty fileSet
    format includes isArray isLiveDataset jsonPath key md5 parentField path recordSet references regex
    repeated replace samplingRate separator source subField transform
"""
_CONTEXT: dict[str, object] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    **{term: f"cr:{term}" for term in _TERMS.split()},
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
}
"""The vocabulary as the format prescribes it, used or not."""


def render_croissant(
    manifest: DatasetManifest,
    corpora: Mapping[CorpusName, CorpusEntry],
    tag: str | None = None,
    date: str | None = None,
) -> str:
    """The text of `croissant.json`; it describes the data files that `manifest.outputs` lists, no others.

    A build has neither version nor date; a release has a version, and a date where its recipe states one.
    No address: a copy may be anywhere.
    """
    recipe = recipe_of(manifest, DatasetRecipe)
    files = [(file, held) for file in manifest.outputs if (held := data_file(file.path))]
    present = corpora_in((file.path for file, _ in files), manifest.figures.corpora)
    here = [corpora[name] for name in corpora_held(manifest)]
    terms = [one.text_license if one.name in present else one.label_license for one in here]
    languages = languages_of(here)
    class_ids = ", ".join(f"{index} {label}" for index, label in enumerate(manifest.figures.class_labels))
    record_notes = COLUMN_NOTES | {"label": f"{COLUMN_NOTES['label']}: {class_ids}"}
    described: dict[str, object] = {
        "@context": dict(sorted(_CONTEXT.items())),
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": recipe.pretty_name,
        "description": _description(manifest, recipe),
        "citeAs": _citations([] if recipe.synthetic else here),
        "license": list(dict.fromkeys(map(_license, terms))),
        **({"inLanguage": languages[0] if len(languages) == 1 else languages} if languages else {}),
        **({"version": tag.removeprefix("v")} if tag else {}),
        **({"datePublished": date} if date else {}),
        "keywords": ["emotion recognition in conversations", "dialogue", "instruction tuning"],
    }
    if present:
        described["distribution"] = [
            *(_file_object(file, held) for file, held in files),
            _file_set("record-files", [f"data/{name}/*.parquet" for name in present]),
            _file_set("sft-files", [f"sft/*-{name}-*.parquet" for name in present]),
        ]
        described["recordSet"] = [
            _record_set("records", "record-files", "Every record, of all corpora and splits.", record_notes),
            _record_set("sft", "sft-files", "The same records as prompt and completion.", _SFT_NOTES),
        ]
    return json.dumps(described, indent=2, ensure_ascii=False) + "\n"


def _citations(entries: Iterable[CorpusEntry]) -> str:
    """The BibTeX that cards show, and what corpora ask to be cited as."""
    bibtex = render_text("model_cards", "citation.md.jinja", {}).strip().splitlines()[1:-1]
    return "\n".join([*bibtex, *(f"{one.title}: {one.citation}" for one in entries if one.citation)])


def _description(manifest: DatasetManifest, recipe: DatasetRecipe) -> str:
    synthetic = "Synthetic data, written by the project to show its software. " if recipe.synthetic else ""
    content = manifest.published.published_sha256 if manifest.published else manifest.content_sha256
    text = f"{synthetic}{recipe.description} Each record is one utterance with its emotion."
    return f"{text} Content {content}."


def _license(terms: CorpusLicense) -> str:
    """The address of an SPDX licence; of another one its id and name."""
    if terms.id.startswith("LicenseRef-"):
        return f"{terms.id} ({terms.name})"
    return f"https://spdx.org/licenses/{terms.id}"


def _file_object(file: FileStamp, held: DataFile) -> dict[str, object]:
    kind = "Prompts and completions" if held.holds == "sft" else "Records"
    return {
        "@type": "cr:FileObject",
        "@id": file.path,
        "name": file.path,
        "description": f"{kind} of {held.corpus}, split {held.split}, {held.part} part.",
        "contentUrl": file.path,
        "contentSize": f"{file.bytes} B",
        "encodingFormat": PARQUET,
        "sha256": file.sha256,
    }


def _file_set(name: str, includes: list[str]) -> dict[str, object]:
    return {"@type": "cr:FileSet", "@id": name, "name": name, "encodingFormat": PARQUET, "includes": includes}


def _record_set(name: str, file_set: str, description: str, columns: Mapping[str, str]) -> dict[str, object]:
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": description,
        "key": {"@id": f"{name}/id"},
        "field": [_field(name, file_set, column, note) for column, note in columns.items()],
    }


def _field(record_set: str, file_set: str, column: str, note: str) -> dict[str, object]:
    return {
        "@type": "cr:Field",
        "@id": f"{record_set}/{column}",
        "name": column,
        "description": note,
        "dataType": COLUMN_TYPES.get(column, "sc:Text"),
        **({"isArray": True, "arrayShape": "-1"} if column in LIST_COLUMNS else {}),
        "source": {"fileSet": {"@id": file_set}, "extract": {"column": column}},
    }
