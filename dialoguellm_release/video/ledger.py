"""The ledgers of a video folder: stores of answers, with their records and clips, and what they say together.

A record that one ledger of a folder describes is described.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import alone, canonical_json, combined_sha256, sha256_of_text
from dialoguellm_release.schemas.dataset_manifest import VideoProvenance
from dialoguellm_release.schemas.labels import CorpusName
from dialoguellm_release.schemas.video import RecordCounts, RequestCounts, Spending, VideoStatus
from dialoguellm_release.serve.store import (
    BUSY_S,
    END_OPEN,
    AnswerStore,
    Change,
    StoredAnswer,
    open_store,
    unusable,
)
from dialoguellm_release.video.clips import LEDGER_SUFFIX, Clip, FoundClips
from dialoguellm_release.video.frames import Extracted, SeenFile
from dialoguellm_release.video.questions import question_key

_TABLES = """
CREATE TABLE IF NOT EXISTS setup (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS clip (
    name TEXT PRIMARY KEY, bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, sha256 TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS record (
    id TEXT PRIMARY KEY, clip TEXT, frames TEXT, key TEXT, skipped INTEGER, fault TEXT, detail TEXT
);
"""


@dataclass(frozen=True)
class Setup:
    """What a ledger holds answers to; all ledgers of a folder have the same `asking`."""

    recipe: str
    recipe_sha256: str
    asking: str  # hash of everything that shapes an answer
    model: str
    prompt: str
    prompt_sha256: str
    estimate_usd: float | None  # cost of a request of which no tokens were counted; None without prices
    created_by: dict[str, str]


@contextmanager
def reading(folder: Path, but: str | None = None) -> Iterator[list[tuple[Path, sqlite3.Connection]]]:
    """The ledgers of a folder but one, for reading, also while runs write them; empty ones are left out."""
    path = folder
    try:
        with ExitStack() as stack:
            found = []
            for path in sorted(folder.glob(f"*{LEDGER_SUFFIX}")):
                if path.name != but and not path.name.startswith("."):
                    db = stack.enter_context(closing(_connected(path)))
                    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'setup'").fetchone():
                        found.append((path, db))
            yield found
    except sqlite3.Error as error:
        raise unusable(path, error) from error


def _connected(path: Path) -> sqlite3.Connection:
    """Why not read-only: a journal that a killed run left has to be rolled back before reading."""
    mode = "rw" if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK) else "ro"
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=BUSY_S)


def read_setup(db: sqlite3.Connection) -> Setup:
    """What a ledger holds answers to."""
    (value,) = db.execute("SELECT value FROM setup WHERE name = 'setup'").fetchone()
    return Setup(**json.loads(value))


@dataclass(frozen=True)
class Ledger:
    """A ledger that this run alone writes: a store of answers, with their records and clips."""

    store: AnswerStore

    def plan(self, found: FoundClips) -> None:
        """Adds the records of a run; what is known of them stays, but a fault of a clip may be corrected."""
        sql = """
            INSERT INTO record (id, clip, fault, detail) VALUES (?, ?, ?, ?)
            ON CONFLICT (id) DO UPDATE
            SET clip = excluded.clip, fault = excluded.fault, detail = excluded.detail
            WHERE record.key IS NULL
        """
        rows = [
            *((clip.record_id, clip.name, None, None) for clip in found.clips),
            *((name, None, "no_clip", None) for name in found.without_clip),
            *((name, None, "several_clips", ", ".join(files)) for name, files in found.several.items()),
            *((name, None, "left_out", reason) for name, reason in found.left_out.items()),
        ]
        self.store.commit((sql, row) for row in rows)

    def waiting(self, clips: Sequence[Clip]) -> list[Clip]:
        """The clips whose record has no answer yet."""
        rows = self.store.db.execute("SELECT id FROM record WHERE key IN (SELECT key FROM answer)")
        done = {name for (name,) in rows}
        return [clip for clip in clips if clip.record_id not in done]

    def clip_hashes(self) -> dict[str, SeenFile]:
        """Size, modification time and hash of the files that were read, by name."""
        rows = self.store.db.execute("SELECT name, bytes, mtime_ns, sha256 FROM clip")
        return {name: SeenFile(*seen) for name, *seen in rows}


def noted(extracted: Extracted, asking: str) -> tuple[str | None, tuple[Change, ...]]:
    """The key of the question about a clip, None without frames; and what the ledger has to hold."""
    clip, fault = extracted.clip, extracted.fault
    changes: list[Change] = []
    if extracted.file is not None:
        changes.append(("INSERT OR REPLACE INTO clip VALUES (?, ?, ?, ?)", (clip.name, *extracted.file)))
    if fault is not None:
        failed = "UPDATE record SET fault = ?, detail = ? WHERE id = ?"
        return None, (*changes, (failed, (fault.name, fault.detail, clip.record_id)))
    key = question_key(asking, extracted.frames)
    hashes = json.dumps([frame.sha256 for frame in extracted.frames])
    shown = "UPDATE record SET key = ?, frames = ?, skipped = ?, fault = NULL, detail = NULL WHERE id = ?"
    return key, (*changes, (shown, (key, hashes, extracted.skipped, clip.record_id)))


@contextmanager
def writing(path: Path, setup: Setup) -> Iterator[Ledger]:
    """The ledger at a path, created where there is none; requests that a killed run left open are marked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stated = ("INSERT OR IGNORE INTO setup VALUES ('setup', ?)", (canonical_json(vars(setup)),))
    with (
        alone(path.with_name(f".{path.name}.lock"), path),
        open_store(path, stated, END_OPEN, tables=_TABLES) as store,
    ):
        refuse_other(path, read_setup(store.db), setup)
        try:
            yield Ledger(store)
        finally:
            with suppress(DataError):  # the next run does it, where this one cannot
                store.commit([END_OPEN])


def refuse_other(path: Path, found: Setup, wanted: Setup) -> None:
    """Refuses a ledger whose answers came from another way of asking, with a DataError."""
    if found.asking != wanted.asking:
        what = "holds answers to another prompt, model or choice of frames"
        expected = f"recipe {wanted.recipe}: model {wanted.model}, prompt {wanted.prompt_sha256}"
        got = f"recipe {found.recipe}: model {found.model}, prompt {found.prompt_sha256}"
        fix = "name another folder with --out"
        raise DataError(Problem(str(path), what, expected, got, fix, code="video.other_asking"))


State = Literal["described", "refused", "failed", "waiting", "missing", "left_out"]
"""The state of a record; where ledgers differ, the first in this order counts."""

_RANK = get_args(State)
_WITHOUT_FRAMES: dict[str, State] = {"no_clip": "missing", "left_out": "left_out"}


@dataclass(frozen=True)
class SeenRecord:
    """What became of a record."""

    id: str
    state: State
    answer: StoredAnswer | None  # None where its frames have not been asked about, or have no answer yet
    fault: str | None  # the name of what is wrong with its clip, or with the answer


@dataclass(frozen=True)
class Ledgers:
    """The ledgers of a folder, read."""

    setup: Setup
    names: tuple[str, ...]
    # The best that any ledger says of each record.
    records: dict[str, SeenRecord] = field(default_factory=dict)
    # For each ledger, fate and reason: how many, their tokens and cost, and how many have a cost.
    requests: list[tuple[Any, ...]] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)


_REQUESTS = """
SELECT fate, reason, count(*), total(input_tokens), total(output_tokens), total(cost_usd), count(cost_usd)
FROM request GROUP BY fate, reason
"""


def read_ledgers(folder: Path) -> Ledgers:
    """Everything that the ledgers of a folder say."""
    with reading(folder) as open_ledgers:
        if not open_ledgers:
            what, fix = "no ledger of video descriptions here", "make it with: dlm-release video describe"
            raise DataError(Problem(str(folder), what, fix=fix, code="video.no_ledger"))
        found = Ledgers(read_setup(open_ledgers[0][1]), tuple(path.name for path, _ in open_ledgers))
        answers: dict[str, StoredAnswer] = {}
        for path, db in open_ledgers:
            refuse_other(path, read_setup(db), found.setup)
            for key, state, text, reason, model in db.execute(
                "SELECT key, state, text, reason, model FROM answer"
            ):
                answers[key] = StoredAnswer(state, text, reason=reason, model=model)
            found.requests.extend(db.execute(_REQUESTS))
            found.skipped.extend(*db.execute("SELECT coalesce(sum(skipped), 0) FROM record"))
        for _, db in open_ledgers:
            for name, key, fault in db.execute("SELECT id, key, fault FROM record"):
                record = _seen(name, answers.get(key), fault)
                before = found.records.get(name, record)
                found.records[name] = min(before, record, key=lambda one: _RANK.index(one.state))
    return found


def _seen(name: str, answer: StoredAnswer | None, fault: str | None) -> SeenRecord:
    if answer is not None:
        state: State = "described" if answer.state == "answered" else answer.state
        return SeenRecord(name, state, answer, answer.reason)
    if fault is None:
        return SeenRecord(name, "waiting", None, None)
    return SeenRecord(name, _WITHOUT_FRAMES.get(fault, "failed"), None, fault)


def answered_elsewhere(folder: Path, own: str | None) -> tuple[set[str], set[str]]:
    """Ids of records and keys of questions to which the other ledgers of a folder have an answer."""
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
    records = _counted(ledgers.records.values())
    fates: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for fate, reason, count, *_ in ledgers.requests:
        fates[fate] += count
        if fate == "declined":
            reasons[reason] += count
    return VideoStatus(
        ledgers=ledgers.names,
        recipe=setup.recipe,
        model=setup.model,
        prompt=setup.prompt,
        prompt_sha256=setup.prompt_sha256,
        records=records,
        by_corpus={name: _counted(by_corpus[name]) for name in sorted(by_corpus)},
        requests=RequestCounts(
            answered=fates["answered"],
            declined=dict(sorted(reasons.items())),
            unknown=fates["unknown"],
            open=fates["open"],
        ),
        models=_models(ledgers),
        pictures_skipped=sum(ledgers.skipped),
        spending=_spending(ledgers, records.waiting),
    )


def _counted(records: Iterable[SeenRecord]) -> RecordCounts:
    """The records by state; a fault is counted without the words that a server may have added."""
    records = list(records)
    states = Counter(record.state for record in records)
    faults = Counter((one.fault or "").partition(":")[0] for one in records if one.state == "failed")
    named = {state: states[state] for state in get_args(State) if state != "failed"}
    return RecordCounts(failed=dict(sorted(faults.items())), **named)


def _models(ledgers: Ledgers) -> dict[str, int]:
    """The versions that described records, each with how many."""
    described = [one.answer for one in ledgers.records.values() if one.answer and one.state == "described"]
    return dict(sorted(Counter(answer.model or ledgers.setup.model for answer in described).items()))


def _spending(ledgers: Ledgers, waiting: int) -> Spending:
    """Tokens and cost; a request that was not declined and has no cost may have cost as much as expected."""
    tokens_in = tokens_out = spent = 0.0
    priced = unpriced = 0
    for fate, _, count, asked, given, cost, with_cost in ledgers.requests:
        tokens_in, tokens_out, spent = tokens_in + asked, tokens_out + given, spent + cost
        priced += with_cost
        unpriced += count - with_cost if fate in ("answered", "unknown") else 0
    spending = Spending(input_tokens=int(tokens_in), output_tokens=int(tokens_out))
    if (estimate := ledgers.setup.estimate_usd) is None:
        return spending
    to_come = waiting * (spent / priced if priced else estimate)
    money = {"spent_usd": spent, "unknown_usd": unpriced * estimate, "to_come_usd": to_come}
    return spending.model_copy(update=money)


def failures(ledgers: Ledgers) -> dict[str, str]:
    """The records that failed or were refused, by id, each with what is known of it."""
    return {
        record.id: f"{record.state}: {record.fault}"
        for record in ledgers.records.values()
        if record.state in ("failed", "refused")
    }


class Descriptions(NamedTuple):
    """Descriptions by record id, and where they are from."""

    texts: dict[str, str]
    provenance: VideoProvenance


def read_descriptions(folder: Path) -> Descriptions:
    """The descriptions in the ledgers of a video folder."""
    ledgers = read_ledgers(folder)
    setup = ledgers.setup
    texts = {
        record.id: record.answer.text
        for record in ledgers.records.values()
        if record.answer is not None and record.state == "described" and record.answer.text
    }
    provenance = VideoProvenance(
        recipe=setup.recipe,
        recipe_sha256=setup.recipe_sha256,
        model=setup.model,
        model_versions=_models(ledgers),
        prompt=setup.prompt,
        prompt_sha256=setup.prompt_sha256,
        content_sha256=combined_sha256((name, sha256_of_text(text)) for name, text in texts.items()),
        refused=sum(record.state == "refused" for record in ledgers.records.values()),
    )
    return Descriptions(texts, provenance)
