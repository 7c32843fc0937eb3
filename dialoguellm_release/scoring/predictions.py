"""Predictions as files: those of a score folder, and those of other programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.schemas.labels import Label
from dialoguellm_release.schemas.recipes.score import ScoreRecipe
from dialoguellm_release.schemas.scores import System
from dialoguellm_release.scoring.answers import Answer
from dialoguellm_release.scoring.task import Scored, Task, protocol_of, read_task
from dialoguellm_release.tabular import TableRow, read_rows

INVALID = "invalid"
"""An answer that names no label, as in the metric `erc_scores`."""
DRAWN = "drawn"
"""An answer that is drawn at random; its scores are the probabilities of the labels."""
PREDICTIONS = "predictions.parquet"
CONTENT_KEY = b"dataset_content_sha256"
MAX_NAMED = 10


def write_predictions(scored: Scored, path: Path) -> None:
    """Writes a Parquet file with a row for each record: id, reference and prediction.

    Further columns where the system gives them: a score for each label, the text, the ids of examples.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    labels = scored.protocol.label_space
    columns: dict[str, Any] = {
        "id": [record.id for record in scored.records],
        "reference": [record.output for record in scored.records],
        "prediction": [answer.label or (DRAWN if answer.is_drawn else INVALID) for answer in scored.answers],
    }
    if any(answer.scores is not None for answer in scored.answers):
        for place, label in enumerate(labels):
            columns[f"score_{label}"] = pa.array(
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
    return columns["id"], columns["reference"], [_own_answer(one) for one in columns["prediction"]]


def _own_answer(prediction: Any) -> Answer:
    return Answer(None, is_drawn=True) if prediction == DRAWN else _answer(prediction)


def read_answers(path: Path, task: Task) -> list[Answer]:
    """The answers in a file of predictions, in the order of the records of a task.

    Args:
        path: CSV with a header, JSON Lines or Parquet, with the columns `id` and `prediction`. Null, the
            empty text and `invalid` stand for an answer that names no label; all else has to be a label.

    Raises:
        DataError: With every fault of the file: ids that are missing, repeated or unknown, labels outside the
            label space, or another dataset.
    """
    rows = read_rows(path, ("id", "prediction"))
    problems = [
        *_content_problem(path, task),
        *_id_problems(path, rows, task),
        *_label_problems(path, rows, task),
    ]
    if problems:
        raise DataError(problems)
    given = {row.cells["id"]: _given(row) for row in rows}
    return [_answer(given[record.id]) for record in task.records]


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
    wanted = {record.id: None for record in task.records}
    repeated = [one for one, count in counts.items() if count > 1]
    unknown = [one for one in counts if one and one not in wanted]
    missing = [one for one in wanted if one not in counts]
    scored = f"the {len(wanted):,} records that the recipe scores"
    if repeated:
        what = f"has {len(repeated):,} ids more than once"
        yield Problem(
            str(path), what, "one row for each id", _named(repeated), code="predictions.id_repeated"
        )
    if unknown:
        what = f"has {len(unknown):,} ids that are none of {scored}"
        yield Problem(str(path), what, got=_named(unknown), code="predictions.id_unknown")
    if missing:
        what = f"lacks {len(missing):,} of {scored}"
        yield Problem(str(path), what, got=_named(missing), code="predictions.id_missing")


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
    """The answers in a file; the protocol says nothing of how they came about, for nobody here knows it.

    Raises:
        DataError: The file does not hold one prediction for each record, and nothing else.
    """
    task = read_task(settings, dataset)
    return Scored(
        split=task.split,
        answers=read_answers(predictions, task),
        protocol=protocol_of(task),
        system=System(name=predictions.stem, kind="predictions"),
    )
