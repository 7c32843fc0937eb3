"""The records of a dataset folder: reading, order and content hash."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import MANIFEST, read_manifest, sha256_of
from dialoguellm_release.layout import CLEAN_CONFIG, DEFAULT_CONFIG, SFT_CONFIG, config_files
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import CORPUS_NAMES, LABELS, Split
from dialoguellm_release.schemas.manifests import FileStamp
from dialoguellm_release.schemas.record import COLUMNS, Record

ROWS_AT_ONCE = 4_000
_LABEL_OF = dict(enumerate(LABELS))


def record_files(dataset: Path, config: str, split: Split) -> tuple[FileStamp, ...]:
    """The Parquet files of a config and split as the dataset's manifest lists them, in reading order.

    Args:
        config: `default` for every corpus, `clean` for their clean part, or the name of one corpus.

    Raises:
        DataError: The folder is no dataset, or has no such config or split.
    """
    manifest = read_manifest(dataset, DatasetManifest)
    stamps = {stamp.path: stamp for stamp in manifest.outputs}
    found = tuple(stamps[path] for path in config_files(stamps, config, split) if config != SFT_CONFIG)
    if not found:
        there = [name for name in CORPUS_NAMES if name in manifest.figures.corpora]
        raise DataError(
            Problem(
                str(dataset / MANIFEST),
                f"no records of config {config}, split {split}",
                expected=f"config {' or '.join([DEFAULT_CONFIG, CLEAN_CONFIG, *there])}",
                fix="choose another config or split, or build the dataset with that corpus",
            )
        )
    return found


def read_records(dataset: Path, config: str, split: Split) -> Iterator[Record]:
    """The records of a config and split, each checked by the schema.

    Raises:
        DataError: A file is missing, is not the one that the manifest lists, or holds something else
            than records.
    """
    files = record_files(dataset, config, split)
    _check(dataset, files)
    for file in files:
        yield from records_in(dataset / file.path)


def _check(dataset: Path, files: tuple[FileStamp, ...]) -> None:
    problems = []
    for file in files:
        path = dataset / file.path
        if not path.is_file():
            problems.append(Problem(str(path), "the manifest lists this file, but it is not there"))
        elif (digest := sha256_of(path)) != file.sha256:
            problems.append(
                Problem(str(path), "not the file that the manifest lists", f"sha256 {file.sha256}", digest)
            )
    if problems:
        last = problems[-1]
        problems[-1] = Problem(last.where, last.what, last.expected, last.got, "build the dataset again")
        raise DataError(problems)


def records_in(path: Path) -> Iterator[Record]:
    """The records of one Parquet file, each checked by the schema, whatever its hash.

    Raises:
        DataError: The file is not Parquet, lacks a column, or holds something else than records.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            missing = [name for name in COLUMNS if name not in file.schema_arrow.names]
            if missing:
                raise DataError(Problem(str(path), f"lacks the columns {', '.join(missing)}"))
            row = 0
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=list(COLUMNS)):
                for values in batch.to_pylist():
                    row += 1
                    yield _record(values, f"{path}, row {row}")
    except pa.ArrowInvalid as error:
        raise DataError(Problem(str(path), f"not a Parquet file: {error}")) from error


def _record(values: dict[str, Any], where: str) -> Record:
    for name in ("context", "other_labels", "leaks"):
        if values[name] is not None:
            values[name] = tuple(values[name])
    try:
        values["label"] = _LABEL_OF[values["label"]]
        return Record.model_validate(values)
    except KeyError:
        problem = Problem(
            where, "label is no class id", expected=f"0 to {len(LABELS) - 1}", got=repr(values["label"])
        )
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        got = repr(first["input"]) if place else str(values["id"])
        problem = Problem(where, f"{place or 'the record'}: {first['msg']}", got=got)
    raise DataError(problem)


_NUMBER = re.compile("([0-9]+)")


def natural_order(dialogue_id: str) -> list[str | int]:
    """A key that sorts the numbers in ids as numbers: 2 before 10, `s01_e02` before `s01_e10`.

    >>> sorted(["10", "2", "s01_e10", "s01_e2"], key=natural_order)
    ['2', '10', 's01_e2', 's01_e10']
    """
    parts = _NUMBER.split(dialogue_id)
    return [int(part) if place % 2 else part for place, part in enumerate(parts)]


_RECORD = TypeAdapter(Record)


def record_digest(record: Record) -> bytes:
    """SHA-256 of a record's canonical JSON: UTF-8, the columns in their order, no white space."""
    return hashlib.sha256(_RECORD.dump_json(record)).digest()


def content_sha256(digests: Iterable[bytes]) -> str:
    """One hash over the digests of records, whatever their order."""
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()
