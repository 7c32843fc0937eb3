"""The ledger: every record, question, request and batch, on disk before it is acted upon.

Why a rollback journal and not WAL: the ledgers of many machines lie in one folder of a network, where WAL's
shared memory does not work. Every commit is on the disk before it returns, so a kill loses nothing.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import alone, canonical_json
from dialoguellm_release.video import entries
from dialoguellm_release.video.clips import Clip, FoundClips
from dialoguellm_release.video.entries import Change

SUFFIX = ".sqlite"
BUSY_S = 60.0

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
                ledger.commit([lambda db: _begin(db, setup), entries.lose_open])
                refuse_other(path, read_setup(db), setup)
                try:
                    yield ledger
                finally:
                    with suppress(DataError):  # the next run does it, where this one cannot
                        ledger.commit([entries.lose_open])
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


def _begin(db: sqlite3.Connection, setup: Setup) -> None:
    """The tables, where there are none; all of them in one transaction, or a kill would leave some."""
    for table in _TABLES.split(";"):
        db.execute(table)
    db.execute("INSERT OR IGNORE INTO setup VALUES ('setup', ?)", (canonical_json(vars(setup)),))


def _column(db: sqlite3.Connection, sql: str) -> Iterator[str]:
    return (row[0] for row in db.execute(sql))


def _broken(path: Path, error: sqlite3.Error) -> DataError:
    fix = "free some space and run the same command again" if "full" in str(error) else None
    return DataError(Problem(str(path), f"the ledger cannot be used: {error}", fix=fix))
