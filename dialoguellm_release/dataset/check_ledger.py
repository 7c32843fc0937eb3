"""What can only be checked when every record is known: contexts, what stands twice, and the ledger."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from dialoguellm_release.dataset.records import line_of
from dialoguellm_release.errors import Problem
from dialoguellm_release.layout import AUDIT
from dialoguellm_release.leakage.audit import Ledger, audit_figures, make_ledger
from dialoguellm_release.leakage.repeats import PART_OF, part_sizes
from dialoguellm_release.leakage.shared import bit_of, split_names
from dialoguellm_release.leakage.turns import TurnCollector, Turns, collect, turns_before
from dialoguellm_release.schemas.audit import Audit
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import PARTS, SPLITS, CorpusName, Part
from dialoguellm_release.schemas.recipes.dataset import CleanRules
from dialoguellm_release.schemas.record import Record

if TYPE_CHECKING:
    from dialoguellm_release.leakage.turns import Bits, Fates

MAX_SHOWN = 5
AGAIN = "build the dataset again"

_UNKNOWN = -1
"""Stands for leaks that are null, or that name what is no split."""

_FACTOR, _WRAP = 0x9E3779B97F4A7C15, (1 << 64) - 1


class Recollection:
    """What is kept of every record that was looked at: numbers, whatever the length of its text."""

    def __init__(self, corpora: Sequence[CorpusName]) -> None:
        self._collector = TurnCollector(corpora)
        self._bits = {
            f"{corpus}/{split}": bit_of(number)
            for number, (corpus, split) in enumerate(product(corpora, SPLITS))
        }
        self._lines, self._contexts = array("Q"), array("Q")
        self._leaks, self._parts = array("q"), array("b")

    def add(self, record: Record, part: Part) -> None:
        """Takes a record of a part."""
        collect(record, self._collector)
        self._lines.append(hash(line_of(record.speaker, record.input)) & _WRAP)
        self._contexts.append(_hash_of(record.context))
        self._leaks.append(_bits_of(record.leaks, self._bits))
        self._parts.append(PARTS.index(part))

    def problems(self, folder: Path, manifest: DatasetManifest, rules: CleanRules) -> Iterator[Problem]:
        """What is wrong among the records; the ledger is looked at where their dialogues are whole."""
        import numpy as np

        turns = self._collector.turns()
        found = [
            *first_of(list(self._double_problems(turns))),
            *first_of(list(self._context_problems(turns, manifest.figures.context_k))),
        ]
        yield from found
        if found:
            return
        ledger = make_ledger(turns, rules, lambda _: None)
        leaks = np.array(self._leaks, dtype=np.int64)[turns.place]
        parts = np.array(self._parts, dtype=np.int8)[turns.place]
        yield from first_of(list(_leak_problems(turns, ledger, leaks)))
        yield from first_of(list(_part_problems(turns, ledger, leaks, parts, manifest)))
        if manifest.published is None:
            yield from _audit_problems(folder, manifest, turns, ledger)

    def _double_problems(self, turns: Turns) -> Iterator[Problem]:
        import numpy as np

        is_double = (np.diff(turns.dialogue) == 0) & (np.diff(turns.index) == 0)
        for place in np.flatnonzero(is_double).tolist():
            yield Problem(turns.id_of(place), "stands there more than once", fix=AGAIN)

    def _context_problems(self, turns: Turns, context_k: int) -> Iterator[Problem]:
        """Records whose context is not the utterances before them in their dialogue."""
        import numpy as np

        size = np.minimum(turns_before(turns), context_k)
        lines = np.array(self._lines, dtype=np.uint64)[turns.place]
        expected = np.zeros(len(lines), dtype=np.uint64)
        factor = 1
        for offset in range(1, int(size.max(initial=0)) + 1):
            factor = factor * _FACTOR & _WRAP
            is_shown = size[offset:] >= offset
            expected[offset:] += np.where(is_shown, lines[:-offset] * np.uint64(factor), np.uint64(0))
        got = np.array(self._contexts, dtype=np.uint64)[turns.place]
        for place in np.flatnonzero((got != expected) | (turns.context != size)).tolist():
            shown = range(place - int(size[place]), place)
            yield Problem(
                turns.id_of(place),
                "its context is not the utterances before it",
                expected=f"those of {', '.join(map(turns.id_of, shown))}" if shown else "none",
                fix=AGAIN,
            )


def first_of(problems: Sequence[Problem]) -> Iterator[Problem]:
    """The first few problems, and how many more there are."""
    yield from problems[:MAX_SHOWN]
    if len(problems) > MAX_SHOWN:
        more = len(problems) - MAX_SHOWN
        yield Problem(problems[-1].where, f"and {more} more problems of this kind, the last one here")


def _leak_problems(turns: Turns, ledger: Ledger, leaks: Bits) -> Iterator[Problem]:
    """Records whose `leaks` are not what is found; splits that are not in this copy may be named as well."""
    import numpy as np

    here = sum(bit_of(split) for split in np.unique(turns.split).tolist())
    for place in np.flatnonzero((leaks == _UNKNOWN) | ((leaks & here) != ledger.leaks)).tolist():
        stated = int(leaks[place])
        named = split_names(stated, turns.splits) if stated != _UNKNOWN else ("null, or no splits",)
        yield Problem(
            turns.id_of(place),
            "its leaks are not what an audit finds",
            expected=", ".join(split_names(int(ledger.leaks[place]), turns.splits)) or "none",
            got=", ".join(named) or "none",
            fix=AGAIN,
        )


def _part_problems(
    turns: Turns, ledger: Ledger, leaks: Bits, parts: Fates, manifest: DatasetManifest
) -> Iterator[Problem]:
    """Records in a part where they do not belong; what repeats another one is only told from all of them."""
    import numpy as np

    if manifest.published is None:
        expected = np.array([PARTS.index(PART_OF[fate]) for fate in sorted(PART_OF)])[ledger.fates]
        is_wrong = parts != expected
    else:
        expected = np.where(leaks != 0, PARTS.index("leaked"), parts)
        is_wrong = (parts == PARTS.index("leaked")) != (leaks != 0)
    for place in np.flatnonzero(is_wrong).tolist():
        got = PARTS[parts[place]]
        yield Problem(turns.id_of(place), "stands in the wrong part", PARTS[expected[place]], got, fix=AGAIN)


def _audit_problems(
    folder: Path, manifest: DatasetManifest, turns: Turns, ledger: Ledger
) -> Iterator[Problem]:
    """Numbers of the manifest, or the audit, that are not what is found."""
    figures = manifest.figures
    if figures.audit != audit_figures(ledger.audit):
        yield Problem(str(folder), "the manifest's audit is not what an audit finds", fix=AGAIN)
    for number, (name, split) in enumerate(turns.splits):
        if name in figures.corpora and split in figures.corpora[name].splits:
            stated = figures.corpora[name].parts.get(split)
            got = part_sizes(Counter(ledger.fates[turns.split == number].tolist()))
            if got != stated:
                what = "its parts are not the manifest's"
                yield Problem(f"{name}/{split}", what, str(stated), str(got), AGAIN)
    path = folder / AUDIT
    try:
        is_the_same = Audit.model_validate_json(path.read_bytes()) == ledger.audit
    except OSError:
        return  # a missing file is told of as such
    except ValidationError:
        is_the_same = False
    if not is_the_same:
        yield Problem(str(path), "is not what an audit finds", fix=AGAIN)


def _bits_of(leaks: tuple[str, ...] | None, bits: Mapping[str, int]) -> int:
    if leaks is None or not bits.keys() >= set(leaks):
        return _UNKNOWN
    return sum(bits[name] for name in set(leaks))


def _hash_of(context: Sequence[str]) -> int:
    """A hash of the lines and their order, which can be made from the hashes of the lines."""
    whole = 0
    for line in context:
        whole = (whole + hash(line)) * _FACTOR & _WRAP
    return whole
