"""Replies as they are made, on disk: a run that is killed goes on where it stopped, and none asks twice."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from dialoguellm_release.encoding import EncodedPrompt
from dialoguellm_release.folders import alone, canonical_json, sha256_of_text
from dialoguellm_release.progress import progress
from dialoguellm_release.scoring.answers import Reply, Scorer


@dataclass(frozen=True)
class Journal:
    """The replies that are known, by the hash of their prompts; those that are kept are on disk at once."""

    known: dict[str, Reply]
    file: TextIO

    def keep(self, hashes: Sequence[str], replies: Sequence[Reply]) -> None:
        """Takes up the replies to some prompts."""
        self.known.update(zip(hashes, replies, strict=True))
        _write(self.file, hashes, replies)


@contextmanager
def journal_of(asked: Mapping[str, object], folder: Path, *, again: bool = False) -> Iterator[Journal]:
    """The journal of everything that decides a reply but the prompt; nobody else may write it meanwhile.

    Args:
        folder: Holds one journal for each value of `asked`.
        again: Forget what the journal holds.
    """
    key = sha256_of_text(canonical_json(dict(asked)))
    path = folder / f"{key}.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder / f".{key}.lock", path):
        if again:
            path.unlink(missing_ok=True)
        known = _read(path)
        with path.open("a", encoding="utf-8") as file:
            yield Journal(known, file)


def kept_replies(
    scorer: Scorer,
    prompts: Sequence[EncodedPrompt],
    asked: Mapping[str, object],
    folder: Path,
    *,
    again: bool = False,
) -> list[Reply]:
    """The reply to each prompt: those in the journal from there, the others made and written down at once.

    A batch is made whole where one of its prompts lacks a reply, so that a run that was cut off ends with
    the same bytes as one that was not. Prompts of the same text are asked once.

    Args:
        asked: What, with the text of a prompt, decides the reply: model, revision, way of asking, versions.
        folder: Holds one journal for each value of `asked`.
        again: Forget what the journal holds.
    """
    distinct = list({prompt.text: prompt for prompt in prompts}.values())
    hashes = [sha256_of_text(prompt.text) for prompt in distinct]
    batches = scorer.plan(distinct)
    with (
        journal_of(asked, folder, again=again) as journal,
        progress("score", len(distinct)) as advance,
    ):
        for batch in batches:
            wanted = [hashes[place] for place in batch.places]
            if any(digest not in journal.known for digest in wanted):
                journal.keep(wanted, scorer.replies(distinct, batch))
            advance(len(batch.places))
        return [journal.known[sha256_of_text(prompt.text)] for prompt in prompts]


def _read(path: Path) -> dict[str, Reply]:
    """The replies of a journal; a last line that was cut off is removed from it."""
    if not path.exists():
        return {}
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        with path.open("r+b") as file:
            file.truncate(len(whole))
    replies = {}
    for line in whole.splitlines():
        parts = json.loads(line)
        log_probs = parts.get("log_probs")
        replies[parts["prompt"]] = Reply(None if log_probs is None else tuple(log_probs), parts.get("text"))
    return replies


def _write(journal: TextIO, hashes: Sequence[str], replies: Sequence[Reply]) -> None:
    """Appends a batch in one write, which a kill leaves whole or cut off at its end."""
    lines = (
        {"prompt": digest, "log_probs": reply.log_probs, "text": reply.text}
        for digest, reply in zip(hashes, replies, strict=True)
    )
    journal.write("".join(f"{json.dumps(line)}\n" for line in lines))
    journal.flush()
