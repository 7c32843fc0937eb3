"""Checks a dataset folder: files, records, counts, hashes, contexts, sft rows, and the audit."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, islice, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dialoguellm_release.dataset.records import context_only, line_of, sft_columns
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import combined_sha256, file_problems
from dialoguellm_release.layout import AUDIT, config_files, data_file
from dialoguellm_release.leakage.audit import PART_OF, Ledger, audit_as_json, make_ledger, part_sizes
from dialoguellm_release.leakage.shared import bit_of, no_bits, split_names
from dialoguellm_release.leakage.turns import TurnCollector, Turns, of_records, turns_before
from dialoguellm_release.prompts import Prompt, prompt_of_dataset
from dialoguellm_release.records import ROWS_AT_ONCE, Columns, columns_in, content_sha256, record_digests
from dialoguellm_release.schemas.audit import Sizes
from dialoguellm_release.schemas.dataset_manifest import CorpusFigures, DatasetFigures, DatasetManifest
from dialoguellm_release.schemas.labels import PARTS, SPLITS, CorpusName, Label, Part, Split
from dialoguellm_release.schemas.recipes.dataset import CleanRules
from dialoguellm_release.schemas.record import SFT_COLUMNS

if TYPE_CHECKING:
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
        self._lines, self._contexts = array("Q"), array("Q")
        self._named = defaultdict[tuple[str, ...] | None, int](count().__next__)
        self._leaks, self._parts = array("i"), array("b")

    def add(self, records: Columns, part: Part) -> None:
        """Takes records of a part."""
        self._collector.add(records, list(map(len, records["context"])))
        lines = list(map(line_of, records["speaker"], records["input"]))
        self._lines.extend(hash(line) & _WRAP for line in lines)
        self._contexts.extend(map(_hash_of, records["context"]))
        self._leaks.extend(map(self._named.__getitem__, records["leaks"]))
        self._parts.extend([PARTS.index(part)] * len(records["id"]))
        dialogues = zip(records["corpus"], records["split"], records["dialogue_id"], strict=True)
        rows = zip(records["utterance_index"], records["id"], records["context"], lines, strict=True)
        for dialogue, row in zip(dialogues, rows, strict=True) if self._show_more else ():
            if dialogue[0] in self._show_more:
                self._dialogues[dialogue].append(row)

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
        named = np.array(self._leaks, dtype=np.int32)[turns.place]
        parts = np.array(self._parts, dtype=np.int8)[turns.place]
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
        lines = np.array(self._lines, dtype=np.uint64)[turns.place]
        expected = np.zeros(len(lines), dtype=np.uint64)
        factor = 1
        for offset in range(1, int(size.max(initial=0)) + 1):
            factor = factor * _FACTOR & _WRAP
            is_shown = size[offset:] >= offset
            expected[offset:] += np.where(is_shown, lines[:-offset] * np.uint64(factor), np.uint64(0))
        got = np.array(self._contexts, dtype=np.uint64)[turns.place]
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


def _hash_of(context: Sequence[str]) -> int:
    """A hash of the lines and their order, which can be made from the hashes of the lines."""
    whole = 0
    for line in context:
        whole = (whole + hash(line)) * _FACTOR & _WRAP
    return whole


@dataclass
class _SplitCheck:
    """Checks one split of one corpus, some thousand records at once, with their `sft` rows."""

    folder: Path
    name: CorpusName
    split: Split
    corpus: CorpusFigures
    prompt: Prompt
    class_labels: Sequence[Label]  # names of the class ids
    content: str = ""  # the content hash of the records that were found
    _digests: list[bytes] = field(default_factory=list)
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
        rows = self._sft_rows(self.folder / replace(held, holds="sft").path)
        lacking = 0
        try:
            for records in columns_in(self.folder / path):
                self._digests += record_digests(records)
                self._labels.update(records["label"])
                self._dialogues.update(records["dialogue_id"])
                self._of_records += self._record_problems(records)
                index.add(records, held.part)
                given = list(islice(rows, len(records["id"])))
                self._of_sft += self._sft_problems(records, given)
                lacking += len(records["id"]) - len(given)
                advance(len(records["id"]))
        except DataError as error:
            yield from error.problems
        additional = sum(1 for _ in rows)
        if lacking or additional:
            got = f"{lacking} rows fewer" if lacking else f"{additional} rows more"
            what = "the sft table does not have the rows of the records"
            yield self._problem("", what, "as many as records", got, code="dataset.wrong_sft")

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
                differs = f"{what} are not the manifest's"
                yield self._problem("", differs, str(expected), str(got), code="dataset.wrong_figures")

    def _record_problems(self, records: Columns) -> Iterator[Problem]:
        """What records state against their file or their corpus."""
        columns = ("id", "corpus", "split", "label", "license", "video_description", "context", "instruction")
        for name, *place, label, license, video, context, instruction in zip(
            *(records[column] for column in columns), strict=True
        ):
            if place != [self.name, self.split]:
                what = "is in the file of another corpus or split"
                yield self._problem(name, what, code="dataset.wrong_file")
            if label not in self.corpus.label_space:
                space = ", ".join(self.corpus.label_space)
                what = "its label is outside its label space"
                yield self._problem(name, what, space, label, code="dataset.wrong_label")
            if license != self.corpus.license:
                terms = (self.corpus.license, license)
                yield self._problem(name, "has another license", *terms, code="dataset.wrong_license")
            expected = self.prompt.instruction(
                self.corpus.label_space, has_video=video is not None, has_context=bool(context)
            )
            if instruction != expected:
                what, texts = "its instruction is not the prompt's", (expected, instruction)
                yield self._problem(name, what, *texts, code="dataset.wrong_instruction")

    def _sft_rows(self, path: Path) -> Iterator[tuple[Any, ...]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(path) as file:
                if tuple(file.schema_arrow.names) != SFT_COLUMNS:
                    what, names = "its sft table has other columns", ", ".join(file.schema_arrow.names)
                    problem = self._problem("", what, ", ".join(SFT_COLUMNS), names, code="dataset.wrong_sft")
                    self._of_sft.append(problem)
                for batch in file.iter_batches(ROWS_AT_ONCE):
                    yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
        except (OSError, pa.ArrowInvalid) as error:
            what = f"its sft table cannot be read: {error}"
            self._of_sft.append(self._problem("", what, code="dataset.wrong_sft"))

    def _sft_problems(self, records: Columns, rows: Iterable[tuple[Any, ...]]) -> Iterator[Problem]:
        """Which `sft` rows are not the rendering of their records."""
        columns = sft_columns(records, self.prompt, self.class_labels)
        for row, wanted in zip(rows, zip(*columns.values(), strict=True), strict=False):
            if row != wanted:
                what = "its sft row is not its rendering"
                shown = (str(dict(zip(SFT_COLUMNS, one, strict=False))) for one in (wanted, row))
                yield self._problem(wanted[0], what, *shown, code="dataset.wrong_sft")

    def _problem(
        self, record_id: str, what: str, expected: str | None = None, got: str | None = None, *, code: str
    ) -> Problem:
        return Problem(record_id or f"{self.name}/{self.split}", what, expected, got, AGAIN, code=code)


def dataset_problems(
    folder: Path, manifest: DatasetManifest, rules: CleanRules, advance: Callable[[int], None]
) -> Iterator[Problem]:
    """Everything in a dataset folder that is not as its manifest, its schema and its recipe say.

    Of a published copy, only the corpora that it holds are checked.
    """
    yield from file_problems(folder, manifest)
    figures = manifest.figures
    prompt = prompt_of_dataset(manifest)
    if prompt.sha256 != figures.prompt_sha256:
        what = f"was built with another {figures.prompt} than the one that is installed"
        shas = (figures.prompt_sha256, prompt.sha256)
        yield Problem(str(folder), what, *shas, AGAIN, code="dataset.other_prompt")
    index, digests = _RecordIndex(figures), dict[str, str]()
    paths = [file.path for file in manifest.outputs]
    for name, corpus in figures.corpora.items():
        for split in corpus.splits:
            files = config_files(paths, name, split, (name,))
            if files or manifest.published is None:
                check = _SplitCheck(folder, name, split, corpus, prompt, figures.class_labels)
                yield from check.problems(files, index, advance)
                digests[f"{name}/{split}"] = check.content
    expected = manifest.published.published_sha256 if manifest.published else manifest.content_sha256
    got = combined_sha256(digests.items())
    if got != expected:
        what = "its records are not those of the build"
        yield Problem(str(folder), what, expected, got, AGAIN, code="dataset.wrong_content")
    yield from index.problems(folder, manifest, rules)
