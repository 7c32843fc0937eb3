"""A published copy of a dataset: what it holds of each corpus, and its records as dialogues."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from dialoguellm_release.corpora.cells import Notes
from dialoguellm_release.dataset.records import context_only, line_of
from dialoguellm_release.errors import DataError, Problem, problems_of
from dialoguellm_release.folders import (
    MANIFEST,
    canonical_json,
    changed_files,
    package_versions,
    read_manifest,
    sha256_of_text,
)
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.records import natural_order, opened, rows_in
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import CorpusName, Label
from dialoguellm_release.schemas.manifests import FileStamp
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe
from dialoguellm_release.schemas.record import STANDOFF_COLUMNS, Dialogue, Record, StandoffRow, Utterance

if TYPE_CHECKING:
    import pyarrow as pa

PACKAGE = "dialoguellm-release"
_AGAIN = "fetch the published copy again"

Held = Literal["records", "standoff", "nothing"]
"""What a published copy has of a corpus: its records, rows without text, or nothing."""


@dataclass(frozen=True)
class PublishedCopy:
    """The folder of a published dataset, and its manifest."""

    folder: Path
    manifest: DatasetManifest
    # Corpora of the build that are left out of what is made from it.
    skip: frozenset[CorpusName] = frozenset()

    @property
    def held(self) -> dict[CorpusName, Held]:
        """What the copy has of each corpus of the build that is not left out."""
        return {name: self._held(name) for name in self.manifest.figures.corpora if name not in self.skip}

    @property
    def withheld(self) -> tuple[CorpusName, ...]:
        """The corpora whose text has to come from the user's copies."""
        return tuple(name for name, held in self.held.items() if held != "records")

    @cached_property
    def loaded(self) -> Loaded[DatasetRecipe]:
        """The recipe as it was resolved for the build, not a bundled one of the same name."""
        stamped = self.manifest.recipe
        try:
            recipe = DatasetRecipe.model_validate_json(json.dumps(stamped.resolved))
        except ValidationError as error:
            where, what = str(self.folder / MANIFEST), "recipe.resolved is not a recipe of this version"
            code = "hydration.unknown_recipe"
            raise DataError(problems_of(error, where, what, code=code, fix=self.version_fix)) from error
        return Loaded(stamped.name, recipe, {})

    @property
    def standoff_rows(self) -> int:
        """How many stand-off rows there are."""
        return sum(
            size.utterances
            for name, held in self.held.items()
            for size in self.manifest.figures.corpora[name].splits.values()
            if held == "standoff"
        )

    @property
    def version_fix(self) -> str | None:
        """How to install the version that built the dataset; None where it is the installed one."""
        return f"pip install {PACKAGE}=={self.other_version}" if self.other_version else None

    @property
    def other_version(self) -> str | None:
        """The version that built the dataset; None where it is the one that is installed."""
        builder = self.manifest.created_by.get(PACKAGE, "unknown")
        return None if builder == package_versions()[PACKAGE] else builder

    def rows(self, name: CorpusName) -> Iterator[StandoffRow]:
        """The stand-off rows of a corpus."""
        for file in self._files(f"standoff/{name}/"):
            yield from rows_in(self.folder / file.path, StandoffRow)

    def columns(self, name: CorpusName) -> pa.Table:
        """The stand-off rows of a corpus as columns, which are not checked."""
        import pyarrow as pa

        tables = []
        for one in self._files(f"standoff/{name}/"):
            with opened(self.folder / one.path, STANDOFF_COLUMNS) as file:
                tables.append(file.read(columns=list(STANDOFF_COLUMNS)))
        return pa.concat_tables(tables)

    def dialogues(self, name: CorpusName, label_map: Mapping[str, Label], notes: Notes) -> Iterator[Dialogue]:
        """The dialogues of a corpus from its published records, by id; notes what the manifest has of it."""
        figures = self.manifest.figures.corpora[name]
        notes.files += figures.files
        notes.unknown_files += figures.unknown_files
        notes.repairs.update(figures.repairs)
        for row in self.manifest.figures.reconciliation:
            if row.corpus == name and row.public:
                notes.public_dialogues[row.split] = row.public.dialogues
                notes.public_utterances[row.split] = row.public.utterances
        for split in figures.splits:
            turns: defaultdict[str, list[Record]] = defaultdict(list)
            for file in self._files(f"data/{name}/{split}-"):
                for record in rows_in(self.folder / file.path, Record):
                    turns[record.dialogue_id].append(record)
            for dialogue_id in sorted(turns, key=natural_order):
                records = sorted(turns[dialogue_id], key=lambda record: record.utterance_index)
                utterances = tuple(self._utterances(name, records, label_map))
                yield Dialogue(corpus=name, split=split, id=dialogue_id, utterances=utterances)

    def _utterances(
        self, name: CorpusName, records: Iterable[Record], label_map: Mapping[str, Label]
    ) -> Iterator[Utterance]:
        """The utterances of a dialogue; those without a label from the contexts, each as the line it is."""
        figures, lines, before = self.manifest.figures, list[str](), -1
        has_more = bool(figures.corpora[name].context_only)
        for record in records:
            gap, context_k = record.utterance_index - before - 1, figures.context_of(name)
            others = (has_more and context_only(record.context, lines, gap, context_k)) or []
            for index, line in enumerate(others, start=record.utterance_index - len(others)):
                yield Utterance(index=index, text=line, label=None, source_label=None)
            yield _utterance(record, label_map)
            lines += [*others, line_of(record.speaker, record.input)]
            before = record.utterance_index

    def descriptions(self) -> dict[str, str]:
        """The video descriptions of the published records, by record id."""
        import pyarrow.parquet as pq

        paths = [file.path for name in self.held for file in self._files(f"data/{name}/")]
        columns = ["id", "video_description"]
        rows = (
            row for path in paths for row in pq.read_table(self.folder / path, columns=columns).to_pylist()
        )
        return {row["id"]: row["video_description"] for row in rows if row["video_description"] is not None}

    def problems(self) -> Iterator[Problem]:
        """What does not agree with the manifest, so that nothing can be built on it."""
        recipe, figures, where = self.manifest.recipe, self.manifest.figures, str(self.folder / MANIFEST)
        if sha256_of_text(canonical_json(dict(recipe.resolved))) != recipe.sha256:
            what = "its recipe was changed after the dataset was built"
            yield Problem(where, what, fix=_AGAIN, code="hydration.recipe_changed")
        files = self._files("data/") + self._files("standoff/")
        yield from changed_files(self.folder, files, _AGAIN, "hydration")
        for name, held in self.held.items():
            folder = "data" if held == "records" else "standoff"
            for split in figures.corpora[name].splits if held != "nothing" else ():
                if not self._files(f"{folder}/{name}/{split}-"):
                    what = f"lists no file of {name}/{split} in {folder}/{name}/"
                    yield Problem(where, what, fix=_AGAIN, code="hydration.files_unlisted")

    def _held(self, name: CorpusName) -> Held:
        if self._files(f"data/{name}/"):
            return "records"
        return "standoff" if self._files(f"standoff/{name}/") else "nothing"

    def _files(self, prefix: str) -> list[FileStamp]:
        return [file for file in self.manifest.outputs if file.path.startswith(prefix)]


def open_published(folder: Path) -> PublishedCopy:
    """A published copy whose files agree with its manifest."""
    manifest = read_manifest(folder, DatasetManifest)
    if manifest.published is None:
        what = "is a dataset as it was built, with all its text: there is nothing to hydrate"
        raise DataError(
            Problem(str(folder), what, expected="a published copy", code="hydration.not_published")
        )
    copy = PublishedCopy(folder, manifest)
    problems = list(copy.problems())
    if problems:
        raise DataError(problems)
    return copy


def _utterance(record: Record, label_map: Mapping[str, Label]) -> Utterance:
    return Utterance(
        index=record.utterance_index,
        text=record.input,
        speaker=record.speaker,
        label=label_map.get(record.source_label, record.label),
        source_label=record.source_label,
        other_labels=record.other_labels,
        start_s=record.start_s,
        end_s=record.end_s,
    )
