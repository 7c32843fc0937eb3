"""Many questions to one server: each asked until it is answered or a limit is reached, and kept at once."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.serve import store
from dialoguellm_release.serve.client import Client, Failure, ServedModel
from dialoguellm_release.serve.store import AnswerStore, Change, Commits, StoredAnswer
from dialoguellm_release.serve.throttle import Throttle

MAX_IN_A_ROW = 20
"""After so many questions in a row that came to nothing, the server is given up."""

Read = Callable[[str], StoredAnswer | None]
"""Reads the body of an answer; None where it is no answer of the protocol."""


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        key: Equal for questions with the same answer; None where nothing has to be asked.
        body: Makes the JSON of the request, when it is needed.
        changes: Written before the first request.
    """

    key: str | None
    body: Callable[[], dict[str, Any]]
    changes: tuple[Change, ...] = ()


@dataclass
class Budget:
    """How many questions a run may still ask, and how much all answers may cost.

    Args:
        limit: Questions of this run; None for no limit.
        max_cost_usd: Of everything in the store; None for no limit.
        estimate_usd: Expected of a request, at least the highest cost so far; None without prices.
        known_usd: What the answers in the store cost.
        reserved: Requests that are open or whose fate is unknown: each counts as expected.
    """

    limit: int | None = None
    max_cost_usd: float | None = None
    estimate_usd: float | None = None
    known_usd: float = 0.0
    reserved: int = 0
    asked: int = 0

    def __post_init__(self) -> None:
        if self.max_cost_usd is not None and self.estimate_usd is None:
            what, fix = "the recipe has no prices", "add prices, or use --limit"
            raise DataError(Problem("--max-cost", what, fix=fix, code="serve.no_prices"))

    def why_not(self) -> str | None:
        """Why no further question may be asked; None where one may."""
        if self.limit is not None and self.asked >= self.limit:
            return f"--limit {self.limit} is reached"
        return self.why_not_again()

    def why_not_again(self) -> str | None:
        """Why no further request may be sent for a question; None where one may."""
        most, estimate = self.max_cost_usd, self.estimate_usd or 0.0
        if most is not None and self.known_usd + (self.reserved + 1) * estimate > most:
            return f"--max-cost {most:g} leaves no room for another request"
        return None

    def reserve(self) -> None:
        """A request will be sent."""
        self.reserved += 1

    def settle(self, cost: float | None) -> None:
        """A request was answered at a known cost; None keeps it reserved at the expected cost."""
        if cost is None:
            return
        self.reserved -= 1
        self.known_usd += cost
        if self.estimate_usd is not None:
            self.estimate_usd = max(self.estimate_usd, cost)


@dataclass
class Outcome:
    """How a run ended.

    Attributes:
        stopped: Why it ended before everything was asked; None where it did not.
        problem: What keeps the server from answering any question; None where nothing does.
        answers: What came of each question that was asked.
    """

    stopped: str | None = None
    problem: Problem | None = None
    answers: dict[str, StoredAnswer] = field(default_factory=dict)


@dataclass
class Asking:
    """One run of questions.

    Args:
        answers: The store that keeps the answers.
        server: How many requests are open at once, and how often each is sent.
        client: Sends them.
        read: Reads a body.
        cost_usd: Of an answer; None where it is not known.
        budget: What may be asked and spent.
        advance: Called with the number of questions that are done.
        known: Keys of the questions that need not be asked.
        give_up_after: Questions in a row without an answer to any of their requests that end the run.
    """

    answers: AnswerStore
    server: ServedModel
    client: Client
    read: Read
    cost_usd: Callable[[StoredAnswer], float | None] = lambda _answer: None
    budget: Budget = field(default_factory=Budget)
    advance: Callable[[int], None] = lambda _count: None
    known: set[str] = field(default_factory=set)
    give_up_after: int = MAX_IN_A_ROW
    outcome: Outcome = field(default_factory=Outcome)
    _unanswered: int = 0
    _refused: int = 0
    _under_way: int = 0

    def __post_init__(self) -> None:
        self._commits = Commits(self.answers)
        self._throttle = Throttle(self.server.concurrency)
        self._settled = asyncio.Event()

    async def over(self, questions: Iterator[Question]) -> Outcome:
        """Asks every question, until all are done, the budget is used up, or the server is given up.

        Raises:
            DataError: The store cannot be written.
        """
        queue: asyncio.Queue[Question | None] = asyncio.Queue(self.server.concurrency)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._feed(questions, queue))
                for _ in range(self.server.concurrency):
                    tasks.create_task(self._work(queue))
        except ExceptionGroup as group:
            mendable, others = group.split(DataError)
            if mendable is None or others is not None:
                raise
            raise _first(mendable) from None
        return self.outcome

    async def request(self, key: str, body: dict[str, Any], changes: tuple[Change, ...] = ()) -> StoredAnswer:
        """The answer to one request, kept.

        Raises:
            Failure: There is none; the store knows why.
            DataError: The store cannot be written.
        """
        request_id = uuid.uuid4().hex
        async with self._throttle.slot() as number:
            if self.outcome.problem is not None:
                raise Failure("declined", "the run has ended")
            await self._commits.post(*changes, store.send(request_id, key))
            try:
                answer = self.read(await self.client.send(body, request_id))
                if answer is None:
                    raise Failure("lost", "the answer is no completion")
            except Failure as failure:
                is_busy = failure.kind == "declined" and failure.status in (429, 503)
                if is_busy and (failure.wait_s or 0) <= self.server.policy.longest_asked_s:
                    self._throttle.rejected(number, failure.wait_s)
                is_lost = failure.kind == "lost"
                await self._commits.post(store.end(request_id, failure.reason, is_lost=is_lost))
                raise
        self._throttle.answered()
        self._unanswered = self._refused = 0
        cost = self.cost_usd(answer)
        self.budget.settle(cost)
        await self._commits.post(store.receive(request_id, answer, cost), store.keep(key, answer))
        self.outcome.answers[key] = answer
        return answer

    async def refuse(self, key: str, failure: Failure) -> None:
        """Keeps that a question will not be answered."""
        answer = StoredAnswer("refused" if failure.is_of_prompt else "failed", reason=failure.reason)
        self.outcome.answers[key] = answer
        await self._commits.post(store.keep(key, answer))

    def stop(self, problem: Problem) -> None:
        """Ends the run: no further request is sent."""
        if self.outcome.problem is None:
            self.outcome.problem = problem
            self.outcome.stopped = problem.what
            self._throttle.end_pause()

    async def _feed(self, questions: Iterator[Question], queue: asyncio.Queue[Question | None]) -> None:
        """Puts the questions that have to be asked into the queue, each once."""
        written = self._commits.post()
        while self.outcome.stopped is None:
            question = await asyncio.to_thread(next, questions, None)
            if question is None:
                break
            if question.key is None or question.key in self.known:
                written = self._commits.post(*question.changes)
                self.advance(1)
            elif stopped := await self._why_not():
                self.outcome.stopped = self.outcome.stopped or stopped
            else:
                self._under_way += 1
                self.known.add(question.key)
                self.budget.reserve()
                self.budget.asked += 1
                await queue.put(question)
        for _ in range(self.server.concurrency):
            await queue.put(None)
        await written

    async def _why_not(self) -> str | None:
        """Why the next question may not be asked, once the cost of all open requests is known."""
        while (stopped := self.budget.why_not()) and self._under_way:
            self._settled.clear()
            await self._settled.wait()
        return stopped

    async def _work(self, queue: asyncio.Queue[Question | None]) -> None:
        while (question := await queue.get()) is not None:
            if self.outcome.problem is None:
                await self._settle(question)
                self.advance(1)
            self._under_way -= 1
            self._settled.set()

    async def _settle(self, question: Question) -> None:
        """Asks until there is an answer, the question is given up, or the run ends."""
        assert question.key is not None
        reason, asked_s, changes = "", None, question.changes
        for attempt in range(self.server.policy.attempts):
            if attempt:
                await asyncio.sleep(self.server.policy.wait_s(attempt, asked_s))
            if self.outcome.problem is not None:
                return
            try:
                await self.request(question.key, question.body(), changes)
                return
            except Failure as failure:
                changes, reason, asked_s = (), failure.got, failure.wait_s
                if await self._is_final(question.key, failure):
                    return
        self.budget.settle(0.0)
        self._unanswered += 1
        if self._unanswered >= self.give_up_after:
            self.stop(self.no_answer(reason))

    async def _is_final(self, key: str, failure: Failure) -> bool:
        """Whether a failure ends the question."""
        if failure.problem is not None:
            self.stop(failure.problem)
            return True
        if failure.kind == "refused":
            self.budget.settle(0.0)
            await self.refuse(key, failure)
            self._refused += not failure.is_of_prompt
            if self._refused >= MAX_IN_A_ROW:
                self.stop(self.refuses(failure))
            return True
        if failure.kind == "lost":
            if stopped := self.budget.why_not_again():
                self.outcome.stopped = stopped
                return True
            self.budget.reserve()
        elif (failure.wait_s or 0) > self.server.policy.longest_asked_s:
            what = f"asks to wait {failure.wait_s:g} s"
            fix = "run the same command again then"
            self.stop(Problem(self.server.where, what, got=failure.got, fix=fix, code="serve.long_wait"))
            return True
        return False

    def no_answer(self, reason: str) -> Problem:
        """The server answers no request."""
        return Problem(
            self.server.where,
            f"gave no answer to {self.server.policy.attempts} requests",
            got=reason,
            fix="check that the server runs and that the address is right, then run the same command again",
            code="serve.no_answer",
        )

    def refuses(self, failure: Failure) -> Problem:
        """The server refuses every request."""
        return Problem(
            self.server.where,
            "refuses one request after the other",
            got=failure.got,
            fix="check what the server says about the request; see docs/scores.md and docs/video.md",
            code="serve.refuses",
        )


def _first(group: ExceptionGroup[DataError]) -> DataError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error
