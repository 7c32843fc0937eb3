"""The score folder: predictions, scores and figures; and predictions of other programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from dialoguellm_release.errors import DataError, MissingExtraError, Problem
from dialoguellm_release.folders import canonical_json, sha256_of_text, write_text
from dialoguellm_release.records import record_files
from dialoguellm_release.schemas.labels import Label
from dialoguellm_release.schemas.manifests import FileStamp
from dialoguellm_release.schemas.scores import ScoreFigures, ScoreRecipe, System
from dialoguellm_release.scoring.answers import Answer
from dialoguellm_release.scoring.figures import write_figures
from dialoguellm_release.scoring.metrics import figures_of
from dialoguellm_release.scoring.probabilities import AnswerProbabilities, probabilities_of
from dialoguellm_release.scoring.task import Scored, Task, protocol_of, read_task
from dialoguellm_release.tabular import TableRow, read_rows

SCORES = "scores.json"


def write_scores(
    settings: ScoreRecipe, dataset: Path, scored: Scored, folder: Path
) -> tuple[ScoreFigures, str, tuple[FileStamp, ...]]:
    """Writes a score folder; its figures, its content hash, and the data files that were scored."""
    figures = figures_of(scored, settings)
    write_predictions(scored, folder / PREDICTIONS)
    write_text(folder / SCORES, figures.model_dump_json(indent=2) + "\n")
    with suppress(MissingExtraError):
        write_figures(folder, figures)
    files = record_files(dataset, settings.corpus, settings.split)
    if scored.system.kind == "baseline":
        files = (*record_files(dataset, settings.corpus, "train"), *files)
    return figures, _content_sha256(scored, figures), files


def _content_sha256(scored: Scored, figures: ScoreFigures) -> str:
    """The hash of what was predicted, of what and by what; not of the last digits of any figure."""
    lines = [
        f"{record.id} {answer.label} {answer.is_drawn}"
        for record, answer in zip(scored.records, scored.answers, strict=True)
    ]
    return sha256_of_text(
        "\n".join([*lines, canonical_json(figures.protocol), canonical_json(figures.system)])
    )


INVALID = "invalid"
"""An answer that names no label, as in the metric `erc_scores`."""
DRAWN = "drawn"
"""An answer that is drawn at random; its scores are the probabilities of the labels."""
PREDICTIONS = "predictions.parquet"
SCORE = "score_"
"""Begins the name of each column with the probabilities of a label."""
CONTENT_KEY = b"dataset_content_sha256"
MAX_NAMED = 10
MAX_ROUNDING = 1e-3
"""How far probabilities in a file may be from 1 in all."""


def write_predictions(scored: Scored, path: Path) -> None:
    """Writes a Parquet file with a row for each record: id, reference, prediction, and whether it is clean.

    Further columns where the system gives them: a score for each label, the text, the ids of examples.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    labels = scored.protocol.label_space
    columns: dict[str, Any] = {
        "id": [record.id for record in scored.records],
        "reference": [record.output for record in scored.records],
        "prediction": [answer.label or (DRAWN if answer.is_drawn else INVALID) for answer in scored.answers],
        "is_clean": pa.array(
            [None if record.leaks is None else not record.leaks for record in scored.records], pa.bool_()
        ),
    }
    if any(answer.scores is not None for answer in scored.answers):
        for place, label in enumerate(labels):
            columns[SCORE + label] = pa.array(
                [answer.scores and answer.scores[place] for answer in scored.answers], pa.float64()
            )
    if any(answer.text is not None for answer in scored.answers):
        columns["text"] = [answer.text for answer in scored.answers]
    if scored.examples:
        columns["examples"] = [[one.id for one in scored.examples[record.id]] for record in scored.records]
    content = {CONTENT_KEY: scored.protocol.dataset_content_sha256}
    pq.write_table(pa.table(columns).replace_schema_metadata(content), path)


def own_answers(path: Path) -> tuple[list[str], list[Label], list[Answer]]:
    """Ids, references and answers in the predictions of a score folder."""
    import pyarrow.parquet as pq

    columns = pq.read_table(path, columns=["id", "reference", "prediction"]).to_pydict()
    answers = [Answer(None, is_drawn=True) if one == DRAWN else _answer(one) for one in columns["prediction"]]
    return columns["id"], columns["reference"], answers


def read_probabilities(path: Path, labels: Sequence[Label]) -> AnswerProbabilities:
    """The probabilities in the predictions of a score folder, of the clean records where these are known."""
    import numpy as np
    import pyarrow.parquet as pq

    columns = pq.read_table(path).to_pydict()
    ids, references, answers = columns["id"], columns["reference"], columns["prediction"]
    scores = zip(*(columns[SCORE + label] for label in labels), strict=True)
    found = probabilities_of(
        [Answer(label, scores=row) for label, row in zip(answers, scores, strict=True)],
        references,
        [name.rpartition("/")[0] for name in ids],
        labels,
    )
    assert found is not None
    is_clean = columns["is_clean"]
    return found if None in is_clean else found.part(np.array(is_clean))


def read_answers(path: Path, task: Task) -> list[Answer]:
    """The answers in a file of predictions, in the order of the records of a task.

    Null, the empty text and `invalid` stand for an answer that names no label; all else has to be a label.
    With `score_LABEL` for every label, these are its probabilities.
    """
    has_scores = any(name.startswith(SCORE) for row in read_rows(path)[:1] for name in row.cells)
    columns = [SCORE + label for label in task.labels] if has_scores else []
    rows = read_rows(path, ("id", "prediction", *columns))
    problems = [
        *_content_problem(path, task),
        *_id_problems(path, rows, task),
        *_label_problems(path, rows, task),
        *_probability_problems(path, rows, columns),
    ]
    if problems:
        raise DataError(problems)
    given = {row.cells["id"]: replace(_answer(_given(row)), scores=_scores(row, columns)) for row in rows}
    return [given[record.id] for record in task.records]


def _scores(row: TableRow, columns: Sequence[str]) -> tuple[float, ...] | None:
    """The probabilities in a row; None where all its cells are empty."""
    cells = [row.cells[name] for name in columns]
    return None if all(cell in (None, "") for cell in cells) else tuple(map(float, cells))


def _probability_problems(path: Path, rows: Sequence[TableRow], columns: Sequence[str]) -> Iterator[Problem]:
    wrong = []
    for row in rows:
        try:
            scores = _scores(row, columns)
            is_right = scores is None or (min(scores) >= 0 and abs(sum(scores) - 1) <= MAX_ROUNDING)
        except (TypeError, ValueError):
            is_right = False
        if not is_right:
            wrong.append(f"{row.where}: {', '.join(str(row.cells[name]) for name in columns)}")
    if wrong:
        what = f"has {len(wrong):,} rows whose {SCORE}LABEL are no probabilities"
        expected = "a number from 0 to 1 for each label, 1 in all; or nothing in any of these columns"
        yield Problem(str(path), what, expected, _named(wrong), code="predictions.not_probabilities")


def _given(row: TableRow) -> str:
    value = row.cells["prediction"]
    return INVALID if value is None or value == "" else str(value)


def _answer(prediction: Any) -> Answer:
    return Answer(None if prediction == INVALID else prediction)


def _id_problems(path: Path, rows: Sequence[TableRow], task: Task) -> Iterator[Problem]:
    for row in rows:
        if not isinstance(row.cells["id"], str) or not row.cells["id"]:
            got = repr(row.cells["id"])
            yield Problem(row.where, "the id is not a text", got=got, code="predictions.id_type")
    counts = Counter(row.cells["id"] for row in rows if isinstance(row.cells["id"], str))
    wanted = dict.fromkeys(record.id for record in task.records)
    scored = f"the {len(wanted):,} records that the recipe scores"
    for ids, what, code in (
        ([one for one, count in counts.items() if count > 1], "has {} ids more than once", "id_repeated"),
        (
            [one for one in counts if one and one not in wanted],
            f"has {{}} ids that are none of {scored}",
            "id_unknown",
        ),
        ([one for one in wanted if one not in counts], f"lacks {{}} of {scored}", "id_missing"),
    ):
        if ids:
            what = what.format(f"{len(ids):,}")
            yield Problem(str(path), what, got=_named(ids), code=f"predictions.{code}")


def _content_problem(path: Path, task: Task) -> Iterator[Problem]:
    """Where the predictions of a score folder were made on another dataset than this one."""
    if path.suffix.lower() != ".parquet":
        return
    import pyarrow.parquet as pq

    content = (pq.read_schema(path).metadata or {}).get(CONTENT_KEY, b"").decode(errors="replace")
    if content and content != task.dataset.content_sha256:
        yield Problem(
            str(path),
            "was made on another dataset",
            expected=f"content {task.dataset.content_sha256}",
            got=f"content {content}",
            fix="score the dataset that it was made on, or make the predictions again",
            code="predictions.other_dataset",
        )


def _label_problems(path: Path, rows: Sequence[TableRow], task: Task) -> Iterator[Problem]:
    allowed: tuple[Label | str, ...] = (*task.labels, INVALID)
    outside: dict[str, list[str]] = {}
    for row in rows:
        if _given(row) not in allowed:
            outside.setdefault(_given(row), []).append(row.where)
    if outside:
        yield Problem(
            str(path),
            "holds predictions that are no label of the corpus",
            expected=", ".join(allowed),
            got=_named([f"{name!r} ({len(at):,}, {at[0]})" for name, at in sorted(outside.items())]),
            fix=f"map them to labels; an answer that names none is {INVALID}",
            code="predictions.label_unknown",
        )


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:MAX_NAMED]) + (f", ... ({len(names)} in all)" if len(names) > MAX_NAMED else "")


def score_predictions(settings: ScoreRecipe, dataset: Path, predictions: Path) -> Scored:
    """The answers in a file; the protocol does not say how they were made, which is not known."""
    task = read_task(settings, dataset)
    return Scored(
        split=task.split,
        answers=read_answers(predictions, task),
        protocol=protocol_of(task),
        system=System(name=predictions.stem, kind="predictions"),
    )
