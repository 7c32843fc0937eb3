"""A dataset folder looked through again: files, records, counts, hashes, contexts and the `sft` table."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from dialoguellm_release.dataset.context import line_of
from dialoguellm_release.dataset.identity import content_sha256, record_digest
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import combined_sha256, file_problems
from dialoguellm_release.prompts import Prompt, load_prompt
from dialoguellm_release.records import records_in
from dialoguellm_release.schemas.labels import CorpusName, Split
from dialoguellm_release.schemas.manifest import CorpusFigures, DatasetManifest, Sizes
from dialoguellm_release.schemas.record import Record

MAX_SHOWN = 5
AGAIN = "build the dataset again"


def dataset_problems(
    folder: Path, manifest: DatasetManifest, advance: Callable[[int], None]
) -> Iterator[Problem]:
    """Everything in a dataset folder that is not as its manifest, its schema and its recipe say.

    Of a published copy, only the corpora that it holds are looked at.

    Args:
        advance: Told how many records are done more.
    """
    yield from file_problems(folder, manifest)
    figures = manifest.figures
    prompt = load_prompt(figures.prompt)
    if prompt.sha256 != figures.prompt_sha256:
        what = f"was built with another {figures.prompt} than the one that is installed"
        yield Problem(str(folder), what, figures.prompt_sha256, prompt.sha256, AGAIN)
    digests: dict[str, str] = {}
    for name, corpus in figures.corpora.items():
        for split in corpus.splits:
            files = _files(folder, manifest, f"data/{name}/{split}-")
            if not files and manifest.published is not None:
                continue
            checked = _SplitCheck(name, split, corpus, figures.context_k, prompt)
            yield from checked.problems(files, _files(folder, manifest, f"sft/{split}-{name}-"), advance)
            digests[f"{name}/{split}"] = checked.content
    expected = manifest.published.published_sha256 if manifest.published else manifest.content_sha256
    got = combined_sha256(digests.items())
    if got != expected:
        yield Problem(str(folder), "its records are not those of the build", expected, got, AGAIN)


def _files(folder: Path, manifest: DatasetManifest, prefix: str) -> list[Path]:
    return [folder / file.path for file in manifest.outputs if file.path.startswith(prefix)]


class _SplitCheck:
    """Looks through one split of one corpus.

    Attributes:
        content: The content hash of the records that were found.
    """

    def __init__(
        self, name: CorpusName, split: Split, corpus: CorpusFigures, context_k: int, prompt: Prompt
    ) -> None:
        self._name, self._split, self._corpus = name, split, corpus
        self._context_k, self._prompt = context_k, prompt
        self.content = ""

    def problems(
        self, data: list[Path], sft: list[Path], advance: Callable[[int], None]
    ) -> Iterator[Problem]:
        records: list[Record] = []
        for path in data:
            try:
                for record in records_in(path):
                    records.append(record)
                    advance(1)
            except (DataError, OSError) as error:
                yield from error.problems if isinstance(error, DataError) else [_unreadable(path, error)]
        self.content = content_sha256(map(record_digest, records))
        yield from self._figure_problems(records)
        yield from _first(self._record_problems(records))
        yield from _first(self._context_problems(records))
        yield from _first(self._sft_problems(records, sft))

    def _figure_problems(self, records: list[Record]) -> Iterator[Problem]:
        """Counts and hash that are not the manifest's."""
        found = Sizes(dialogues=len({record.dialogue_id for record in records}), utterances=len(records))
        labels = Counter(record.label for record in records)
        compared = (
            ("dialogues and records", self._corpus.splits[self._split].model_dump(), found.model_dump()),
            ("labels", {k: v for k, v in self._corpus.labels[self._split].items() if v}, dict(labels)),
            ("content", self._corpus.content_sha256[self._split], self.content),
        )
        for what, expected, got in compared:
            if got != expected:
                yield self._problem("", f"{what} are not the manifest's", str(expected), str(got))

    def _record_problems(self, records: list[Record]) -> Iterator[Problem]:
        """Records that contradict their place, their corpus or each other."""
        ids = Counter(record.id for record in records)
        for record in records:
            if (record.corpus, record.split) != (self._name, self._split):
                yield self._problem(record.id, "stands in the file of another corpus or split")
            if record.label not in self._corpus.label_space:
                space = ", ".join(self._corpus.label_space)
                yield self._problem(record.id, "its label is outside its label space", space, record.label)
            if record.license != self._corpus.license:
                yield self._problem(record.id, "has another license", self._corpus.license, record.license)
            if ids[record.id] > 1:
                yield self._problem(record.id, f"stands there {ids[record.id]} times")
            instruction = self._prompt.instruction(
                self._corpus.label_space,
                has_video=record.video_description is not None,
                has_context=bool(record.context),
            )
            if record.instruction != instruction:
                what = "its instruction is not the prompt's"
                yield self._problem(record.id, what, instruction, record.instruction)

    def _context_problems(self, records: list[Record]) -> Iterator[Problem]:
        """Records whose context is not the utterances before them in their dialogue."""
        dialogues: defaultdict[str, list[Record]] = defaultdict(list)
        for record in records:
            dialogues[record.dialogue_id].append(record)
        for turns in dialogues.values():
            turns.sort(key=lambda record: record.utterance_index)
            lines = [line_of(record.speaker, record.input) for record in turns]
            for position, record in enumerate(turns):
                expected = tuple(lines[max(0, position - self._context_k) : position])
                if record.context != expected:
                    what = "its context is not the utterances before it"
                    yield self._problem(record.id, what, str(expected), str(record.context))

    def _sft_problems(self, records: list[Record], files: list[Path]) -> Iterator[Problem]:
        """Rows of the `sft` table that are not the rendering of the records, in their order."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            rows = [row for path in files for row in pq.read_table(path).to_pylist()]
        except (OSError, pa.ArrowInvalid) as error:
            yield self._problem("", f"its sft table cannot be read: {error}")
            return
        expected = [
            {
                "id": record.id,
                "prompt": self._prompt.prompt(record),
                "completion": self._prompt.completion(record.output),
            }
            for record in records
        ]
        if len(rows) != len(expected):
            yield self._problem("", "the sft table lacks or has rows", str(len(expected)), str(len(rows)))
        for wanted, row in zip(expected, rows, strict=False):
            if row != wanted:
                yield self._problem(wanted["id"], "its sft row is not its rendering", str(wanted), str(row))

    def _problem(
        self, record_id: str, what: str, expected: str | None = None, got: str | None = None
    ) -> Problem:
        return Problem(record_id or f"{self._name}/{self._split}", what, expected, got, AGAIN)


def _unreadable(path: Path, error: OSError) -> Problem:
    return Problem(str(path), f"cannot be read: {error.strerror or error}", fix=AGAIN)


def _first(problems: Iterator[Problem]) -> Iterator[Problem]:
    """The first few problems, and how many more there are."""
    found = list(problems)
    yield from found[:MAX_SHOWN]
    if len(found) > MAX_SHOWN:
        more = len(found) - MAX_SHOWN
        yield Problem(found[-1].where, f"and {more} more problems of this kind, the last one here")
