"""One split of one corpus looked through again, record by record, beside its `sft` rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dialoguellm_release.dataset.check_ledger import AGAIN, Recollection, first_of
from dialoguellm_release.dataset.parquet import sft_columns
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.layout import data_file
from dialoguellm_release.prompts import Prompt
from dialoguellm_release.records import ROWS_AT_ONCE, content_sha256, record_digest, records_in
from dialoguellm_release.schemas.counts import Sizes
from dialoguellm_release.schemas.dataset_manifest import CorpusFigures
from dialoguellm_release.schemas.labels import CorpusName, Label, Split
from dialoguellm_release.schemas.record import SFT_COLUMNS, Record


@dataclass
class SplitCheck:
    """Looks through one split of one corpus.

    Attributes:
        labels: Names of the class ids.
        content: The content hash of the records that were found.
    """

    folder: Path
    name: CorpusName
    split: Split
    corpus: CorpusFigures
    prompt: Prompt
    labels: Sequence[Label]
    content: str = ""
    _digests: list[bytes] = field(default_factory=list)
    _labels: Counter[Label] = field(default_factory=Counter)
    _dialogues: set[str] = field(default_factory=set)
    _of_records: list[Problem] = field(default_factory=list)
    _of_sft: list[Problem] = field(default_factory=list)

    def problems(
        self, files: Iterable[str], seen: Recollection, advance: Callable[[int], None]
    ) -> Iterator[Problem]:
        """What is wrong in the split.

        Args:
            files: Of its records.
            seen: Told of every record, for what can only be said when all are known.
            advance: Told how many records are done more.
        """
        for path in files:
            yield from self._read(path, seen, advance)
        self.content = content_sha256(self._digests)
        yield from self._figure_problems()
        yield from first_of(self._of_records)
        yield from first_of(self._of_sft)

    def _read(self, path: str, seen: Recollection, advance: Callable[[int], None]) -> Iterator[Problem]:
        held = data_file(path)
        assert held is not None
        rows = self._sft_rows(self.folder / replace(held, is_sft=True).path)
        lacking = 0
        try:
            for record in records_in(self.folder / path):
                self._take(record)
                seen.add(record, held.part)
                row = next(rows, None)
                lacking += row is None
                self._of_sft += [] if row is None else self._sft_problems(record, row)
                advance(1)
        except (DataError, OSError) as error:
            where = str(self.folder / path)
            yield from error.problems if isinstance(error, DataError) else [_unreadable(where, error)]
        additional = sum(1 for _ in rows)
        if lacking or additional:
            got = f"{lacking} rows fewer" if lacking else f"{additional} rows more"
            yield self._problem("", "the sft table lacks or has rows", "as many as records", got)

    def _take(self, record: Record) -> None:
        self._digests.append(record_digest(record))
        self._labels[record.label] += 1
        self._dialogues.add(record.dialogue_id)
        self._of_records += self._record_problems(record)

    def _figure_problems(self) -> Iterator[Problem]:
        """Counts and hash that are not the manifest's."""
        found = Sizes(dialogues=len(self._dialogues), utterances=len(self._digests))
        stated = self.corpus.labels[self.split]
        compared = (
            ("dialogues and records", self.corpus.splits[self.split].model_dump(), found.model_dump()),
            ("labels", {k: v for k, v in stated.items() if v}, dict(self._labels)),
            ("content", self.corpus.content_sha256[self.split], self.content),
        )
        for what, expected, got in compared:
            if got != expected:
                yield self._problem("", f"{what} are not the manifest's", str(expected), str(got))

    def _record_problems(self, record: Record) -> Iterator[Problem]:
        """What a record says against its place or its corpus."""
        if (record.corpus, record.split) != (self.name, self.split):
            yield self._problem(record.id, "stands in the file of another corpus or split")
        if record.label not in self.corpus.label_space:
            space = ", ".join(self.corpus.label_space)
            yield self._problem(record.id, "its label is outside its label space", space, record.label)
        if record.license != self.corpus.license:
            yield self._problem(record.id, "has another license", self.corpus.license, record.license)
        instruction = self.prompt.instruction(
            self.corpus.label_space,
            has_video=record.video_description is not None,
            has_context=bool(record.context),
        )
        if record.instruction != instruction:
            what = "its instruction is not the prompt's"
            yield self._problem(record.id, what, instruction, record.instruction)

    def _sft_rows(self, path: Path) -> Iterator[dict[str, Any]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(ROWS_AT_ONCE):
                    yield from batch.to_pylist()
        except (OSError, pa.ArrowInvalid) as error:
            self._of_sft.append(self._problem("", f"its sft table cannot be read: {error}"))

    def _sft_problems(self, record: Record, row: dict[str, Any]) -> Iterator[Problem]:
        """Whether an `sft` row is not the rendering of its record."""
        columns = sft_columns([record], self.prompt, self.labels)
        wanted = {name: values[0] for name, values in zip(SFT_COLUMNS, columns, strict=True)}
        if row != wanted:
            yield self._problem(record.id, "its sft row is not its rendering", str(wanted), str(row))

    def _problem(
        self, record_id: str, what: str, expected: str | None = None, got: str | None = None
    ) -> Problem:
        return Problem(record_id or f"{self.name}/{self.split}", what, expected, got, AGAIN)


def _unreadable(path: str, error: OSError) -> Problem:
    return Problem(path, f"cannot be read: {error.strerror or error}", fix=AGAIN)
