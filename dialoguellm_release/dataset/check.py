"""Checks the content of a dataset folder: records, counts, hashes, contexts, sft rows, and the audit."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import count, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dialoguellm_release.dataset.records import context_only, counts_of, instructions_of, lines_of, sft_table
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import combined_sha256
from dialoguellm_release.layout import AUDIT, config_files, data_file
from dialoguellm_release.leakage.audit import PART_OF, Ledger, audit_as_json, make_ledger, part_sizes
from dialoguellm_release.leakage.shared import bit_of, no_bits, split_names
from dialoguellm_release.leakage.turns import TurnCollector, Turns, of_records, turns_before
from dialoguellm_release.prompts import Prompt, prompt_of_dataset
from dialoguellm_release.record_columns import BatchedRows, by_distinct, record_digests
from dialoguellm_release.records import ROWS_AT_ONCE, columns_in, content_sha256
from dialoguellm_release.schemas.audit import Sizes
from dialoguellm_release.schemas.dataset_manifest import CorpusFigures, DatasetFigures, DatasetManifest
from dialoguellm_release.schemas.labels import PARTS, SPLITS, CorpusName, Label, Part, Split
from dialoguellm_release.schemas.recipes.dataset import CleanRules
from dialoguellm_release.schemas.record import SFT_COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

    from dialoguellm_release.leakage.turns import Decisions, Flags, Numbers

MAX_SHOWN = 5
AGAIN = "build the dataset again"

_FACTOR, _WRAP = 0x9E3779B97F4A7C15, (1 << 64) - 1


class _RecordIndex:
    """What is kept of every record for the checks that need all of them: numbers, however long a text is."""

    def __init__(self, figures: DatasetFigures) -> None:
        corpora = tuple(figures.corpora)
        self._figures, self._collector = figures, TurnCollector(corpora)
        self._show_more = {name for name, one in figures.corpora.items() if one.context_only}
        self._dialogues = defaultdict[tuple[str, ...], list[tuple[int, str, tuple[str, ...], str]]](list)
        self._bits = {
            f"{corpus}/{split}": bit_of(number)
            for number, (corpus, split) in enumerate(product(corpora, SPLITS))
        }
        self._named = defaultdict[tuple[str, ...] | None, int](count().__next__)
        # By record: hashes of its line and of its context, the number of its leaks, and its part.
        self._lines, self._contexts, self._leaks, self._parts = (list[Any]() for _ in range(4))

    def add(self, records: pa.Table, part: Part) -> None:
        """Takes records of a part."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        sizes = pc.list_value_length(records["context"]).to_numpy()
        self._collector.add(records, sizes)
        lines = lines_of(records["speaker"].combine_chunks(), records["input"].combine_chunks())
        context = records["context"].combine_chunks().flatten()
        lines_and_contexts = pa.concat_arrays([lines, context])
        hashes = by_distinct(lines_and_contexts, lambda one: hash(one) & _WRAP, pa.uint64()).to_numpy()
        self._lines.append(hashes[: len(records)])
        self._contexts.append(_hashes_of_contexts(hashes[len(records) :], sizes))
        leaks = [None if one is None else tuple(one) for one in records["leaks"].to_pylist()]
        self._leaks.append(np.fromiter(map(self._named.__getitem__, leaks), dtype=np.int32))
        self._parts.append(np.full(len(records), PARTS.index(part), dtype=np.int8))
        if self._show_more:
            columns = ("corpus", "split", "dialogue_id", "utterance_index", "id", "context")
            rows = zip(*(records[name].to_pylist() for name in columns), lines.to_pylist(), strict=True)
            for corpus, split, dialogue, *row in rows:
                if corpus in self._show_more:
                    self._dialogues[corpus, split, dialogue].append(tuple(row))

    def problems(self, folder: Path, manifest: DatasetManifest, rules: CleanRules) -> Iterator[Problem]:
        """What is wrong among the records; they are audited only where their dialogues are complete."""
        import numpy as np

        turns = of_records(self._collector.turns(), self._show_more)
        doubles = _first_of(self._double_problems(turns))
        contexts = _first_of([*self._context_problems(turns), *self._other_context_problems()])
        if found := [*doubles, *contexts]:
            yield from found
            return
        ledger = make_ledger(turns, rules)
        none = np.empty(0, dtype=np.int8)  # a published copy may hold no record
        named, parts = (np.concatenate([none, *one])[turns.place] for one in (self._leaks, self._parts))
        yield from _first_of(self._leak_problems(turns, ledger, named))
        is_leaked = np.array([names is None or bool(names) for names in self._named], dtype=bool)[named]
        yield from _first_of(_part_problems(turns, ledger, is_leaked, parts, manifest))
        if manifest.published is None:
            yield from _audit_problems(folder, manifest, turns, ledger)

    def _double_problems(self, turns: Turns) -> Iterator[Problem]:
        import numpy as np

        is_double = (np.diff(turns.dialogue) == 0) & (np.diff(turns.index) == 0)
        for place in np.flatnonzero(is_double).tolist():
            where, what = turns.id_of(place), "is there more than once"
            yield Problem(where, what, fix=AGAIN, code="dataset.duplicate_record")

    def _context_problems(self, turns: Turns) -> Iterator[Problem]:
        """Records whose context is not the records before them in their dialogue, where it shows no more."""
        import numpy as np

        context_k = np.array([self._figures.context_of(corpus) for corpus, _ in turns.splits], dtype=np.int64)
        show_more = np.array([corpus in self._show_more for corpus, _ in turns.splits])[turns.split]
        size = np.minimum(turns_before(turns), context_k[turns.split])
        lines, got = (
            np.concatenate([np.empty(0, dtype=np.uint64), *one])[turns.place]
            for one in (self._lines, self._contexts)
        )
        self._lines, self._contexts = [], []  # the audit takes the memory
        expected = np.zeros(len(lines), dtype=np.uint64)
        factor = 1
        for offset in range(1, int(size.max(initial=0)) + 1):
            factor = factor * _FACTOR & _WRAP
            is_shown = size[offset:] >= offset
            expected[offset:] += np.where(is_shown, lines[:-offset] * np.uint64(factor), np.uint64(0))
        is_wrong = ((got != expected) | (turns.context != size)) & ~show_more
        for place in np.flatnonzero(is_wrong).tolist():
            shown = range(place - int(size[place]), place)
            what = "its context is not the utterances before it"
            wanted = f"the utterances of {', '.join(map(turns.id_of, shown))}" if shown else "none"
            yield Problem(turns.id_of(place), what, wanted, fix=AGAIN, code="dataset.wrong_context")

    def _other_context_problems(self) -> Iterator[Problem]:
        """The same where contexts also show utterances without a label: these are where an index is free."""
        for (corpus, _, _), records in self._dialogues.items():
            lines, before = list[str](), -1
            for index, name, context, line in sorted(records):
                others = context_only(context, lines, index - before - 1, self._figures.context_of(corpus))
                if others is None:
                    what = "its context is not the utterances before it"
                    yield Problem(name, what, fix=AGAIN, code="dataset.wrong_context")
                lines += [*(others or ()), line]
                before = index

    def _leak_problems(self, turns: Turns, ledger: Ledger, named: Numbers) -> Iterator[Problem]:
        """Records whose `leaks` are not what is found; they may name splits that are not in this copy too."""
        import numpy as np

        stated, known = list(self._named), no_bits(len(self._named), len(turns.splits))
        for number, names in enumerate(stated):
            known[number] = sum(self._bits.get(name, 0) for name in set(names or ()))
        is_unknown = np.array(
            [names is None or not self._bits.keys() >= set(names) for names in stated], dtype=bool
        )
        here = sum(bit_of(split) for split in np.unique(turns.split).tolist())
        is_wrong = is_unknown[named] | ((known[named] & here) != ledger.leaks)
        for place in np.flatnonzero(is_wrong).tolist():
            number = named[place]
            got = (
                ("null, or no splits",)
                if is_unknown[number]
                else split_names(int(known[number]), turns.splits)
            )
            right = split_names(int(ledger.leaks[place]), turns.splits)
            what, expected = "its leaks are not what an audit finds", ", ".join(right) or "none"
            shown = ", ".join(got) or "none"
            yield Problem(turns.id_of(place), what, expected, shown, AGAIN, code="dataset.wrong_leaks")


def _first_of(problems: Iterable[Problem]) -> Iterator[Problem]:
    """The first few problems, and how many more there are."""
    found = list(problems)
    yield from found[:MAX_SHOWN]
    if more := found[MAX_SHOWN:]:
        what = f"and {len(more)} more problems of this kind, the last one here"
        yield Problem(more[-1].where, what, code=more[-1].code)


def _part_problems(
    turns: Turns, ledger: Ledger, is_leaked: Flags, parts: Decisions, manifest: DatasetManifest
) -> Iterator[Problem]:
    """Records in the wrong part; which of them repeat others is only known where the dataset is complete."""
    import numpy as np

    if manifest.published is None:
        part_of = np.array([PARTS.index(PART_OF[decision]) for decision in sorted(PART_OF)])
        expected = part_of[ledger.decisions]
        is_wrong = parts != expected
    else:
        expected = np.where(is_leaked, PARTS.index("leaked"), parts)
        is_wrong = (parts == PARTS.index("leaked")) != is_leaked
    for place in np.flatnonzero(is_wrong).tolist():
        got = PARTS[parts[place]]
        what, right = "is in the wrong part", PARTS[expected[place]]
        yield Problem(turns.id_of(place), what, right, got, AGAIN, code="dataset.wrong_part")


def _audit_problems(
    folder: Path, manifest: DatasetManifest, turns: Turns, ledger: Ledger
) -> Iterator[Problem]:
    """Numbers of the manifest, or the audit, that are not what is found."""
    figures = manifest.figures
    if figures.audit != ledger.audit.figures:
        what = "the manifest's audit is not what an audit finds"
        yield Problem(str(folder), what, fix=AGAIN, code="dataset.wrong_audit")
    for number, (name, split) in enumerate(turns.splits):
        if name in figures.corpora and split in figures.corpora[name].splits:
            stated = figures.corpora[name].parts.get(split)
            got = part_sizes(Counter(ledger.decisions[turns.split == number].tolist()))
            if got != stated:
                where, what = f"{name}/{split}", "its parts are not the manifest's"
                yield Problem(where, what, str(stated), str(got), AGAIN, code="dataset.wrong_parts")
    path = folder / AUDIT
    if path.is_file() and path.read_bytes() != audit_as_json(ledger.audit).encode():
        yield Problem(str(path), "is not what an audit finds", fix=AGAIN, code="dataset.wrong_audit")


def _hashes_of_contexts(lines: Numbers, sizes: Numbers) -> Numbers:
    """For each context a hash of its lines and their order, from the hashes of the lines of all contexts."""
    import numpy as np

    found, ends = np.zeros(len(sizes), dtype=np.uint64), np.cumsum(sizes)
    factor = 1
    for offset in range(1, int(sizes.max(initial=0)) + 1):
        factor = factor * _FACTOR & _WRAP
        is_shown = sizes >= offset
        found[is_shown] += lines[ends[is_shown] - offset] * np.uint64(factor)
    return found


def _places(flags: pa.ChunkedArray) -> list[int]:
    """Where a flag is set."""
    import pyarrow.compute as pc

    places: list[int] = pc.indices_nonzero(flags).to_pylist()
    return places


@dataclass
class _SplitCheck:
    """Checks one split of one corpus, some thousand records at once, with their `sft` rows."""

    folder: Path
    name: CorpusName
    split: Split
    corpus: CorpusFigures
    prompt: Prompt
    class_labels: Sequence[Label]  # names of the class ids
    beside: Executor  # hashes records and renders their `sft` rows
    content: str = ""  # the content hash of the records that were found
    _records: int = 0
    _digests: list[bytes] = field(default_factory=list)  # of some thousand records each
    _labels: Counter[Label] = field(default_factory=Counter)
    _dialogues: set[str] = field(default_factory=set)
    _of_records: list[Problem] = field(default_factory=list)
    _of_sft: list[Problem] = field(default_factory=list)

    def problems(
        self, files: Iterable[str], index: _RecordIndex, advance: Callable[[int], None]
    ) -> Iterator[Problem]:
        """What is wrong in the split."""
        for path in files:
            yield from self._read(path, index, advance)
        self.content = content_sha256(self._digests)
        yield from self._figure_problems()
        yield from _first_of(self._of_records)
        yield from _first_of(self._of_sft)

    def _read(self, path: str, index: _RecordIndex, advance: Callable[[int], None]) -> Iterator[Problem]:
        held = data_file(path)
        assert held is not None
        assert held.part is not None
        rows = BatchedRows(self._sft_rows(self.folder / replace(held, holds="sft").path))
        rendered = self.beside.submit(list[Problem])
        try:
            for records in columns_in(self.folder / path):
                self._of_sft += rendered.result()
                rendered = self.beside.submit(self._rendered, records, rows)
                self._records += len(records)
                self._labels.update(counts_of(records["label"]))
                self._dialogues.update(records["dialogue_id"].unique().to_pylist())
                self._of_records += self._record_problems(records)
                index.add(records, held.part)
                advance(len(records))
        except DataError as error:
            yield from error.problems
        self._of_sft += rendered.result()
        additional = rows.rest()
        if rows.lacking or additional:
            got = f"{rows.lacking} rows fewer" if rows.lacking else f"{additional} rows more"
            what = "the sft table does not have the rows of the records"
            yield self._problem("", what, "as many as records", got, code="dataset.wrong_sft")

    def _figure_problems(self) -> Iterator[Problem]:
        """Counts and hash that are not the manifest's."""
        found = Sizes(dialogues=len(self._dialogues), utterances=self._records)
        stated = self.corpus.labels[self.split]
        compared = (
            ("dialogues and records", self.corpus.splits[self.split].model_dump(), found.model_dump()),
            ("labels", {k: v for k, v in stated.items() if v}, dict(self._labels)),
            ("content", self.corpus.content_sha256[self.split], self.content),
        )
        for what, expected, got in compared:
            if got != expected:
                differs = f"{what} are not the manifest's"
                yield self._problem("", differs, str(expected), str(got), code="dataset.wrong_figures")

    def _record_problems(self, records: pa.Table) -> Iterator[Problem]:
        """What records state against their file or their corpus."""
        import pyarrow as pa
        import pyarrow.compute as pc

        corpus, split = (
            pc.not_equal(records[name], one) for name, one in (("corpus", self.name), ("split", self.split))
        )
        for row in _places(pc.or_(corpus, split)):
            what = "is in the file of another corpus or split"
            yield self._problem(records["id"][row].as_py(), what, code="dataset.wrong_file")
        space = self.corpus.label_space
        for row in _places(pc.invert(pc.is_in(records["label"], pa.array(space)))):
            name, label = records["id"][row].as_py(), records["label"][row].as_py()
            what = "its label is outside its label space"
            yield self._problem(name, what, ", ".join(space), label, code="dataset.wrong_label")
        for row in _places(pc.not_equal(records["license"], self.corpus.license)):
            terms = (self.corpus.license, records["license"][row].as_py())
            name = records["id"][row].as_py()
            yield self._problem(name, "has another license", *terms, code="dataset.wrong_license")
        shown = (records["video_description"], records["context"])
        expected = instructions_of(self.prompt, space, *shown)
        for row in _places(pc.not_equal(records["instruction"], expected)):
            texts = (expected[row].as_py(), records["instruction"][row].as_py())
            what, name = "its instruction is not the prompt's", records["id"][row].as_py()
            yield self._problem(name, what, *texts, code="dataset.wrong_instruction")

    def _sft_rows(self, path: Path) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(path, pre_buffer=False) as file:
                if tuple(file.schema_arrow.names) != SFT_COLUMNS:
                    what, names = "its sft table has other columns", ", ".join(file.schema_arrow.names)
                    problem = self._problem("", what, ", ".join(SFT_COLUMNS), names, code="dataset.wrong_sft")
                    self._of_sft.append(problem)
                yield from file.iter_batches(ROWS_AT_ONCE)
        except (OSError, pa.ArrowInvalid) as error:
            what = f"its sft table cannot be read: {error}"
            self._of_sft.append(self._problem("", what, code="dataset.wrong_sft"))

    def _rendered(self, records: pa.Table, rows: BatchedRows) -> list[Problem]:
        """Hashes records; which of their `sft` rows are not their rendering."""
        import pyarrow as pa

        self._digests.append(b"".join(record_digests(records)))
        wanted, batches = sft_table(records, self.prompt, self.class_labels), rows.take(len(records))
        if not batches or (found := pa.Table.from_batches(batches)).equals(wanted):
            return []
        what, code = "its sft row is not its rendering", "dataset.wrong_sft"
        return [
            self._problem(right["id"], what, str(right), str(row), code=code)
            for row, right in zip(found.to_pylist(), wanted.to_pylist(), strict=False)
            if row != right
        ]

    def _problem(
        self, record_id: str, what: str, expected: str | None = None, got: str | None = None, *, code: str
    ) -> Problem:
        return Problem(record_id or f"{self.name}/{self.split}", what, expected, got, AGAIN, code=code)


def content_problems(
    folder: Path, manifest: DatasetManifest, rules: CleanRules, advance: Callable[[int], None]
) -> Iterator[Problem]:
    """What in the tables of a dataset folder is not as its manifest, its schema and its recipe say.

    Of a published copy, only the corpora that it holds are checked.
    """
    figures = manifest.figures
    prompt = prompt_of_dataset(manifest)
    if prompt.sha256 != figures.prompt_sha256:
        what = f"was built with another {figures.prompt} than the one that is installed"
        shas = (figures.prompt_sha256, prompt.sha256)
        yield Problem(str(folder), what, *shas, AGAIN, code="dataset.other_prompt")
    index, digests = _RecordIndex(figures), dict[str, str]()
    paths = [file.path for file in manifest.outputs]
    with ThreadPoolExecutor(1, "sft") as beside:  # Arrow and NumPy release Python's lock
        for name, corpus in figures.corpora.items():
            for split in corpus.splits:
                files = config_files(paths, name, split, (name,))
                if files or manifest.published is None:
                    check = _SplitCheck(folder, name, split, corpus, prompt, figures.class_labels, beside)
                    yield from check.problems(files, index, advance)
                    digests[f"{name}/{split}"] = check.content
    expected = manifest.published.published_sha256 if manifest.published else manifest.content_sha256
    got = combined_sha256(digests.items())
    if got != expected:
        what = "its records are not those of the build"
        yield Problem(str(folder), what, expected, got, AGAIN, code="dataset.wrong_content")
    yield from index.problems(folder, manifest, rules)
