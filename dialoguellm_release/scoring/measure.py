"""The figures of a score: of all records, of the clean ones, of each part of them, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dialoguellm_release.progress import progress
from dialoguellm_release.schemas.labels import Label
from dialoguellm_release.schemas.recipes.score import ScoreRecipe
from dialoguellm_release.schemas.scores import LabelFigures, MetricName, Part, ScoreFigures
from dialoguellm_release.scoring.answers import Answer
from dialoguellm_release.scoring.breakdown import divided
from dialoguellm_release.scoring.expected import expected_counts, f1_per_label, metrics_of
from dialoguellm_release.scoring.scored import Scored
from dialoguellm_release.scoring.significance import interval, resampled_sums

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Cells = NDArray[np.float64]

Key = tuple[str, str]
ALL: Key = ("all", "all")
CLEAN: Key = ("leaks", "clean")


def figures_of(scored: Scored, settings: ScoreRecipe) -> ScoreFigures:
    """Every figure of a score."""
    import numpy as np

    labels = scored.protocol.label_space
    references = [record.output for record in scored.records]
    members = _members(scored)
    cells = cells_of(
        [record.dialogue_id for record in scored.records],
        references,
        scored.answers,
        labels,
        list(members.values()),
    )
    chances = np.array([scored.chances.get(label, 0.0) for label in labels])
    without = labels.index(settings.without) if settings.without in labels else None
    parts = _parts(members, cells, chances, without, settings)
    whole, clean = parts.pop(ALL), parts.pop(CLEAN, None)
    total = cells[:, 0].sum(0)
    majority_label = max(labels, key=references.count)
    return ScoreFigures(
        **dict(whole),
        protocol=scored.protocol,
        system=scored.system,
        truncated_records=scored.truncated_records,
        headline=settings.headline,
        without=None if without is None else labels[without],
        resampling=settings.intervals,
        left_to_chance=sum(answer.is_drawn for answer in scored.answers),
        chances=dict(scored.chances),
        majority=_majority(total, labels.index(majority_label), without),
        majority_label=majority_label,
        clean=clean,
        per_label=_per_label(total, chances, labels),
        confusion_matrix=tuple(tuple(row) for row in expected_counts(total, chances).tolist()),
        breakdown=_by_what_divides(parts),
    )


def cells_of(
    dialogues: Sequence[str],
    references: Sequence[Label],
    answers: Sequence[Answer],
    labels: Sequence[Label],
    members: Sequence[Sequence[bool]],
) -> Cells:
    """What each dialogue adds to each part: shape (dialogues, parts, labels, labels + 2).

    The rows and columns are those that `metrics_of` reads.

    Args:
        dialogues: The dialogue of each record.
        members: For each part, whether each record belongs to it.
    """
    import numpy as np

    place = {label: index for index, label in enumerate(labels)}
    row = {name: index for index, name in enumerate(dict.fromkeys(dialogues))}
    cells = np.zeros((len(row), len(members), len(labels), len(labels) + 2))
    belongs = np.array(members, dtype=np.float64)
    for index, (dialogue, reference, answer) in enumerate(zip(dialogues, references, answers, strict=True)):
        column = len(labels) + answer.is_drawn if answer.label is None else place[answer.label]
        cells[row[dialogue], :, place[reference], column] += belongs[:, index]
    return cells


def _members(scored: Scored) -> dict[Key, list[bool]]:
    """Which records belong to each part, by what divides them and by its value; the whole comes first."""
    records = scored.records
    members = {ALL: [True] * len(records)}
    if all(record.leaks is not None for record in records):
        members[CLEAN] = [not record.leaks for record in records]
    for name, classes in divided(scored.split).items():
        values = [classes[record.id] for record in records]
        members |= {(name, value): [one == value for one in values] for value in sorted(set(values))}
    return members


def _parts(
    members: Mapping[Key, object],
    cells: Cells,
    chances: Cells,
    without: int | None,
    settings: ScoreRecipe,
) -> dict[Key, Part]:
    import numpy as np

    drawn: dict[MetricName, list[Cells]] = {}
    sizes = []
    with progress("draw dialogues", settings.intervals.resamples) as advance:
        for sums in resampled_sums(cells, settings.intervals):
            sizes.append(sums.sum((-2, -1)))
            for name, values in metrics_of(sums, chances, without).items():
                drawn.setdefault(name, []).append(values)
            advance(len(sums))
    resampled = {name: np.concatenate(values) for name, values in drawn.items()}
    is_there = np.concatenate(sizes) > 0
    totals, level = cells.sum(0), settings.intervals.level
    metrics = metrics_of(totals, chances, without)
    return {
        key: Part(
            records=int(totals[place].sum()),
            dialogues=int(cells[:, place].any((-2, -1)).sum()),
            metrics={name: float(values[place]) for name, values in metrics.items()},
            intervals={
                name: interval(values[is_there[:, place], place], level) for name, values in resampled.items()
            },
        )
        for place, key in enumerate(members)
        if totals[place].any()
    }


def _majority(total: Cells, label: int, without: int | None) -> dict[MetricName, float]:
    """The metrics of an answer that is always the same label."""
    import numpy as np

    always = np.zeros_like(total)
    always[:, label] = total.sum(-1)
    none = np.zeros(len(total))
    return {name: float(value) for name, value in metrics_of(always, none, without).items()}


def _per_label(total: Cells, chances: Cells, labels: Sequence[Label]) -> dict[Label, LabelFigures]:
    """Each label's own figures.

    Precision of answers that are left to chance is that of the expected counts; F1 and recall are the
    expected values.
    """
    counts = expected_counts(total, chances)
    hits, references, predictions = counts.diagonal(), total.sum(-1), counts[:, :-1].sum(0)
    f1 = f1_per_label(total, chances)
    return {
        label: LabelFigures(
            precision=float(hits[place] / predictions[place]) if predictions[place] else 0.0,
            recall=float(hits[place] / references[place]) if references[place] else 0.0,
            f1=float(f1[place]),
            references=int(references[place]),
            predictions=float(predictions[place]),
        )
        for place, label in enumerate(labels)
    }


def _by_what_divides(parts: Mapping[Key, Part]) -> dict[str, dict[str, Part]]:
    nested: dict[str, dict[str, Part]] = {}
    for (name, value), part in parts.items():
        nested.setdefault(name, {})[value] = part
    return nested
