"""The figures of a score, with intervals: of all records, of the clean ones, and of each part of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dialoguellm_release.progress import progress
from dialoguellm_release.resources import metric_functions
from dialoguellm_release.schemas.labels import Label
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.schemas.scores import (
    METRIC_MODULE,
    METRICS,
    LabelFigures,
    MetricName,
    Part,
    ScoreFigures,
    ScoreRecipe,
)
from dialoguellm_release.scoring.answers import Answer
from dialoguellm_release.scoring.probabilities import (
    COVERAGES,
    AnswerProbabilities,
    has_probabilities,
    probabilities_of,
    probability_figures,
)
from dialoguellm_release.scoring.significance import interval, resampled_sums
from dialoguellm_release.scoring.task import Scored

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
    dialogues = [record.dialogue_id for record in scored.records]
    members = _members(scored)
    views = _views(scored, references, dialogues)
    for name, view in views.items():
        members |= {(name, str(share)): view.surest(share).tolist() for share in COVERAGES}
    cells = cells_of(dialogues, references, scored.answers, labels, list(members.values()))
    chances = np.array([scored.chances.get(label, 0.0) for label in labels])
    without = labels.index(settings.without) if settings.without in labels else None
    parts = _parts(members, cells, chances, without, settings)
    whole, clean = parts.pop(ALL), parts.pop(CLEAN, None)
    is_clean = np.array(members[CLEAN]) if CLEAN in members else None
    probabilities = {
        name: probability_figures(
            view, is_clean, [parts.pop((name, str(share))) for share in COVERAGES], settings.intervals
        )
        for name, view in views.items()
    }
    with_probabilities = sum(has_probabilities(answer) for answer in scored.answers)
    total = cells[:, 0].sum(0)
    majority_label = max(labels, key=references.count)
    breakdown: dict[str, dict[str, Part]] = {}
    for (name, value), part in parts.items():
        breakdown.setdefault(name, {})[value] = part
    return ScoreFigures(
        **dict(whole),
        protocol=scored.protocol,
        system=scored.system,
        split_records=len(scored.split),
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
        breakdown=breakdown,
        probabilities=probabilities.get("given"),
        calibrated=probabilities.get("calibrated"),
        uncalibrated=scored.uncalibrated,
        without_probabilities=len(scored.answers) - with_probabilities if with_probabilities else 0,
        served=scored.served,
    )


def _views(
    scored: Scored, references: Sequence[Label], dialogues: Sequence[str]
) -> dict[str, AnswerProbabilities]:
    """The probabilities as they are given and with the temperature of the adapter, where there are any."""
    given = probabilities_of(scored.answers, references, dialogues, scored.protocol.label_space)
    if given is None:
        return {}
    return {"given": given} | ({"calibrated": given.at(scored.temperature)} if scored.temperature else {})


def cells_of(
    dialogues: Sequence[str],
    references: Sequence[Label],
    answers: Sequence[Answer],
    labels: Sequence[Label],
    members: Sequence[Sequence[bool]],
) -> Cells:
    """The counts of each dialogue in each part, as `metrics_of` reads them, with the members of each part."""
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
    """Which records belong to each part; the whole comes first."""
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
    """The figures of each label.

    Where answers are drawn at random, precision is that of the expected counts; F1 and recall are expected
    values.
    """
    counts = expected_counts(total, chances)
    found = metric_functions(METRIC_MODULE).per_label(labels, counts)
    exact = {"f1": f1_per_label(total, chances), "predictions": counts[:, :-1].sum(0)}
    references = total.sum(-1)
    return {
        label: LabelFigures(
            **found[label]
            | {name: float(values[place]) for name, values in exact.items()}
            | {"references": int(references[place])}
        )
        for place, label in enumerate(labels)
    }


NODES = 32
"""Of the quadrature."""


def metrics_of(cells: Cells, chances: Cells, without: int | None) -> dict[MetricName, Cells]:
    """Every metric of some sums of cells, any number of them at once.

    Args:
        cells: Shape (..., labels, labels + 2): row the reference, column the prediction, then the invalid
            predictions, then those drawn at random.
        chances: The probability of each label in a draw; with the rest to 1 it draws no label.
        without: The place of the label that `micro_f1_without` leaves out; None leaves the metric out.
    """
    functions = metric_functions(METRIC_MODULE)
    counts, drawn = cells[..., :-1], cells[..., -1]
    names = [name for name in METRICS if name != "micro_f1_without"]
    if not drawn.any():
        found: dict[MetricName, Cells] = {name: getattr(functions, name)(counts) for name in names}
        return found if without is None else found | {"micro_f1_without": functions.micro_f1(counts, without)}
    # Exact where a metric is linear in the counts, as accuracy is; F1 is not, and is integrated.
    shared_out = expected_counts(cells, chances)
    found = {name: getattr(functions, name)(shared_out) for name in names}
    labels = list(range(len(chances)))
    f1 = f1_per_label(cells, chances)
    found["weighted_f1"] = _divided((f1 * cells.sum(-1)).sum(-1), cells.sum((-2, -1)))
    found["macro_f1"] = f1.mean(-1)
    found["micro_f1"] = _f1_over(cells, chances, labels)
    if without is not None:
        kept = [label for label in labels if label != without]
        found["micro_f1_without"] = _f1_over(cells, chances, kept)
    return found


def f1_per_label(cells: Cells, chances: Cells) -> Cells:
    """The expected F1 of each label, in the last dimension."""
    import numpy as np

    return np.stack([_f1_over(cells, chances, [label]) for label in range(len(chances))], axis=-1)


def expected_counts(cells: Cells, chances: Cells) -> Cells:
    """The expected confusion matrix: drawn answers are shared out among the labels."""
    import numpy as np

    counts, drawn = cells[..., :-1], cells[..., -1:]
    shared_out: Cells = counts + drawn * np.append(chances, max(0.0, 1 - chances.sum()))
    return shared_out


def _f1_over(cells: Cells, chances: Cells, labels: list[int]) -> Cells:
    """The expected value of 2·hits / (references + predictions), both over some labels together.

    A draw that hits is itself a prediction, beside the other draws: with m draws that give
    one of the labels with probability s, and B(m) of them doing so, the expected value is
    2·(hits·E[1/(n + B(m))] + expected drawn hits·E[1/(n + 1 + B(m - 1))]), n the references and the
    predictions that are not drawn.
    """
    counts, drawn = cells[..., :-1], cells[..., -1]
    hits = counts.diagonal(axis1=-2, axis2=-1)[..., labels].sum(-1)
    drawn_hits = (drawn * chances)[..., labels].sum(-1)
    fixed = cells.sum(-1)[..., labels].sum(-1) + counts[..., labels].sum((-2, -1))
    draws = drawn.sum(-1)
    chance = min(1.0, float(chances[labels].sum()))
    others = _mean_reciprocal(fixed + 1, (draws - 1).clip(0), chance)
    f1: Cells = 2 * (hits * _mean_reciprocal(fixed, draws, chance) + drawn_hits * others)
    return f1


def _mean_reciprocal(offset: Cells, draws: Cells, chance: float) -> Cells:
    """E[1 / (offset + B)], B the hits among so many draws, each with the same chance; 0 where offset is 0.

    As 1/n is the integral of exp(-n·u) over u from 0, this is that of exp(-offset·u)·(1 - chance +
    chance·exp(-u))^draws, which Gauss-Laguerre quadrature gives to twelve digits (tested against the sum).
    """
    import numpy as np

    nodes, weights = np.polynomial.laguerre.laggauss(NODES)
    mean = np.maximum(offset + draws * chance, 1.0)
    total = np.zeros(np.shape(mean))
    miss = math.log1p(-chance) if chance < 1 else -math.inf
    hit = math.log(chance) if chance > 0 else -math.inf
    for node, weight in zip(nodes, weights, strict=True):
        at = node / mean
        total += weight * np.exp(node - offset * at + draws * np.logaddexp(miss, hit - at))
    return np.asarray(np.where(offset > 0, total / mean, 0.0), dtype=np.float64)


def _divided(part: Cells, whole: Cells) -> Cells:
    import numpy as np

    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole > 0)


CONTEXT_LENGTHS = ((0, "0"), (1, "1"), (2, "2 to 3"), (4, "4 to 7"), (8, "8 or more"))
"""The least length of each class of contexts, in utterances."""


def divided(records: Sequence[Record]) -> dict[str, dict[str, str]]:
    """For each thing that divides the records of a whole split, the class of each by its id."""
    found: dict[str, dict[str, str]] = {"context length": {}, "speaker": {}, "emotion of the speaker": {}}
    before: dict[str, Record] = {}
    of_speaker: dict[tuple[str, str], Record] = {}
    for record in sorted(records, key=lambda record: record.utterance_index):
        length = [name for least, name in CONTEXT_LENGTHS if len(record.context) >= least][-1]
        change, emotion = "unknown", "unknown speaker"
        last = before.get(record.dialogue_id)
        if record.speaker is not None:
            own = of_speaker.get((record.dialogue_id, record.speaker))
            is_same = last is not None and last.speaker == record.speaker
            change = "first of the dialogue" if last is None else "same as before" if is_same else "changed"
            emotion = "first of the speaker"
            if own is not None:
                emotion = "same as before" if own.output == record.output else "shifted"
            of_speaker[record.dialogue_id, record.speaker] = record
        before[record.dialogue_id] = record
        for name, value in zip(found, (length, change, emotion), strict=True):
            found[name][record.id] = value
    return found
