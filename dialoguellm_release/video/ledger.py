"""The ledger of a video folder: a store of answers, with their records, clips and frames."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import alone, canonical_json
from dialoguellm_release.serve.store import (
    BUSY_S,
    END_OPEN,
    AnswerStore,
    Change,
    open_store,
    unusable,
)
from dialoguellm_release.video.clips import Clip, FoundClips
from dialoguellm_release.video.frames import Extracted, SeenFile
from dialoguellm_release.video.questions import question_key

SUFFIX = ".sqlite"

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
    """What a ledger holds answers to; all ledgers of a folder have the same `asking`.

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


def ledger_files(folder: Path) -> list[Path]:
    """The ledgers of a video folder."""
    return sorted(path for path in folder.glob(f"*{SUFFIX}") if not path.name.startswith("."))


@contextmanager
def reading(folder: Path, but: str | None = None) -> Iterator[list[tuple[Path, sqlite3.Connection]]]:
    """The ledgers of a folder, for reading, also while runs write them; empty ones are left out.

    Args:
        folder: The video folder.
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
    """The ledger at a path, created where there is none; requests that a killed run left open are marked so.

    Raises:
        DataError: Another run writes it, or it holds answers to something else.
    """
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
        raise DataError(
            Problem(
                str(path),
                "holds answers to another prompt, model or choice of frames",
                expected=f"recipe {wanted.recipe}: model {wanted.model}, prompt {wanted.prompt_sha256}",
                got=f"recipe {found.recipe}: model {found.model}, prompt {found.prompt_sha256}",
                fix="name another folder with --out",
                code="video.other_asking",
            )
        )
