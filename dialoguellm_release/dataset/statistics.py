"""How long dialogues and utterances are, and where turns are left out."""

from __future__ import annotations

from dialoguellm_release.leakage.turns import Turns, dialogue_starts
from dialoguellm_release.schemas.counts import SplitStatistics, Spread
from dialoguellm_release.schemas.labels import CorpusName, Split


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
