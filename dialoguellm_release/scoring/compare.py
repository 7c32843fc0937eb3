"""Two runs on the same records: how far one is from the other, and whether that could be chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import file_problems, read_manifest
from dialoguellm_release.schemas.labels import Label
from dialoguellm_release.schemas.manifests import ScoreManifest
from dialoguellm_release.schemas.scores import MetricName, ScoreFigures
from dialoguellm_release.scoring.answers import Answer
from dialoguellm_release.scoring.expected import metrics_of
from dialoguellm_release.scoring.measure import cells_of
from dialoguellm_release.scoring.predictions import PREDICTIONS, own_answers
from dialoguellm_release.scoring.significance import Difference, Run, mcnemar, paired_bootstrap


@dataclass(frozen=True)
class Comparison:
    """A second run beside a first, on the same records.

    Attributes:
        differences: The second's metrics less the first's, by the paired bootstrap over dialogues.
        only_first: Records that the first run alone has right; None where a run leaves answers to chance.
        only_second: Records that the second run alone has right; None likewise.
        mcnemar_p: Of McNemar's exact test on these; None likewise.
    """

    first: ScoreFigures
    second: ScoreFigures
    differences: dict[MetricName, Difference]
    only_first: int | None
    only_second: int | None
    mcnemar_p: float | None


def compare_scores(first: Path, second: Path) -> Comparison:
    """How a second score folder differs from a first.

    Raises:
        DataError: One is no score folder, or not as it was made, or they scored other records.
    """
    manifests = {folder: read_manifest(folder, ScoreManifest) for folder in (first, second)}
    problems = [one for folder, manifest in manifests.items() for one in file_problems(folder, manifest)]
    if problems:
        raise DataError(problems, outcome="nothing was compared")
    one, other = (manifests[folder].figures for folder in (first, second))
    if one.protocol.records_sha256 != other.protocol.records_sha256:
        raise DataError(
            Problem(
                str(second),
                f"scored other records than {first}",
                expected=_scored_records(one),
                got=_scored_records(other),
                fix="score both on the same dataset, split and number of records",
            ),
            outcome="nothing was compared",
        )
    (ids, references, before), (_, _, after) = (
        own_answers(folder / PREDICTIONS) for folder in (first, second)
    )
    dialogues = [name.rpartition("/")[0] for name in ids]
    differences = paired_bootstrap(
        _run(one, dialogues, references, before), _run(other, dialogues, references, after), one.resampling
    )
    if one.left_to_chance or other.left_to_chance:
        return Comparison(one, other, differences, None, None, None)
    hits = [
        (ours.label == reference, theirs.label == reference)
        for reference, ours, theirs in zip(references, before, after, strict=True)
    ]
    only_first, only_second = hits.count((True, False)), hits.count((False, True))
    return Comparison(one, other, differences, only_first, only_second, mcnemar(only_first, only_second))


def _run(
    figures: ScoreFigures, dialogues: Sequence[str], references: Sequence[Label], answers: Sequence[Answer]
) -> Run:
    import numpy as np

    labels = figures.protocol.label_space
    cells = cells_of(dialogues, references, answers, labels, [[True] * len(answers)])[:, 0]
    without = None if figures.without is None else labels.index(figures.without)
    chances = np.array([figures.chances.get(label, 0.0) for label in labels])
    return Run(cells, partial(metrics_of, chances=chances, without=without))


def _scored_records(figures: ScoreFigures) -> str:
    protocol = figures.protocol
    return (
        f"{figures.records} records of {protocol.corpus}/{protocol.split}, "
        f"dataset {protocol.dataset_content_sha256}, records {protocol.records_sha256}"
    )
