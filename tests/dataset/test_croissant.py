"""`croissant.json`: valid for the reference reader, which gives the records back, offline."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dialoguellm_release.cards.croissant import COLUMN_TYPES, LIST_COLUMNS, render_croissant
from dialoguellm_release.corpora.registry import corpus_entry
from dialoguellm_release.hub.licenses import publishable_part
from dialoguellm_release.layout import CROISSANT
from dialoguellm_release.prompts import load_prompt
from dialoguellm_release.record_columns import record_schema
from dialoguellm_release.records import read_records
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import LABELS, SPLITS
from dialoguellm_release.schemas.record import COLUMNS, SFT_COLUMNS, Record
from dialoguellm_release.step import StepResult
from tests.corpus_names import CORPORA

if TYPE_CHECKING:
    import mlcroissant

Dataset = StepResult[DatasetManifest]
REGISTRY = {name: corpus_entry(name) for name in CORPORA}


def described(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / CROISSANT).read_text(encoding="utf-8"))
    return loaded


def rows(dataset: mlcroissant.Dataset, record_set: str) -> Iterator[dict[str, Any]]:
    """Its rows with the names of the columns; the reader gives text as bytes."""
    for row in dataset.records(record_set):
        yield {name.removeprefix(f"{record_set}/"): _text(value) for name, value in row.items()}


def _text(value: Any) -> Any:
    if isinstance(value, list):
        return [_text(one) for one in value]
    return value.decode() if isinstance(value, bytes) else value


def as_row(record: Record) -> dict[str, Any]:
    row = json.loads(record.model_dump_json())
    return {**row, "label": LABELS.index(record.label)}


def test_it_is_valid_and_only_what_no_build_knows_is_missed(demo_dataset: Dataset) -> None:
    import mlcroissant

    issues = mlcroissant.Dataset(demo_dataset.folder / CROISSANT).metadata.ctx.issues
    assert not issues.errors
    missed = [str(warning) for warning in issues.warnings]
    assert len(missed) == 2
    assert all("datePublished" in one or "schema.org/version" in one for one in missed)


def test_the_records_come_back_through_it(demo_dataset: Dataset, tmp_path: Path) -> None:
    """From another place than where it was made."""
    import mlcroissant

    folder = shutil.copytree(demo_dataset.folder, tmp_path / "elsewhere")
    records = [one for split in SPLITS for one in read_records(folder, "default", split)]
    dataset = mlcroissant.Dataset(folder / CROISSANT)
    found = {row["id"]: row for row in rows(dataset, "records")}
    assert len(found) == len(records) == sum(demo_dataset.manifest.figures.records.values())
    assert all(found[record.id] == as_row(record) for record in records)
    assert tuple(next(iter(found.values()))) == COLUMNS
    prompt = load_prompt("dialogue-v1")
    sft = {row["id"]: row for row in rows(dataset, "sft")}
    assert sft == {
        one.id: {name: value for name, value in as_row(one).items() if name in SFT_COLUMNS}
        | {"prompt": prompt.prompt(one), "completion": prompt.completion(one.output)}
        for one in records
    }


def test_every_data_file_is_listed_with_its_hash(demo_dataset: Dataset) -> None:
    listed = {
        entry["contentUrl"]: (entry["sha256"], entry["contentSize"])
        for entry in described(demo_dataset.folder)["distribution"]
        if entry["@type"] == "cr:FileObject"
    }
    assert listed == {
        file.path: (file.sha256, f"{file.bytes} B")
        for file in demo_dataset.manifest.outputs
        if file.path.endswith(".parquet")
    }
    assert len(listed) == 60


def test_a_column_has_the_type_of_its_file(demo_dataset: Dataset) -> None:
    names = {"string": "sc:Text", "int64": "sc:Integer", "double": "sc:Float"}
    schema = record_schema()
    lists = {field.name for field in schema if str(field.type).startswith("list")}
    assert lists == set(LIST_COLUMNS)
    of_files = {
        field.name: names[str(field.type.value_type if field.name in lists else field.type)]
        for field in schema
    }
    assert of_files == COLUMN_TYPES
    records, sft = described(demo_dataset.folder)["recordSet"]
    assert [field["name"] for field in records["field"]] == list(COLUMNS)
    assert {field["name"] for field in records["field"] if field.get("isArray")} == lists
    assert [field["name"] for field in sft["field"]] == list(SFT_COLUMNS)


def test_licences_are_those_of_the_corpora(demo_dataset: Dataset) -> None:
    assert described(demo_dataset.folder)["license"] == [
        "https://spdx.org/licenses/GPL-3.0-only",
        "https://spdx.org/licenses/Apache-2.0",
        "https://spdx.org/licenses/CC-BY-NC-SA-4.0",
        "LicenseRef-MEISD-none-found (no licence found)",
        "LicenseRef-IEMOCAP-release-form (USC SAIL data release form)",
    ]


def test_a_published_copy_describes_only_what_it_holds(demo_dataset: Dataset, tmp_path: Path) -> None:
    import mlcroissant

    part = publishable_part(demo_dataset.manifest, REGISTRY, "public", demo_dataset.folder)
    text = render_croissant(part, REGISTRY)
    assert "meisd" not in text.lower()
    assert "iemocap" not in text.lower()
    assert part.published is not None
    assert part.published.published_sha256 in text
    for file in part.outputs:
        (tmp_path / file.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(demo_dataset.folder / file.path, tmp_path / file.path)
    (tmp_path / CROISSANT).write_text(text, encoding="utf-8")
    dataset = mlcroissant.Dataset(tmp_path / CROISSANT)
    assert not dataset.metadata.ctx.issues.errors
    found = [row["corpus"] for row in rows(dataset, "records")]
    assert set(found) == {"meld", "emorynlp", "dailydialog"}
    assert len(found) == sum(part.published.records.values())


def test_a_release_has_version_and_date_and_nothing_is_recommended(
    demo_dataset: Dataset, tmp_path: Path
) -> None:
    import mlcroissant

    part = publishable_part(demo_dataset.manifest, REGISTRY, "public", demo_dataset.folder)
    text = render_croissant(part, REGISTRY, "v1.2.0", "2026-01-31")
    (tmp_path / CROISSANT).write_text(text, encoding="utf-8")
    metadata = mlcroissant.Dataset(tmp_path / CROISSANT).metadata
    assert metadata.version == "1.2.0"
    assert metadata.date_published is not None
    assert metadata.date_published.date().isoformat() == "2026-01-31"
    assert metadata.in_language == ["en"]
    assert not metadata.ctx.issues.errors
    missing = [one for one in metadata.ctx.issues.warnings if "datePublished" in one or "version" in one]
    assert missing == []


def test_it_is_the_same_text_each_time(demo_dataset: Dataset) -> None:
    text = (demo_dataset.folder / CROISSANT).read_text(encoding="utf-8")
    assert render_croissant(demo_dataset.manifest, REGISTRY) == text
    assert not [word for word in ("datePublished", "dateCreated", "dateModified", '"url"') if word in text]


@pytest.mark.corpora
def test_the_real_dataset_is_valid(paper_dataset: Dataset) -> None:
    import mlcroissant

    dataset = mlcroissant.Dataset(paper_dataset.folder / CROISSANT)
    assert not dataset.metadata.ctx.issues.errors
    first = next(rows(dataset, "records"))
    assert first["corpus"] in paper_dataset.manifest.figures.corpora
