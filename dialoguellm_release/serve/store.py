"""The store of answers: every request and every answer in one SQLite file, written as they come.

Why a rollback journal and not WAL: the stores of many machines may be in one folder of a network, where WAL's
shared memory does not work. Each commit is on the disk before it returns, so a killed run loses nothing.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import canonical_json, sha256_of_text

BUSY_S = 60.0
"""How long another process may hold the file."""

State = Literal["answered", "refused", "failed"]

Change = tuple[str, tuple[object, ...]]
"""A statement of SQL and its values; several become durable together."""

_TABLES = """
CREATE TABLE IF NOT EXISTS answer (
    key TEXT PRIMARY KEY, state TEXT NOT NULL, text TEXT, data TEXT, reason TEXT, model TEXT
);
CREATE TABLE IF NOT EXISTS request (
    id TEXT PRIMARY KEY, key TEXT NOT NULL, fate TEXT NOT NULL, sent_at TEXT NOT NULL, ended_at TEXT,
    reason TEXT, model TEXT, input_tokens INTEGER, output_tokens INTEGER, cost_usd REAL
);
CREATE INDEX IF NOT EXISTS request_by_fate ON request (fate);
"""


@dataclass(frozen=True)
class StoredAnswer:
    """What is kept of an answer."""

    # `refused` where the model or the server will not answer this question; `failed` where the answer
    # cannot be used.
    state: State
    text: str | None = None
    data: Any = None  # what else is needed later; JSON
    reason: str | None = None
    model: str | None = None  # the version that answered, as the server names it
    input_tokens: int | None = None
    output_tokens: int | None = None


def request_key(**asked: object) -> str:
    """The key of an answer: the hash of everything that shapes it (server, model, request)."""
    return sha256_of_text(canonical_json(asked))


class AnswerStore:
    """The answers of a file that this process and others may read and write."""

    def __init__(self, path: Path, db: sqlite3.Connection) -> None:
        self.path = path
        self.db = db

    def commit(self, changes: Iterable[Change]) -> None:
        """Makes changes durable, all or none."""
        try:
            with self.db:
                self.db.execute("BEGIN IMMEDIATE")
                for sql, values in changes:
                    self.db.execute(sql, values)
        except sqlite3.Error as error:
            raise unusable(self.path, error) from error

    def keys(self) -> set[str]:
        """The keys of all answers."""
        return {key for (key,) in self.db.execute("SELECT key FROM answer")}

    def answers(self, keys: Iterable[str]) -> dict[str, StoredAnswer]:
        """The answers to some questions, as far as there are any."""
        sql = "SELECT state, text, data, reason, model FROM answer WHERE key = ?"
        found = {}
        for key in keys:
            row = self.db.execute(sql, (key,)).fetchone()
            if row is not None:
                state, text, data, reason, model = row
                found[key] = StoredAnswer(state, text, data and json.loads(data), reason, model)
        return found

    def money(self) -> tuple[float, int]:
        """What the answers cost, and how many requests may have cost something that is not known."""
        sql = """
            SELECT coalesce(sum(cost_usd), 0),
                   coalesce(sum(fate IN ('open', 'unknown') OR (fate = 'answered' AND cost_usd IS NULL)), 0)
            FROM request
        """
        spent, unknown = self.db.execute(sql).fetchone()
        return float(spent), int(unknown)


@contextmanager
def open_store(path: Path, *begin: Change, tables: str = "") -> Iterator[AnswerStore]:
    """The store at a path, created where there is none, with further `CREATE TABLE IF NOT EXISTS` tables."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        db = sqlite3.connect(path, timeout=BUSY_S, check_same_thread=False, isolation_level=None)
        with closing(db):
            db.execute("PRAGMA synchronous = FULL")
            store = AnswerStore(path, db)
            store.commit([*((sql, ()) for sql in (_TABLES + tables).split(";")), *begin])
            yield store
    except sqlite3.Error as error:
        raise unusable(path, error) from error


def unusable(path: Path, error: sqlite3.Error) -> DataError:
    """A store that cannot be read or written."""
    is_full = "full" in str(error)
    fix = "free some space and run the same command again" if is_full else "restore the file, or remove it"
    return DataError(
        Problem(str(path), f"the answers cannot be used: {error}", fix=fix, code="serve.store_unusable")
    )


FORGET_FAILED: Change = "DELETE FROM answer WHERE state = 'failed'", ()
"""Answers that could not be used are asked for again; their requests stay listed."""

END_OPEN: Change = (
    "UPDATE request SET fate = 'unknown', reason = 'the run was stopped' WHERE fate = 'open'",
    (),
)
"""The fate of requests that a stopped run had sent is unknown; only for a store with one writer."""


def forget(keys: Iterable[str]) -> Change:
    """Answers are asked for again."""
    return "DELETE FROM answer WHERE key IN (SELECT value FROM json_each(?))", (json.dumps(list(keys)),)


def keep(key: str, answer: StoredAnswer) -> Change:
    """An answer is known; the first one to a question stays."""
    data = None if answer.data is None else json.dumps(answer.data)
    row = (key, answer.state, answer.text, data, answer.reason, answer.model)
    return "INSERT OR IGNORE INTO answer VALUES (?, ?, ?, ?, ?, ?)", row


def send(request_id: str, key: str) -> Change:
    """A request is about to be sent."""
    sql = "INSERT INTO request (id, key, fate, sent_at) VALUES (?, ?, 'open', ?)"
    return sql, (request_id, key, _now())


def receive(request_id: str, answer: StoredAnswer, cost_usd: float | None) -> Change:
    """A request was answered."""
    sql = """
        UPDATE request SET fate = 'answered', reason = ?, ended_at = ?, model = ?, input_tokens = ?,
               output_tokens = ?, cost_usd = ? WHERE id = ?
    """
    reason = answer.reason if answer.state == "failed" else None
    tokens = answer.input_tokens, answer.output_tokens
    return sql, (reason, _now(), answer.model, *tokens, cost_usd, request_id)


def end(request_id: str, reason: str, *, is_lost: bool) -> Change:
    """A request was declined, or whether the server answered it is unknown."""
    sql = "UPDATE request SET fate = ?, reason = ?, ended_at = ? WHERE id = ?"
    return sql, ("unknown" if is_lost else "declined", reason, _now(), request_id)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
