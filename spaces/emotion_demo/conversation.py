"""A visitor's conversation: read, labelled and written as a table. Nothing here knows of Gradio."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from dialoguellm_release.errors import DataError, Problem, ReleaseError
from dialoguellm_release.predict.files import lines_of, predicted_rows, warnings_of
from dialoguellm_release.predict.predictor import EmotionPredictor
from dialoguellm_release.predict.reading import ConversationFile, open_file
from dialoguellm_release.progress import say
from dialoguellm_release.render.predictions import probability_column
from dialoguellm_release.schemas.release import AppAdapter, AppAdapters

ADAPTERS_VARIABLE = "DLM_APP_ADAPTERS"
MOST_BYTES = 1 << 20
MOST_TURNS = 500
FILE_TYPES = (".txt", ".srt", ".vtt", ".csv", ".tsv", ".jsonl")


@dataclass(frozen=True)
class Labelled:
    """A conversation with its emotions.

    Attributes:
        rows: One for each turn, with the columns of `dlm-release predict`.
        labels: What the adapter chooses from.
        notes: What a reader of these rows should know.
    """

    rows: Sequence[dict[str, Any]]
    labels: Sequence[str]
    notes: Sequence[str]

    def csv(self) -> str:
        """The rows as a table, which a spreadsheet takes for UTF-8."""
        return "\ufeff" + lines_of(self.rows, self.labels, "csv", has_header=True)


def offered_adapters() -> dict[str, AppAdapter]:
    """The adapters of `adapters.json`, or of the file that the environment names, by what a visitor sees."""
    path = Path(os.environ.get(ADAPTERS_VARIABLE) or Path(__file__).with_name("adapters.json"))
    listed = AppAdapters.model_validate_json(path.read_text(encoding="utf-8")).adapters
    return {" · ".join([one.name, *([one.corpus] if one.corpus else [])]): one for one in listed}


@lru_cache(maxsize=1)
def predictor_of(one: AppAdapter) -> EmotionPredictor:
    """The predictor of an adapter; only one is held, as two may not fit into memory."""
    return EmotionPredictor.from_pretrained(
        one.adapter, revision=one.revision, backbone=one.backbone, corpus=one.corpus
    )


def label_conversation(text: str, file: str | None, adapter: AppAdapter, least: float) -> Labelled:
    """The emotions of a pasted conversation, or of a file, which goes first.

    Args:
        least: Turns whose likeliest label is less probable get none, where the adapter is calibrated.

    Raises:
        DataError: There is nothing to label, too much, or the file is not of its format.
    """
    with tempfile.TemporaryDirectory() as scratch:
        source = _source(text, file, Path(scratch))
        if source.count > MOST_TURNS:
            what, expected = "has too many turns for this demo", f"at most {MOST_TURNS}"
            raise DataError(Problem(source.name, what, expected, f"{source.count:,}", code="app.turns"))
        predictor = _loaded(adapter)
        warnings = warnings_of(source, predictor)
        rows = [row for piece in predicted_rows(source, predictor) for row in piece]
    notes = [f"From {source.name}; the text was not used"] if file and text.strip() else []
    if (count := len({row["conversation"] for row in rows})) > 1:
        notes.append(
            f"{count} conversations; in chat a blank line begins another, without the turns before it"
        )
    if predictor.temperature is not None:
        rows = [_where_sure(row, least) for row in rows]
    return Labelled(rows, predictor.labels, [*notes, *warnings])


def _loaded(adapter: AppAdapter) -> EmotionPredictor:
    """The predictor of an adapter; why there is none is for the log, as it names folders of the server."""
    try:
        return predictor_of(adapter)
    except ReleaseError as error:
        say(str(error))
        what, fix = "cannot be loaded here", "choose another adapter, or come back later"
        raise DataError(Problem(adapter.name, what, fix=fix, code="app.model")) from error


def _source(text: str, file: str | None, scratch: Path) -> ConversationFile:
    if file is not None:
        path, name, form = Path(file), Path(file).name, None
    else:
        path, name, form = scratch / "conversation.txt", "the conversation", "chat"
        path.write_text(text, encoding="utf-8", errors="replace")
        if text.lstrip().startswith("WEBVTT"):
            form = "vtt"
        elif re.search(r"\d\s*-->\s*\d", text):  # between the times of subtitles
            form = "srt"
    if path.stat().st_size > MOST_BYTES:
        what, got = "is too large for this demo", f"{path.stat().st_size:,} bytes"
        raise DataError(Problem(name, what, f"at most {MOST_BYTES:,}", got, code="app.bytes"))
    if file is None and not text.strip():
        what, fix = "is empty", "paste a conversation, upload a file or choose an example"
        raise DataError(Problem(name, what, fix=fix, code="app.empty"))
    return open_file(path, name, form)


def _where_sure(row: dict[str, Any], least: float) -> dict[str, Any]:
    """The row without a label that is less probable than asked for."""
    if row["label"] is None or row[probability_column(row["label"])] >= least:
        return row
    return {**row, "label": None, "reason": f"not sure: below {least:.0%}"}


def examples() -> dict[str, str]:
    """Conversations of our own writing, by name."""
    path = Path(__file__).with_name("examples.json")
    return dict(json.loads(path.read_text(encoding="utf-8")))
