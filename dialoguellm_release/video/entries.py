"""What can be written into a ledger: one function an event, each giving a change to be committed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from dialoguellm_release.video.answers import Answer
from dialoguellm_release.video.frames import Frame

Change = Callable[[sqlite3.Connection], None]
"""One thing to be written; several become durable together."""

STOPPED = "the run was stopped"


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


def lose_open(db: sqlite3.Connection) -> None:
    """What a run that was stopped had sent; what is in a batch can still be collected."""
    sql = "UPDATE request SET fate = 'unknown', reason = ? WHERE fate = 'open' AND batch IS NULL"
    _run(db, sql, STOPPED)


def give_up(request_id: str, question: str, reason: str) -> Change:
    """The server will never answer this question."""

    def change(db: sqlite3.Connection) -> None:
        _end(db, request_id, "declined", reason)
        row = (question, "failed", None, None, reason, request_id)
        _run(db, "INSERT OR IGNORE INTO question VALUES (?, ?, ?, ?, ?, ?)", *row)

    return change


def forget_failures(db: sqlite3.Connection) -> None:
    """Answers that could not be used are to be asked for again; their requests stay listed."""
    db.execute("DELETE FROM question WHERE state = 'failed'")


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


def _end(db: sqlite3.Connection, request_id: str, fate: str, reason: str | None) -> None:
    sql = "UPDATE request SET fate = ?, reason = ?, ended_at = ? WHERE id = ?"
    _run(db, sql, fate, reason, _now(), request_id)


def _run(db: sqlite3.Connection, sql: str, *values: object) -> None:
    db.execute(sql, values)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
