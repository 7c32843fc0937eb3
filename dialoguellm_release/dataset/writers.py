"""The data files of one corpus and split, written part by part as the records are made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from dialoguellm_release.dataset.cleaning import PART_OF, part_sizes
from dialoguellm_release.dataset.identity import record_digest
from dialoguellm_release.dataset.parquet import RowWriter, record_columns, record_schema, sft_schema
from dialoguellm_release.layout import DataFile
from dialoguellm_release.prompts import Prompt
from dialoguellm_release.schemas.counts import PartSizes, Sizes
from dialoguellm_release.schemas.labels import CorpusName, Label, Part, Split
from dialoguellm_release.schemas.record import Record


@dataclass
class Tally:
    """What was written of one split."""

    dialogues: int = 0
    labels: Counter[Label] = field(default_factory=Counter)
    fates: Counter[int] = field(default_factory=Counter)
    digests: list[bytes] = field(default_factory=list)

    @property
    def sizes(self) -> Sizes:
        """How much it is."""
        return Sizes(dialogues=self.dialogues, utterances=len(self.digests))

    @property
    def parts(self) -> PartSizes:
        """How many records became what."""
        return part_sizes(self.fates)


class SplitWriter:
    """The files of one corpus and split: for each part its records and their `sft` rows.

    Why: records become columns as soon as they are made, while they are still in the processor's cache.

    Args:
        files: Closes the files.
    """

    def __init__(
        self, folder: Path, corpus: CorpusName, split: Split, prompt: Prompt, files: ExitStack
    ) -> None:
        self._folder, self._corpus, self._split = folder, corpus, split
        self._prompt, self._files = prompt, files
        self._writers: dict[Part, tuple[RowWriter, RowWriter]] = {}
        self.tally = Tally()

    def add(self, records: Sequence[Record], fates: Sequence[int]) -> None:
        """Takes the records of one dialogue, each with what becomes of it."""
        self.tally.dialogues += 1
        self.tally.labels.update(record.label for record in records)
        self.tally.fates.update(fates)
        self.tally.digests += map(record_digest, records)
        parts = [PART_OF[fate] for fate in fates]
        for part in dict.fromkeys(parts):
            self._write(part, [record for record, own in zip(records, parts, strict=True) if own == part])

    def _write(self, part: Part, records: Sequence[Record]) -> None:
        if part not in self._writers:
            self._writers[part] = self._open(part)
        data, sft = self._writers[part]
        data.add(record_columns(records))
        sft.add(
            [
                [record.id for record in records],
                [self._prompt.prompt(record) for record in records],
                [self._prompt.completion(record.output) for record in records],
            ]
        )

    def _open(self, part: Part) -> tuple[RowWriter, RowWriter]:
        data = self._folder / DataFile(self._corpus, self._split, part).path
        sft = self._folder / DataFile(self._corpus, self._split, part, is_sft=True).path
        return (
            self._files.enter_context(RowWriter(data, record_schema())),
            self._files.enter_context(RowWriter(sft, sft_schema())),
        )
