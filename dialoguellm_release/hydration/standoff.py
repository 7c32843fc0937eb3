"""Stand-off rows: ids, labels and positions of a dataset without its text, and hashes to check a text by."""

from __future__ import annotations

import hmac
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from dialoguellm_release.dataset.parquet import RowWriter, standoff_schema
from dialoguellm_release.errors import DataError, Problem, problems_of
from dialoguellm_release.folders import stamp
from dialoguellm_release.layout import DataFile, StandoffFile, data_file
from dialoguellm_release.records import labels_in, natural_order
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import SPLITS, CorpusName, Label, Split
from dialoguellm_release.schemas.manifests import FileStamp
from dialoguellm_release.schemas.record import STANDOFF_COLUMNS, StandoffRow

if TYPE_CHECKING:
    import pyarrow as pa

_READ = (*(name for name in STANDOFF_COLUMNS if name != "window_hmac"), "speaker", "input")


class Turn(NamedTuple):
    """What a window has of an utterance."""

    id: str
    speaker: str | None
    text: str


def write_standoff(
    dataset: Path, manifest: DatasetManifest, corpora: Sequence[CorpusName], folder: Path
) -> tuple[FileStamp, ...]:
    """The stamps of `standoff/CORPUS/SPLIT-00000.parquet`, which it writes below a folder.

    The rows are sorted by dialogue id and turn, whatever files hold the records.

    Args:
        dataset: A folder whose files agree with the manifest.
        corpora: The corpora of the dataset that get rows.
    """
    written = []
    for name in corpora:
        for split in SPLITS:
            held = [(file, data_file(file.path)) for file in manifest.outputs]
            files = [dataset / file.path for file, one in held if _is_of(one, name, split)]
            if files:
                path = folder / StandoffFile(name, split).path
                with RowWriter(path, standoff_schema(manifest.figures.class_labels)) as rows:
                    rows.add(_columns(_in_order(files), manifest.content_sha256))
                written.append(stamp(path, folder))
    return tuple(written)


def _is_of(file: DataFile | None, corpus: CorpusName, split: Split) -> bool:
    return file is not None and not file.is_sft and (file.corpus, file.split) == (corpus, split)


def read_standoff(path: Path) -> Iterator[StandoffRow]:
    """The rows of a stand-off file, each checked by the schema.

    Raises:
        DataError: The file is not Parquet, lacks a column, or holds something else than stand-off rows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            missing = [name for name in STANDOFF_COLUMNS if name not in file.schema_arrow.names]
            if missing:
                what = f"lacks the columns {', '.join(missing)}"
                raise DataError(Problem(str(path), what, code="hydration.columns_missing"))
            row, labels = 0, labels_in(file.schema_arrow)
            for batch in file.iter_batches(columns=list(STANDOFF_COLUMNS)):
                for values in batch.to_pylist():
                    row += 1
                    yield _row(values, labels, f"{path}, row {row}")
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            Problem(str(path), f"cannot be read: {error}", code="hydration.unreadable_rows")
        ) from error


def window_hmacs(salt: str, turns: Sequence[Turn]) -> list[str | None]:
    """For each turn of a dialogue the hash of its window; None where the dialogue has no other turn.

    A window is the turn before, the turn and the turn after, as far as they are there. What is hashed is
    canonical JSON: the id of the record, then speaker and text of each turn of its window.

    Why: with the id in it, equal windows have different hashes, and a guess that is confirmed at one
    record says nothing about another. A hash of one utterance alone would confirm a guess, so there is none.

    Args:
        salt: The content hash of the build, in hexadecimal digits.
    """
    if len(turns) == 1:
        return [None]
    return [
        window_hmac(salt, turn.id, turns[max(0, place - 1) : place + 2]) for place, turn in enumerate(turns)
    ]


def window_hmac(salt: str, record_id: str, window: Sequence[Turn]) -> str:
    """The hash of one window of two turns or three.

    >>> window_hmac("00" * 32, "meld/test/0/0", [Turn("", "Robin", "Hello!"), Turn("", None, "Hi.")])[:16]
    '86cbe378931dfd43'
    """
    parts = [record_id, [[turn.speaker, turn.text] for turn in window]]
    message = json.dumps(parts, ensure_ascii=False, separators=(",", ":")).encode()
    return hmac.digest(bytes.fromhex(salt), message, "sha256").hex()


def _in_order(files: Sequence[Path]) -> pa.Table:
    """The records of a split with the columns that are needed, dialogue after dialogue."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.concat_tables(pq.read_table(path, columns=list(_READ)) for path in files)
    dialogues, numbers = table["dialogue_id"].to_pylist(), table["utterance_index"].to_pylist()
    keys = {dialogue: natural_order(dialogue) for dialogue in set(dialogues)}
    return table.take(sorted(range(len(table)), key=lambda row: (keys[dialogues[row]], numbers[row])))


def _columns(table: pa.Table, salt: str) -> list[list[Any]]:
    """The columns of the stand-off rows of whole dialogues."""
    dialogues: defaultdict[str, list[Turn]] = defaultdict(list)
    read = (table[name].to_pylist() for name in ("dialogue_id", "id", "speaker", "input"))
    for dialogue, *values in zip(*read, strict=True):
        dialogues[dialogue].append(Turn(*values))
    hashes = [one for turns in dialogues.values() for one in window_hmacs(salt, turns)]
    return [hashes if name == "window_hmac" else table[name].to_pylist() for name in STANDOFF_COLUMNS]


def _row(values: dict[str, Any], labels: Sequence[Label], where: str) -> StandoffRow:
    for name in ("other_labels", "leaks"):
        if values[name] is not None:
            values[name] = tuple(values[name])
    label = values["label"]
    values["label"] = labels[label] if isinstance(label, int) and 0 <= label < len(labels) else label
    try:
        return StandoffRow.model_validate(values)
    except ValidationError as error:
        what = f"{values['id']} is not a stand-off row"
        raise DataError(problems_of(error, where, what, code="hydration.not_a_row")) from error
