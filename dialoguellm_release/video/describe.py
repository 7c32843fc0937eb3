"""Clips are described by a server that answers at once; every step stands in the ledger."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.retry import RetryPolicy
from dialoguellm_release.schemas.recipes.video import ServedDescriber, VideoRecipe
from dialoguellm_release.serve.throttle import Throttle
from dialoguellm_release.video import entries
from dialoguellm_release.video.costs import Budget, cost_usd
from dialoguellm_release.video.describers import Declined, Describer, Hopeless, Lost
from dialoguellm_release.video.entries import Change
from dialoguellm_release.video.extraction import Extracted
from dialoguellm_release.video.ledger import Ledger
from dialoguellm_release.video.questions import Question, question_key

SYNTHETIC_AT_ONCE = 8
MAX_IN_A_ROW = 20
POLICY = RetryPolicy(first_wait_s=0.5, longest_backoff_s=30.0, jitter=1.0)
"""So many questions that come to nothing one after the other, and the server is given up."""


class Commits:
    """Changes of a ledger; those that come together are written together, in their order.

    Why: a commit takes milliseconds and blocks, and the ledger is written before and after every request.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiting: list[tuple[tuple[Change, ...], asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    def post(self, *changes: Change) -> asyncio.Future[None]:
        """Hands changes in; what is returned is done when they are on the disk."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((changes, done))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_waiting())
        return done

    async def _write_waiting(self) -> None:
        while self._waiting:
            now, self._waiting = self._waiting, []
            changes = [change for together, _ in now for change in together]
            try:
                await asyncio.to_thread(self._ledger.commit, changes)
            except DataError as error:
                for _, done in now:
                    if not done.done():
                        done.set_exception(error)
                        done.exception()  # read once, so that it is not logged where nobody waits for it
            else:
                for _, done in now:
                    if not done.done():
                        done.set_result(None)


@dataclass
class Run:
    """What came of one run.

    Attributes:
        stopped: Why it ended before every clip was described; None where it did not.
        problem: What keeps the server from answering any question; None where nothing does.
    """

    stopped: str | None = None
    problem: Problem | None = None


@dataclass
class Describing:
    """One run over clips that have no answer yet.

    Args:
        answered: Keys of the questions that need not be asked, here or in another ledger.
        advance: Told how many clips are done more.
    """

    ledger: Ledger
    recipe: VideoRecipe
    asking: str
    describer: Describer
    budget: Budget
    answered: set[str]
    advance: Callable[[int], None]
    run: Run = field(default_factory=Run)
    _in_a_row: int = 0
    _under_way: int = 0

    def __post_init__(self) -> None:
        self._commits = Commits(self.ledger)
        self._throttle = Throttle(self._most)
        self._settled = asyncio.Event()

    async def over(self, extracted: Iterator[Extracted]) -> Run:
        """Asks about every clip, until all are done, the budget is used up, or there is no use in asking.

        Raises:
            DataError: The ledger cannot be written.
        """
        questions: asyncio.Queue[tuple[Question, list[Change]] | None] = asyncio.Queue(self._most)
        try:
            async with self.describer, asyncio.TaskGroup() as tasks:
                tasks.create_task(self._feed(extracted, questions))
                for _ in range(self._most):
                    tasks.create_task(self._work(questions))
        except ExceptionGroup as group:
            mendable, others = group.split(DataError)
            if mendable is None or others is not None:
                raise
            raise _first(mendable) from None
        return self.run

    @property
    def _most(self) -> int:
        served = self.recipe.describer
        return served.concurrency if isinstance(served, ServedDescriber) else SYNTHETIC_AT_ONCE

    async def _feed(
        self, extracted: Iterator[Extracted], questions: asyncio.Queue[tuple[Question, list[Change]] | None]
    ) -> None:
        """Puts the questions that have to be asked, each once."""
        written = self._commits.post()
        while (
            self.run.stopped is None and (one := await asyncio.to_thread(next, extracted, None)) is not None
        ):
            key, changes = noted(one, self.asking)
            if key is None or key in self.answered:
                written = self._commits.post(*changes)
                self.advance(1)
            elif stopped := await self._why_not():
                self.run.stopped = self.run.stopped or stopped
            else:
                self._under_way += 1
                self.answered.add(key)
                self.budget.reserve()
                self.budget.asked += 1
                await questions.put((Question(key, one.frames), changes))
        for _ in range(self._most):
            await questions.put(None)
        await written

    async def _why_not(self) -> str | None:
        """Why the next question may not be asked, when all that is under way has shown what it costs."""
        while (stopped := self.budget.why_not()) and self._under_way:
            self._settled.clear()
            await self._settled.wait()
        return stopped

    async def _work(self, questions: asyncio.Queue[tuple[Question, list[Change]] | None]) -> None:
        while (taken := await questions.get()) is not None:
            question, changes = taken
            if self.run.problem is None:
                await self._settle(question, changes)
                self.advance(1)
            self._under_way -= 1
            self._settled.set()

    async def _settle(self, question: Question, changes: list[Change]) -> None:
        """Asks until there is an answer, the question is given up, or the run ends.

        Args:
            changes: What has to be in the ledger before the first request.
        """
        served = self.recipe.describer
        attempts = served.attempts if isinstance(served, ServedDescriber) else 1
        for attempt in range(attempts):
            if attempt:
                await asyncio.sleep(POLICY.wait_s(attempt))
            async with self._throttle.slot() as number:
                if self.run.problem is not None:
                    return
                if await self._ask(question, number, changes if attempt == 0 else []):
                    return
        self.budget.settle(0.0)
        self._count_failure(f"no answer after {attempts} requests")

    async def _ask(self, question: Question, number: int, changes: list[Change]) -> bool:
        """Whether a question is settled by one request, well or badly."""
        request_id = uuid.uuid4().hex
        await self._commits.post(*changes, entries.intend(request_id, question.key))
        try:
            answer = await self.describer.ask(question, request_id)
        except Lost as lost:
            await self._commits.post(entries.lose(request_id, str(lost)))
            if stopped := self.budget.why_not_again():
                self.run.stopped = stopped
                return True
            self.budget.reserve()
            return False
        except Hopeless as hopeless:
            self._stop(hopeless.problem)
            await self._commits.post(entries.decline(request_id, hopeless.reason))
            return True
        except Declined as declined:
            return await self._declined(question, request_id, number, declined)
        cost = cost_usd(self.recipe, answer)
        self.budget.settle(cost)
        self._throttle.answered()
        self._in_a_row = 0
        await self._commits.post(entries.answer(request_id, question.key, answer, cost))
        return True

    async def _declined(self, question: Question, request_id: str, number: int, declined: Declined) -> bool:
        if declined.is_final:
            self.budget.settle(0.0)
            self._count_failure(declined.reason)
            await self._commits.post(entries.give_up(request_id, question.key, declined.reason))
            return True
        served = self.recipe.describer
        if isinstance(served, ServedDescriber) and (declined.wait_s or 0) > served.longest_wait_s:
            what = f"asks to wait {declined.wait_s:g} s"
            fix = "run the same command again then, or raise describer.longest_wait_s"
            self._stop(Problem(served.base_url, what, got=declined.reason, fix=fix))
        elif declined.is_busy:
            self._throttle.rejected(number, declined.wait_s)
        await self._commits.post(entries.decline(request_id, declined.reason))
        return False

    def _count_failure(self, reason: str) -> None:
        """Ends the run when nothing but failures comes."""
        self._in_a_row += 1
        served = self.recipe.describer
        if self._in_a_row >= MAX_IN_A_ROW and isinstance(served, ServedDescriber):
            what = f"{self._in_a_row} questions in a row came to nothing"
            fix = "see `dlm-release video status --failed`; what failed is asked again with --retry-failed"
            self._stop(Problem(served.base_url, what, got=reason, fix=fix))

    def _stop(self, problem: Problem) -> None:
        if self.run.problem is None:
            self.run.problem = problem
            self.run.stopped = problem.what
            self._throttle.end_pause()


def noted(extracted: Extracted, asking: str) -> tuple[str | None, list[Change]]:
    """The key of what is to be asked of a clip, None where it gives no frames; and what the ledger takes."""
    clip, file = extracted.clip, extracted.file
    changes = [entries.see_clip(file.name, file.bytes, file.mtime_ns, file.sha256)] if file else []
    if extracted.fault is not None:
        fault = extracted.fault
        return None, [*changes, entries.fail_clip(clip.record_id, fault.name, fault.detail)]
    key = question_key(asking, extracted.frames)
    return key, [*changes, entries.show_frames(clip.record_id, key, extracted.frames)]


def _first(group: ExceptionGroup[DataError]) -> DataError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error
