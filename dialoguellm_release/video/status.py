"""What the ledgers of a video folder say together: a record that one of them describes is described."""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import combined_sha256, sha256_of_text
from dialoguellm_release.schemas.dataset_manifest import VideoProvenance
from dialoguellm_release.schemas.labels import CorpusName
from dialoguellm_release.schemas.video import RecordCounts, RequestCounts, Spending, VideoStatus
from dialoguellm_release.serve.store import StoredAnswer
from dialoguellm_release.video.ledger import Setup, read_setup, reading, refuse_other

State = Literal["described", "refused", "failed", "waiting", "missing", "left_out"]
"""The state of a record; where ledgers differ, the first in this order counts."""

_RANK = {state: rank for rank, state in enumerate(get_args(State))}
_WITHOUT_FRAMES: dict[str, State] = {"no_clip": "missing", "left_out": "left_out"}


@dataclass(frozen=True)
class SeenRecord:
    """What became of a record.

    Attributes:
        answer: None where its frames have not been asked about, or have no answer yet.
        fault: The name of what is wrong with its clip, or with the answer.
    """

    id: str
    state: State
    answer: StoredAnswer | None
    fault: str | None


@dataclass
class Ledgers:
    """The ledgers of a folder, read.

    Attributes:
        records: The best that any ledger says of each record.
        spent_usd: What `priced` answers cost; `unpriced` is how many requests may have cost something too.
    """

    setup: Setup
    names: tuple[str, ...]
    records: dict[str, SeenRecord] = field(default_factory=dict)
    fates: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    skipped: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    spent_usd: float = 0.0
    priced: int = 0
    unpriced: int = 0


def read_ledgers(folder: Path) -> Ledgers:
    """Everything that the ledgers of a folder say.

    Raises:
        DataError: There is none, one is damaged, or they hold answers to different prompts or models.
    """
    with reading(folder) as open_ledgers:
        if not open_ledgers:
            fix = "make it with: dlm-release video describe"
            raise DataError(
                Problem(str(folder), "no ledger of video descriptions here", fix=fix, code="video.no_ledger")
            )
        setup = read_setup(open_ledgers[0][1])
        found = Ledgers(setup, tuple(path.name for path, _ in open_ledgers))
        answers: dict[str, StoredAnswer] = {}
        for path, db in open_ledgers:
            refuse_other(path, read_setup(db), setup)
            answers |= _answers(db)
            _add_requests(found, db)
        for _, db in open_ledgers:
            for record in _records(db, answers):
                before = found.records.get(record.id)
                if before is None or _RANK[record.state] < _RANK[before.state]:
                    found.records[record.id] = record
    return found


def answered_elsewhere(folder: Path, own: str | None) -> tuple[set[str], set[str]]:
    """Ids of records and keys of questions to which the other ledgers of a folder have an answer.

    Args:
        own: The name of the ledger that is not read; None reads all.
    """
    records: set[str] = set()
    questions: set[str] = set()
    sql = "SELECT record.id FROM record JOIN answer ON answer.key = record.key"
    with reading(folder, own) as open_ledgers:
        for _, db in open_ledgers:
            questions |= {key for (key,) in db.execute("SELECT key FROM answer")}
            records |= {name for (name,) in db.execute(sql)}
    return records, questions


def summary(ledgers: Ledgers) -> VideoStatus:
    """The counts that a user asks for."""
    setup = ledgers.setup
    by_corpus: defaultdict[CorpusName, list[SeenRecord]] = defaultdict(list)
    for record in ledgers.records.values():
        by_corpus[record.id.partition("/")[0]].append(record)
    described = [one.answer for one in ledgers.records.values() if one.answer and one.state == "described"]
    models = Counter(answer.model or setup.model for answer in described)
    waiting = sum(record.state == "waiting" for record in ledgers.records.values())
    return VideoStatus(
        ledgers=ledgers.names,
        recipe=setup.recipe,
        model=setup.model,
        prompt=setup.prompt,
        prompt_sha256=setup.prompt_sha256,
        records=_counted(ledgers.records.values()),
        by_corpus={name: _counted(by_corpus[name]) for name in sorted(by_corpus)},
        requests=RequestCounts(
            answered=ledgers.fates["answered"],
            declined=dict(sorted(ledgers.reasons.items())),
            unknown=ledgers.fates["unknown"],
            open=ledgers.fates["open"],
        ),
        models=dict(sorted(models.items())),
        pictures_skipped=ledgers.skipped,
        spending=_spending(ledgers, waiting),
    )


def _answers(db: sqlite3.Connection) -> dict[str, StoredAnswer]:
    sql = "SELECT key, state, text, reason, model FROM answer"
    return {
        key: StoredAnswer(state, text, reason=reason, model=model)
        for key, state, text, reason, model in db.execute(sql)
    }


def _records(db: sqlite3.Connection, answers: dict[str, StoredAnswer]) -> Iterator[SeenRecord]:
    for name, key, fault in db.execute("SELECT id, key, fault FROM record"):
        answer = answers.get(key)
        if answer is not None:
            state: State = "described" if answer.state == "answered" else answer.state
            yield SeenRecord(name, state, answer, answer.reason)
        elif fault is None:
            yield SeenRecord(name, "waiting", None, None)
        else:
            yield SeenRecord(name, _WITHOUT_FRAMES.get(fault, "failed"), None, fault)


def _add_requests(found: Ledgers, db: sqlite3.Connection) -> None:
    for fate, reason, count in db.execute("SELECT fate, reason, count(*) FROM request GROUP BY fate, reason"):
        found.fates[fate] += count
        if fate == "declined":
            found.reasons[reason] += count
    (skipped,) = db.execute("SELECT coalesce(sum(skipped), 0) FROM record").fetchone()
    found.skipped += skipped
    sums = """
        SELECT coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0), coalesce(sum(cost_usd), 0),
               count(cost_usd),
               coalesce(sum(fate = 'unknown' OR (fate = 'answered' AND cost_usd IS NULL)), 0)
        FROM request
    """
    asked, given, cost, priced, unpriced = db.execute(sums).fetchone()
    found.input_tokens += asked
    found.output_tokens += given
    found.spent_usd += cost
    found.priced += priced
    found.unpriced += unpriced


def _counted(records: Iterable[SeenRecord]) -> RecordCounts:
    states = Counter(record.state for record in records)
    faults = Counter(_fault(record) for record in records if record.state == "failed")
    return RecordCounts(
        described=states["described"],
        refused=states["refused"],
        failed=dict(sorted(faults.items())),
        missing=states["missing"],
        left_out=states["left_out"],
        waiting=states["waiting"],
    )


def _fault(record: SeenRecord) -> str:
    """The name of a fault, without the words that a server may have added."""
    return (record.fault or "").partition(":")[0]


def _spending(ledgers: Ledgers, waiting: int) -> Spending:
    estimate = ledgers.setup.estimate_usd
    mean = ledgers.spent_usd / ledgers.priced if ledgers.priced else estimate
    priced = estimate is not None and mean is not None
    return Spending(
        input_tokens=ledgers.input_tokens,
        output_tokens=ledgers.output_tokens,
        spent_usd=ledgers.spent_usd if priced else None,
        unknown_usd=ledgers.unpriced * estimate if estimate is not None else None,
        to_come_usd=waiting * mean if mean is not None and priced else None,
    )


def failures(ledgers: Ledgers) -> dict[str, str]:
    """The records that failed or were refused, by id, each with what is known of it."""
    return {
        record.id: f"{record.state}: {record.fault}"
        for record in ledgers.records.values()
        if record.state in ("failed", "refused")
    }


@dataclass(frozen=True)
class Descriptions:
    """Descriptions by record id, and where they are from."""

    texts: dict[str, str]
    provenance: VideoProvenance


def read_descriptions(folder: Path) -> Descriptions:
    """The descriptions in the ledgers of a video folder.

    Raises:
        DataError: There is no ledger, or one cannot be used.
    """
    ledgers = read_ledgers(folder)
    setup = ledgers.setup
    texts: dict[str, str] = {}
    models: Counter[str] = Counter()
    for record in ledgers.records.values():
        if record.answer is not None and record.state == "described" and record.answer.text:
            texts[record.id] = record.answer.text
            models[record.answer.model or setup.model] += 1
    provenance = VideoProvenance(
        recipe=setup.recipe,
        recipe_sha256=setup.recipe_sha256,
        model=setup.model,
        model_versions=dict(sorted(models.items())),
        prompt=setup.prompt,
        prompt_sha256=setup.prompt_sha256,
        content_sha256=combined_sha256((name, sha256_of_text(text)) for name, text in texts.items()),
        refused=sum(record.state == "refused" for record in ledgers.records.values()),
    )
    return Descriptions(texts, provenance)
