"""The records of a dataset folder: reading, order and content hash."""

from __future__ import annotations

import gc
import hashlib
import heapq
import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from operator import itemgetter
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from dialoguellm_release.errors import DataError, Problem, problems_of
from dialoguellm_release.folders import MANIFEST, changed_files, read_manifest
from dialoguellm_release.layout import CLEAN_CONFIG, DEFAULT_CONFIG, SFT_CONFIG, config_files
from dialoguellm_release.record_columns import are_records, columns_of, columns_schema
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import LABELS, Label, Split
from dialoguellm_release.schemas.manifests import FileStamp
from dialoguellm_release.schemas.record import COLUMNS, Record, Row

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    from numpy.typing import NDArray

ROWS_AT_ONCE = 4_000


def record_files(dataset: Path, config: str, split: Split) -> tuple[FileStamp, ...]:
    """The files that a config reads for a split, by the dataset's manifest, the clean parts first."""
    return _files(dataset, read_manifest(dataset, DatasetManifest), config, split)


def read_records(dataset: str | PathLike[str], config: str, split: Split) -> Iterator[Record]:
    """The records of a config and split in their canonical order, each checked by the schema.

    The order is: corpora as in the dataset's recipe, dialogues by their ids (numbers in ids as numbers),
    utterances by their index. It depends on the records alone, and not on the files that hold them: the
    records of one corpus come in the same order whichever other corpora were built, and whatever is drawn
    from them with a seed is the same.

    Args:
        dataset: A dataset folder.
        config: `default` for every corpus, `clean` for their clean part, or the name of one corpus.
        split: The split.

    Returns:
        An iterator over the records.

    Raises:
        DataError: A file is missing, is not the one that the manifest lists, or does not hold records.

    Example:
        >>> for record in read_records("build/dataset", "clean", "train"):  # doctest: +SKIP
        ...     print(record.id, record.label)
    """
    dataset = Path(dataset)
    manifest = read_manifest(dataset, DatasetManifest)
    files = _files(dataset, manifest, config, split)
    if problems := list(changed_files(dataset, files, "build the dataset again", "records")):
        raise DataError(problems)
    for name in manifest.figures.corpora:
        paths = [dataset / file.path for file in files if file.path.startswith(f"data/{name}/")]
        if paths:
            yield from _sorted_records(paths)


def _files(dataset: Path, manifest: DatasetManifest, config: str, split: Split) -> tuple[FileStamp, ...]:
    stamps = {stamp.path: stamp for stamp in manifest.outputs}
    corpora = tuple(manifest.figures.corpora)
    found = tuple(
        stamps[path] for path in config_files(stamps, config, split, corpora) if config != SFT_CONFIG
    )
    if not found:
        names = [DEFAULT_CONFIG, CLEAN_CONFIG, *manifest.figures.corpora]
        where, what = str(dataset / MANIFEST), f"no records of config {config}, split {split}"
        expected, code = f"config {' or '.join(names)}", "records.no_such_config"
        fix = "choose another config or split, or build the dataset with that corpus"
        raise DataError(Problem(where, what, expected, fix=fix, code=code))
    return found


def rows_in(path: Path, model: type[Row]) -> Iterator[Row]:
    """The rows of one Parquet file in their order, each checked by the schema."""
    row, columns = 0, list(model.model_fields)
    with opened(path, columns) as file:
        labels = _labels_in(file.schema_arrow)
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=columns):
            for values in batch.to_pylist():
                row += 1
                yield _checked(values, labels, f"{path}, row {row}", model)


def read_columns(dataset: Path, config: str, split: Split) -> Iterator[pa.Table]:
    """The records of a config and split as columns, file by file; see `columns_in`."""
    files = record_files(dataset, config, split)
    if problems := list(changed_files(dataset, files, "build the dataset again", "records")):
        raise DataError(problems)
    for file in files:
        yield from columns_in(dataset / file.path)


def columns_in(path: Path) -> Iterator[pa.Table]:
    """The records of one Parquet file in their order as columns, some thousand at once, each checked."""
    import pyarrow as pa

    first = 1
    with opened(path, COLUMNS) as file:
        labels = _labels_in(file.schema_arrow)
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=list(COLUMNS)):
            found = _with_names(pa.Table.from_batches([batch]).select(COLUMNS), labels)
            if found is not None and are_records(found):
                first += batch.num_rows
                yield found.cast(columns_schema())
                continue
            good = list[Record]()
            try:
                for row, values in enumerate(batch.to_pylist(), first):
                    good.append(_checked(values, labels, f"{path}, row {row}", Record))
            except DataError:
                yield columns_of(good)
                raise
            raise AssertionError(f"{path}: its columns are refused, and none of its records is")


def _with_names(columns: pa.Table, labels: Sequence[Label]) -> pa.Table | None:
    """Columns with the names of their class ids; None where some are no class ids."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ids, place = columns["label"], COLUMNS.index("label")
    if not pa.types.is_integer(ids.type) or ids.null_count:
        return None
    if len(ids) and not 0 <= pc.min(ids).as_py() <= pc.max(ids).as_py() < len(labels):
        return None
    return columns.set_column(place, "label", pa.array(labels, pa.string()).take(ids.combine_chunks()))


@contextmanager
def paused_garbage_collection() -> Iterator[None]:
    """Pauses the search for reference cycles, which records and columns do not make.

    Why: a sixth of the time of a build or a check went into traversing what it holds, over and over.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def return_memory() -> None:
    """Returns memory that is no longer used to the system, which Arrow and C would keep for later.

    Why: what one step of an audit leaves free is in pieces of other sizes than the next one asks for.
    """
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    pa.system_memory_pool().release_unused()  # of glibc: what NumPy and Python took from it


def _labels_in(schema: pa.Schema) -> tuple[Label, ...]:
    """The names of the class ids in the metadata of a Parquet file; without any, the canonical ones."""
    try:
        described = json.loads((schema.metadata or {})[b"huggingface"])
        names = described["info"]["features"]["label"]["names"]
    except (KeyError, TypeError, ValueError):
        return LABELS
    return tuple(names) if isinstance(names, list) and all(isinstance(one, str) for one in names) else LABELS


@contextmanager
def opened(path: Path, columns: Iterable[str]) -> Iterator[pq.ParquetFile]:
    """A Parquet file that has some columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            missing = [name for name in columns if name not in file.schema_arrow.names]
            if missing:
                what = f"lacks the columns {', '.join(missing)}"
                raise DataError(Problem(str(path), what, code="records.columns_missing"))
            yield file
    except (pa.ArrowInvalid, OSError) as error:
        problem = Problem(str(path), f"cannot be read: {error}", code="records.not_parquet")
        raise DataError(problem) from error


def _sorted_records(paths: Sequence[Path]) -> Iterator[Record]:
    """The records of files of one corpus and split, by dialogue and utterance."""
    import pyarrow as pa

    tables = []
    for path in paths:
        with opened(path, COLUMNS) as file:
            tables.append(file.read(columns=list(COLUMNS)))
    labels = _labels_in(tables[0].schema)
    starts = list(accumulate((table.num_rows for table in tables), initial=0))
    table = pa.concat_tables(tables, promote_options="permissive").combine_chunks()
    order = _canonical_order(table)
    for start in range(0, len(order), ROWS_AT_ONCE):
        rows = order[start : start + ROWS_AT_ONCE]
        for row, values in zip(rows.tolist(), table.take(rows).to_pylist(), strict=True):
            file = bisect_right(starts, row) - 1
            yield _checked(values, labels, f"{paths[file]}, row {row - starts[file] + 1}", Record)


def _canonical_order(table: pa.Table) -> NDArray[np.int64]:
    """The rows by dialogue and utterance, or as they are where these columns are damaged."""
    import numpy as np
    import pyarrow as pa

    ids, numbers = table["dialogue_id"], table["utterance_index"]
    if not pa.types.is_integer(numbers.type) or numbers.null_count or ids.null_count:
        return np.arange(table.num_rows)
    dialogues = ids.combine_chunks().dictionary_encode()
    names = [str(name) for name in dialogues.dictionary.to_pylist()]
    rank = np.empty(len(names), dtype=np.int64)
    rank[sorted(range(len(names)), key=lambda one: natural_order(names[one]))] = np.arange(len(names))
    return np.lexsort((numbers.to_numpy(), rank[dialogues.indices.to_numpy()]))


def _checked(values: dict[str, Any], labels: Sequence[Label], where: str, model: type[Row]) -> Row:
    for name, value in values.items():
        if isinstance(value, list):
            values[name] = tuple(value)
    label = values["label"]
    if not isinstance(label, int) or not 0 <= label < len(labels):
        what, expected = "label is no class id", f"0 to {len(labels) - 1}"
        raise DataError(Problem(where, what, expected, repr(label), code="records.unknown_label"))
    values["label"] = labels[label]
    try:
        return model.model_validate(values)
    except ValidationError as error:
        what = f"{values['id']} is not a {'record' if model is Record else 'stand-off row'}"
        raise DataError(problems_of(error, where, what, code="records.not_a_record")) from error


_NUMBER = re.compile("([0-9]+)")


def natural_order(dialogue_id: str) -> tuple[object, ...]:
    """A key that sorts the numbers in ids as numbers: 2 before 10, `s01_e02` before `s01_e10`.

    >>> sorted(["10", "2", "s01_e10", "s01_e2"], key=natural_order)
    ['2', '10', 's01_e2', 's01_e10']
    """
    parts: list[object] = list(_NUMBER.split(dialogue_id))
    parts[1::2] = [(len(number.lstrip("0")), number.lstrip("0")) for number in map(str, parts[1::2])]
    return (*parts, dialogue_id)


def draw_records(records: Iterable[Record], most: int | None, seed: int) -> Iterator[Record]:
    """So many of the records, drawn by a seed and in their order; all of them where `most` is None.

    Why hashes of ids: the draw is the same in every version of Python, and hardly changes with a record more.
    """
    if most is None:
        return iter(records)

    def lot(one: tuple[int, Record]) -> bytes:
        return hashlib.sha256(f"{seed}/{one[1].id}".encode()).digest()

    drawn = heapq.nsmallest(most, enumerate(records), key=lot)
    return (record for _, record in sorted(drawn, key=itemgetter(0)))


def content_sha256(digests: Iterable[bytes]) -> str:
    """One hash over the digests of records, each alone or some joined, whatever their order."""
    import numpy as np

    return hashlib.sha256(np.sort(np.frombuffer(b"".join(digests), dtype="S32")).tobytes()).hexdigest()


def shown_sha256(records: Iterable[Record]) -> str:
    """One hash over what a model is shown of records, in their order.

    Why: `leaks` and licences depend on the other corpora of a dataset, and change no training.
    """
    digest = hashlib.sha256()
    for record in records:
        shown = (record.id, record.instruction, record.video_description, record.context, record.input)
        digest.update(json.dumps([*shown, record.output], ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()
