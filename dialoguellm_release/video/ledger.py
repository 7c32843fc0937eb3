"""The ledger: every record, question, request and batch, on disk before it is acted upon.

Why a rollback journal and not WAL: the ledgers of many machines lie in one folder of a network, where WAL's
shared memory does not work. Every commit is on the disk before it returns, so a kill loses nothing.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import alone, canonical_json
from dialoguellm_release.video.answers import Answer
from dialoguellm_release.video.clips import Clip, FoundClips
from dialoguellm_release.video.frames import Frame

SUFFIX = ".sqlite"
BUSY_S = 60.0
KILLED = "the run was killed"

_TABLES = """
CREATE TABLE IF NOT EXISTS setup (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS clip (
    name TEXT PRIMARY KEY, bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, sha256 TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS record (
    id TEXT PRIMARY KEY, clip TEXT, frames TEXT, question TEXT, fault TEXT, detail TEXT
);
CREATE TABLE IF NOT EXISTS question (
    key TEXT PRIMARY KEY, state TEXT NOT NULL, description TEXT, people TEXT, reason TEXT,
    request TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS request (
    id TEXT PRIMARY KEY, question TEXT NOT NULL, batch TEXT, fate TEXT NOT NULL, sent_at TEXT NOT NULL,
    ended_at TEXT, reason TEXT, model TEXT, input_tokens INTEGER, output_tokens INTEGER, cost_usd REAL
);
CREATE INDEX IF NOT EXISTS request_by_fate ON request (fate);
CREATE INDEX IF NOT EXISTS request_by_batch ON request (batch);
CREATE TABLE IF NOT EXISTS batch (
    name TEXT PRIMARY KEY, remote_id TEXT, state TEXT NOT NULL, made_at TEXT NOT NULL, ended_at TEXT
);
"""

Change = Callable[[sqlite3.Connection], None]
"""One thing to be written; several become durable together."""


@dataclass(frozen=True)
class Setup:
    """What a ledger is about; all ledgers of a folder have the same `asking`.

    Attributes:
        asking: Hash of everything that shapes an answer.
        estimate_usd: Cost of a request of which no tokens were counted; None without prices.
    """

    recipe: str
    recipe_sha256: str
    asking: str
    model: str
    prompt: str
    prompt_sha256: str
    estimate_usd: float | None
    created_by: dict[str, str]


@dataclass(frozen=True)
class Batch:
    """A batch by the name that it has here; `remote_id` is None until the server has it."""

    name: str
    remote_id: str | None
    state: str


def ledger_files(folder: Path) -> list[Path]:
    """The ledgers of a video folder."""
    return sorted(path for path in folder.glob(f"*{SUFFIX}") if not path.name.startswith("."))


@contextmanager
def reading(folder: Path, but: str | None = None) -> Iterator[list[tuple[Path, sqlite3.Connection]]]:
    """The ledgers of a folder, only read, also while runs write them; one that was never begun is left out.

    Args:
        but: The name of a ledger that is not opened; None opens all.

    Raises:
        DataError: One is no ledger, or damaged.
    """
    path = folder
    try:
        with ExitStack() as stack:
            found = []
            for path in ledger_files(folder):
                if path.name != but:
                    db = stack.enter_context(closing(_connected(path)))
                    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'setup'").fetchone():
                        found.append((path, db))
            yield found
    except sqlite3.Error as error:
        raise _broken(path, error) from error


def _connected(path: Path) -> sqlite3.Connection:
    """Why not read-only: a journal that a killed run left behind is rolled back by whoever opens the file."""
    mode = "rw" if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK) else "ro"
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=BUSY_S)


def read_setup(db: sqlite3.Connection) -> Setup:
    """What a ledger is about."""
    (value,) = db.execute("SELECT value FROM setup WHERE name = 'setup'").fetchone()
    return Setup(**json.loads(value))


class Ledger:
    """A ledger that this run alone writes."""

    def __init__(self, path: Path, db: sqlite3.Connection) -> None:
        self.path = path
        self._db = db

    def commit(self, changes: Iterable[Change]) -> None:
        """Makes changes durable, all or none.

        Raises:
            DataError: The disk is full, or the file is damaged.
        """
        try:
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                for change in changes:
                    change(self._db)
        except sqlite3.Error as error:
            raise _broken(self.path, error) from error

    def plan(self, found: FoundClips) -> None:
        """Takes in the records of a run; what is known of them stays, but a fault of a clip may be mended."""

        def change(db: sqlite3.Connection) -> None:
            known = set(_column(db, "SELECT id FROM record WHERE question IS NOT NULL"))
            unseen = [
                *((clip.record_id, clip.name, None, None) for clip in found.clips),
                *((name, None, "no_clip", None) for name in found.without_clip),
                *((name, None, "several_clips", ", ".join(files)) for name, files in found.several.items()),
                *((name, None, "left_out", reason) for name, reason in found.left_out.items()),
            ]
            db.executemany(
                "INSERT OR REPLACE INTO record (id, clip, fault, detail) VALUES (?, ?, ?, ?)",
                (row for row in unseen if row[0] not in known),
            )

        self.commit([change])

    def waiting(self, clips: Sequence[Clip]) -> list[Clip]:
        """The clips whose record has no answer yet, and no request in a batch that may bring one."""
        sql = """
            SELECT id FROM record
            WHERE question IN (SELECT key FROM question)
               OR question IN (SELECT question FROM request WHERE fate = 'open')
        """
        done = set(_column(self._db, sql))
        return [clip for clip in clips if clip.record_id not in done]

    def answered_questions(self) -> set[str]:
        """The keys of the questions that need not be asked again."""
        return set(_column(self._db, "SELECT key FROM question"))

    def forget_failures(self) -> int:
        """How many answers that could not be used are to be asked for again; their requests stay listed."""
        (count,) = self._db.execute("SELECT count(*) FROM question WHERE state = 'failed'").fetchone()
        self.commit([lambda db: _run(db, "DELETE FROM question WHERE state = 'failed'")])
        return int(count)

    def clip_hashes(self) -> dict[str, tuple[int, int, str]]:
        """Size, time of change and hash of the files that were seen, by name."""
        rows = self._db.execute("SELECT name, bytes, mtime_ns, sha256 FROM clip")
        return {name: (size, time, sha256) for name, size, time, sha256 in rows}

    def batches(self, *states: str) -> list[Batch]:
        """The batches in some states, oldest first."""
        marks = ", ".join("?" * len(states))
        sql = f"SELECT name, remote_id, state FROM batch WHERE state IN ({marks}) ORDER BY made_at, name"
        return [Batch(*row) for row in self._db.execute(sql, states)]

    def open_requests(self, batch: str) -> dict[str, str]:
        """The requests of a batch that have no answer, with their questions."""
        sql = "SELECT id, question FROM request WHERE batch = ? AND fate = 'open'"
        return dict(self._db.execute(sql, (batch,)).fetchall())

    def open_questions(self) -> set[str]:
        """The keys of the questions that are inside an open batch."""
        return set(_column(self._db, "SELECT question FROM request WHERE fate = 'open'"))

    def money(self) -> tuple[float, int]:
        """What the answers cost, and how many requests may have cost something that nobody told."""
        sql = """
            SELECT coalesce(sum(cost_usd), 0),
                   coalesce(sum(fate IN ('open', 'unknown') OR (fate = 'answered' AND cost_usd IS NULL)), 0)
            FROM request
        """
        spent, untold = self._db.execute(sql).fetchone()
        return float(spent), int(untold)


@contextmanager
def writing(path: Path, setup: Setup) -> Iterator[Ledger]:
    """The ledger at a path, made where there is none; requests that a killed run left open are marked so.

    Raises:
        DataError: Another run writes it, or it is about something else.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with alone(path.with_name(f".{path.name}.lock"), path):
        try:
            db = sqlite3.connect(path, timeout=BUSY_S, check_same_thread=False, isolation_level=None)
            with closing(db):
                db.execute("PRAGMA synchronous = FULL")
                ledger = Ledger(path, db)
                ledger.commit([lambda db: _begin(db, setup), _lose_open])
                refuse_other(path, read_setup(db), setup)
                yield ledger
        except sqlite3.Error as error:
            raise _broken(path, error) from error


def refuse_other(path: Path, found: Setup, wanted: Setup) -> None:
    """Refuses a ledger whose answers came from another way of asking.

    Raises:
        DataError: It is one.
    """
    if found.asking != wanted.asking:
        raise DataError(
            Problem(
                str(path),
                "holds answers to another prompt, model or choice of frames",
                expected=f"recipe {wanted.recipe}: model {wanted.model}, prompt {wanted.prompt_sha256}",
                got=f"recipe {found.recipe}: model {found.model}, prompt {found.prompt_sha256}",
                fix="name another folder with --out",
            )
        )


def see_clip(name: str, size: int, mtime_ns: int, sha256: str) -> Change:
    """A file was hashed."""
    return lambda db: _run(
        db, "INSERT OR REPLACE INTO clip VALUES (?, ?, ?, ?)", name, size, mtime_ns, sha256
    )


def show_frames(record_id: str, question: str, frames: Sequence[Frame]) -> Change:
    """The frames of a record are known, and so what is asked about it."""
    hashes = json.dumps([frame.sha256 for frame in frames])
    sql = "UPDATE record SET question = ?, frames = ?, fault = NULL, detail = NULL WHERE id = ?"
    return lambda db: _run(db, sql, question, hashes, record_id)


def fail_clip(record_id: str, fault: str, detail: str) -> Change:
    """The clip of a record gives no frames."""
    sql = "UPDATE record SET fault = ?, detail = ? WHERE id = ?"
    return lambda db: _run(db, sql, fault, detail, record_id)


def intend(request_id: str, question: str, batch: str | None = None) -> Change:
    """A request is about to be sent."""
    sql = "INSERT INTO request (id, question, batch, fate, sent_at) VALUES (?, ?, ?, 'open', ?)"
    return lambda db: _run(db, sql, request_id, question, batch, _now())


def answer(request_id: str, question: str, got: Answer, cost_usd: float | None) -> Change:
    """A request was answered, well or badly."""
    state = "described" if got.description else "refused" if got.refusal is not None else "failed"
    text = " ".join(got.description.description.split()) if got.description else None
    people = json.dumps([one.model_dump() for one in got.description.people]) if got.description else None
    reason = got.refusal if got.refusal is not None else got.fault

    def change(db: sqlite3.Connection) -> None:
        _end(db, request_id, "answered", got.fault)
        _run(
            db,
            "UPDATE request SET model = ?, input_tokens = ?, output_tokens = ?, cost_usd = ? WHERE id = ?",
            *(got.model, got.input_tokens, got.output_tokens, cost_usd, request_id),
        )
        row = (question, state, text, people, reason, request_id)
        _run(db, "INSERT OR IGNORE INTO question VALUES (?, ?, ?, ?, ?, ?)", *row)

    return change


def decline(request_id: str, reason: str) -> Change:
    """The server answered that it will not answer."""
    return lambda db: _end(db, request_id, "declined", reason)


def lose(request_id: str, reason: str) -> Change:
    """Whether the server answered a request is not known."""
    return lambda db: _end(db, request_id, "unknown", reason)


def give_up(request_id: str, question: str, reason: str) -> Change:
    """The server will never answer this question."""

    def change(db: sqlite3.Connection) -> None:
        _end(db, request_id, "declined", reason)
        row = (question, "failed", None, None, reason, request_id)
        _run(db, "INSERT OR IGNORE INTO question VALUES (?, ?, ?, ?, ?, ?)", *row)

    return change


def plan_batch(name: str) -> Change:
    """The file of a batch is written."""
    sql = "INSERT INTO batch (name, state, made_at) VALUES (?, 'planned', ?)"
    return lambda db: _run(db, sql, name, _now())


def submit_batch(name: str, remote_id: str) -> Change:
    """The server has a batch."""
    return lambda db: _run(
        db, "UPDATE batch SET remote_id = ?, state = 'submitted' WHERE name = ?", remote_id, name
    )


def end_batch(name: str, state: str) -> Change:
    """Everything that a batch gave is in the ledger."""
    return lambda db: _run(db, "UPDATE batch SET state = ?, ended_at = ? WHERE name = ?", state, _now(), name)


def _begin(db: sqlite3.Connection, setup: Setup) -> None:
    """The tables, where there are none; all of them in one transaction, or a kill would leave some."""
    for table in _TABLES.split(";"):
        db.execute(table)
    _run(db, "INSERT OR IGNORE INTO setup VALUES ('setup', ?)", canonical_json(vars(setup)))


def _end(db: sqlite3.Connection, request_id: str, fate: str, reason: str | None) -> None:
    sql = "UPDATE request SET fate = ?, reason = ?, ended_at = ? WHERE id = ?"
    _run(db, sql, fate, reason, _now(), request_id)


def _lose_open(db: sqlite3.Connection) -> None:
    """What a killed run had sent; what is in a batch can still be collected."""
    sql = "UPDATE request SET fate = 'unknown', reason = ? WHERE fate = 'open' AND batch IS NULL"
    _run(db, sql, KILLED)


def _run(db: sqlite3.Connection, sql: str, *values: object) -> None:
    db.execute(sql, values)


def _column(db: sqlite3.Connection, sql: str) -> Iterator[str]:
    return (row[0] for row in db.execute(sql))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _broken(path: Path, error: sqlite3.Error) -> DataError:
    fix = "free some space and run the same command again" if "full" in str(error) else None
    return DataError(Problem(str(path), f"the ledger cannot be used: {error}", fix=fix))
