"""How much is in each split: lengths and gaps, and the counts beside those that were expected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dialoguellm_release.corpora.cells import Notes
from dialoguellm_release.corpora.check import counts_problem
from dialoguellm_release.corpora.registry import bundled_entry
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.leakage.turns import Turns, dialogue_starts
from dialoguellm_release.render.numbers import sizes
from dialoguellm_release.render.tables import Table
from dialoguellm_release.schemas.audit import ExpectedSizes, Reconciliation, Sizes, SplitStatistics, Spread
from dialoguellm_release.schemas.claims import ClaimsRecipe
from dialoguellm_release.schemas.labels import SPLITS, CorpusName, Split
from dialoguellm_release.schemas.recipes.dataset import CorpusRecipe


def reconcile(
    corpus: CorpusName,
    recipe: CorpusRecipe,
    claims: ClaimsRecipe | None,
    notes: Notes,
    built: Mapping[Split, Sizes],
) -> list[Reconciliation]:
    """One row for each split of a corpus that any of the four sides knows."""
    claimed = claims.corpora.get(corpus, {}) if claims else {}
    rows = []
    for split in SPLITS:
        expectation = recipe.expect.get(split)
        if split not in built and expectation is None and split not in claimed:
            continue
        public = Sizes(dialogues=notes.public_dialogues[split], utterances=notes.public_utterances[split])
        rows.append(
            Reconciliation(
                corpus=corpus,
                split=split,
                paper=claimed.get(split),
                public=public if public.utterances else None,
                expected=expectation
                and ExpectedSizes(dialogues=expectation.dialogues, utterances=expectation.utterances),
                built=built.get(split, Sizes(dialogues=0, utterances=0)),
                reason=expectation.reason if expectation else None,
            )
        )
    return rows


def check_counts(rows: Sequence[Reconciliation], notes: Mapping[CorpusName, Notes]) -> None:
    """Compares what was built with what the recipe expects."""
    if missed := [_problem(row, notes[row.corpus]) for row in rows if row.misses]:
        header = ("corpus", "split", "paper", "public files", "expected", "built", "")
        cells = [
            (
                row.corpus,
                row.split,
                *map(sizes, (row.paper, row.public, row.expected, row.built)),
                "<- misses" if row.misses else "",
            )
            for row in rows
        ]
        raise DataError(missed, table=Table(header, cells).text())


def _problem(row: Reconciliation, notes: Notes) -> Problem:
    files = _files_of(row, notes)
    unknown = [path for path in files if path in notes.unknown_files]
    name, code = f"{row.corpus}/{row.split}", "dataset.counts_differ"
    return counts_problem(", ".join(files), name, (sizes(row.expected), sizes(row.built)), unknown, code)


def _files_of(row: Reconciliation, notes: Notes) -> list[str]:
    """The files that a row was read from; all of the corpus where the registry ties none to the split."""
    paths, entry = [file.path for file in notes.files], bundled_entry(row.corpus)
    of_split = {
        f"{row.corpus}/{file.path}" for file in (entry.files if entry else ()) if file.split == row.split
    }
    return [path for path in paths if path in of_split] or paths


def turn_statistics(turns: Turns) -> dict[CorpusName, dict[Split, SplitStatistics]]:
    """Lengths and gaps of each corpus and split that has turns."""
    import numpy as np

    starts = dialogue_starts(turns)
    lengths = np.diff(starts, append=len(turns.split))
    gaps = np.diff(turns.index, prepend=-1) - 1
    gaps[starts] = 0
    found: dict[CorpusName, dict[Split, SplitStatistics]] = {}
    for number, (corpus, split) in enumerate(turns.splits):
        is_here = turns.split == number
        if is_here.any():
            missing = gaps[is_here]
            found.setdefault(corpus, {})[split] = SplitStatistics(
                dialogue_lengths=Spread.of(lengths[turns.split[starts] == number].tolist()),
                utterance_lengths=Spread.of(turns.words[is_here].tolist()),
                records_after_gap=int(np.count_nonzero(missing)),
                missing_turns=int(missing.sum()),
            )
    return found
