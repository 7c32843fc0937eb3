"""Clips are described by the Batch API, in as many runs as wished: submit, poll, collect.

A batch is on this disk and in the ledger before the server hears of it, and carries its name there as
metadata. So a run that was killed finds its batches in the server's list, and no request is of unknown fate.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from dialoguellm_release.errors import DataError, MissingExtraError, Problem
from dialoguellm_release.progress import progress
from dialoguellm_release.schemas.recipes.video import ServedDescriber, VideoRecipe
from dialoguellm_release.video import entries
from dialoguellm_release.video.answers import answer_of
from dialoguellm_release.video.costs import Budget, cost_usd, estimate_usd
from dialoguellm_release.video.describe import Run, noted
from dialoguellm_release.video.describers import Hopeless, api_key, declined
from dialoguellm_release.video.entries import Change
from dialoguellm_release.video.extraction import Extracted
from dialoguellm_release.video.ledger import Batch, Ledger
from dialoguellm_release.video.questions import endpoint, request_body

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types import Batch as RemoteBatch

MAX_REQUESTS = 50_000
MAX_BYTES = 200_000_000
NAME_KEY = "dialoguellm_release_batch"
ENDED = {"completed", "failed", "expired", "cancelled"}
POLL_S = 30.0
KEPT = "what was collected is in the ledger"


@dataclass(frozen=True)
class BatchLimits:
    """How large a batch may be, and how often the server is asked about it."""

    requests: int = MAX_REQUESTS
    bytes: int = MAX_BYTES
    poll_s: float = POLL_S


@dataclass
class Batching:
    """One run of the Batch API over a ledger.

    Args:
        folder: Where files of batches wait until the server has them.
        answered: Keys of the questions that need not be asked, here or in another ledger.
        limit: Questions that may be submitted; None for no limit.
        max_cost_usd: Of the whole ledger; None for no limit.
        limits: How large a batch may be.
    """

    ledger: Ledger
    recipe: VideoRecipe
    describer: ServedDescriber
    asking: str
    folder: Path
    answered: set[str]
    limit: int | None
    max_cost_usd: float | None
    limits: BatchLimits
    run: Run = field(default_factory=Run)

    def over(self, waiting: Callable[[], Iterator[Extracted]], *, wait: bool) -> Run:
        """Collects what is ready, submits what has not been asked, and waits for the answers if wished.

        Args:
            waiting: Called when everything that is ready has been collected: the clips without an answer.

        Raises:
            DataError: The server refuses, or cannot be reached; the same command goes on from there.
        """
        import openai

        try:
            with self._client() as client:
                self._recover(client)
                self._collect(client)
                self._submit_all(client, waiting())
                if wait:
                    self._wait(client)
        except openai.APIStatusError as error:
            raise DataError(self._refused(error), outcome=KEPT) from None
        except openai.APIConnectionError:
            fix = "run the same command again: it looks for its batches first"
            problem = Problem(self.describer.base_url, "the server cannot be reached, or broke off", fix=fix)
            raise DataError(problem, outcome=KEPT) from None
        return self.run

    def _wait(self, client: OpenAI) -> None:
        """Collects until every batch has ended."""
        left = len(self.ledger.batches("submitted"))
        with progress("waiting for batches", left) as advance:
            while left:
                time.sleep(self.limits.poll_s)
                self._collect(client)
                still = len(self.ledger.batches("submitted"))
                advance(left - still)
                left = still

    def _client(self) -> OpenAI:
        try:
            from openai import OpenAI
        except ImportError as error:
            raise MissingExtraError("video", "openai") from error
        return OpenAI(
            api_key=api_key(self.describer),
            base_url=self.describer.base_url,
            timeout=max(self.describer.timeout_s, 600.0),
        )

    def _recover(self, client: OpenAI) -> None:
        """Submits what a killed run left planned; files that the ledger does not know go."""
        planned = self.ledger.batches("planned")
        names = {batch.name for batch in planned}
        for path in self.folder.glob("*.jsonl*") if self.folder.is_dir() else ():
            if path.name.partition(".")[0] not in names:
                path.unlink()
        for batch in planned:
            self._submit(client, batch.name, self._listed(client, batch.name))

    def _submit_all(self, client: OpenAI, extracted: Iterator[Extracted]) -> None:
        estimate = estimate_usd(self.recipe, batch=True)
        budget = Budget(self.limit, self.max_cost_usd, estimate, *self.ledger.money())
        asked = self.answered | self.ledger.answered_questions() | self.ledger.open_questions()
        file = _BatchFile(self.folder)
        try:
            for one in extracted:
                key, changes = noted(one, self.asking)
                if key is None or key in asked:
                    file.changes += changes
                    continue
                if stopped := budget.why_not():
                    self.run.stopped = stopped
                    break
                asked.add(key)
                budget.asked += 1
                budget.reserve()
                line = self._line(one)
                if file.requests >= self.limits.requests or file.bytes + len(line[1]) > self.limits.bytes:
                    self._send(client, file)
                    file = _BatchFile(self.folder)
                file.add(*line, key, changes)
            self._send(client, file)
        finally:
            file.close()

    def _line(self, one: Extracted) -> tuple[str, bytes]:
        """The id of a request and its line."""
        request_id = uuid.uuid4().hex
        body = request_body(self.describer, self.recipe.prompt, one.frames)
        url = f"/v1{endpoint(self.describer)}"
        line = {"custom_id": request_id, "method": "POST", "url": url, "body": body}
        return request_id, json.dumps(line).encode() + b"\n"

    def _send(self, client: OpenAI, file: _BatchFile) -> None:
        file.keep()
        self.ledger.commit(file.changes)
        if file.requests:
            self._submit(client, file.name, None)

    def _submit(self, client: OpenAI, name: str, listed: RemoteBatch | None) -> None:
        """Gives the server a batch, unless it has it already."""
        remote = listed or self._create(client, name)
        self.ledger.commit([entries.submit_batch(name, remote.id)])
        (self.folder / f"{name}.jsonl").unlink(missing_ok=True)

    def _listed(self, client: OpenAI, name: str) -> RemoteBatch | None:
        return next(
            (one for one in client.batches.list() if (one.metadata or {}).get(NAME_KEY) == name), None
        )

    def _create(self, client: OpenAI, name: str) -> RemoteBatch:
        """Why without retries: a request that was lost may have made the batch, which only the list tells."""
        with (self.folder / f"{name}.jsonl").open("rb") as content:
            uploaded = client.files.create(file=(f"{name}.jsonl", content), purpose="batch")
        return client.with_options(max_retries=0).batches.create(
            input_file_id=uploaded.id,
            endpoint="/v1/responses" if self.describer.type == "responses" else "/v1/chat/completions",
            completion_window="24h",
            metadata={NAME_KEY: name},
        )

    def _collect(self, client: OpenAI) -> None:
        """Takes in the answers of the batches that have ended."""
        for batch in self.ledger.batches("submitted"):
            remote = client.batches.retrieve(str(batch.remote_id))
            if remote.status in ENDED:
                self._take(client, batch, remote)

    def _take(self, client: OpenAI, batch: Batch, remote: RemoteBatch) -> None:
        """Why in one commit: a kill leaves a batch whole in the ledger, or still to be collected."""
        open_requests = self.ledger.open_requests(batch.name)
        changes: list[Change] = []
        for file_id in filter(None, (remote.output_file_id, remote.error_file_id)):
            for line in client.files.content(file_id).iter_lines():
                row = json.loads(line) if line.strip() else {}
                request_id = row.get("custom_id")
                if request_id in open_requests:
                    changes.append(self._answer(request_id, open_requests.pop(request_id), row))
        errors = (remote.errors.data or []) if remote.errors else []
        why = " ".join([f"batch {remote.status}", *sorted({str(one.code) for one in errors})])
        if remote.status == "failed":
            self.run.stopped = why
        changes += [entries.decline(request_id, why) for request_id in open_requests]
        changes.append(entries.end_batch(batch.name, remote.status))
        self.ledger.commit(changes)

    def _answer(self, request_id: str, question: str, row: dict[str, object]) -> Change:
        response = row.get("response")
        if not isinstance(response, dict):
            return entries.decline(request_id, "batch_expired")
        status = response.get("status_code")
        if status == 200:
            answer = answer_of(response.get("body"))
            return entries.answer(request_id, question, answer, cost_usd(self.recipe, answer, batch=True))
        if isinstance(status, int) and 400 <= status < 500 and status not in (401, 403, 404, 408, 409, 429):
            return entries.give_up(request_id, question, f"HTTP {status}")
        return entries.decline(request_id, f"HTTP {status}")

    def _refused(self, error: Exception) -> Problem:
        import openai

        assert isinstance(error, openai.APIStatusError)
        meant = declined(error, self.describer, self.recipe.prompt)
        if isinstance(meant, Hopeless):
            return meant.problem
        return Problem(
            self.describer.base_url, "the server refuses", got=meant.reason, fix="run it again later"
        )


class _BatchFile:
    """The lines of a batch on their way to the disk, and what has to be in the ledger with them."""

    def __init__(self, folder: Path) -> None:
        self.name = uuid.uuid4().hex
        self.requests = self.bytes = 0
        self.changes: list[Change] = []
        self._folder = folder
        self._file: BinaryIO | None = None

    @property
    def _partial(self) -> Path:
        return self._folder / f"{self.name}.jsonl.partial"

    def add(self, request_id: str, line: bytes, question: str, changes: list[Change]) -> None:
        """Takes a request."""
        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = self._partial.open("wb")
        self._file.write(line)
        self.requests += 1
        self.bytes += len(line)
        self.changes += [*changes, entries.intend(request_id, question, self.name)]

    def keep(self) -> None:
        """The file is whole; without a request there is none."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._partial.rename(self._folder / f"{self.name}.jsonl")
            self.changes.append(entries.plan_batch(self.name))

    def close(self) -> None:
        """Leaves nothing half-written."""
        if self._file is not None:
            self._file.close()
            self._partial.unlink(missing_ok=True)
