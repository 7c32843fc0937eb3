"""Many questions to one server: each asked until it is answered or a limit is reached, and kept at once."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.serve import store
from dialoguellm_release.serve.client import Failure, ServedModel
from dialoguellm_release.serve.store import AnswerStore, Change, StoredAnswer

MAX_IN_A_ROW = 20
"""After so many questions in a row that came to nothing, the server is given up."""

KEPT = "what was answered is kept: run the same command again"
MAX_UNWRITTEN = 100
"""So many changes wait for a commit where no request brings one."""

SLOWER = 0.8
LOOK_AGAIN_S = 0.5


@dataclass(frozen=True)
class Question:
    """What is asked."""

    key: str | None  # equal for questions with the same answer; None where nothing has to be asked
    body: Callable[[], dict[str, Any]]  # makes the JSON of the request, when it is needed
    changes: tuple[Change, ...] = ()  # written before the first request


@dataclass
class Budget:
    """How many questions a run may still ask, and how much all answers may cost."""

    limit: int | None = None  # questions of this run; None for no limit
    max_cost_usd: float | None = None  # of everything in the store; None for no limit
    # Expected of a request, at least the highest cost so far; None without prices.
    estimate_usd: float | None = None
    known_usd: float = 0.0  # what the answers in the store cost
    reserved: int = 0  # requests that are open or whose fate is unknown: each counts as expected
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
        if cost is not None:
            self.reserved -= 1
            self.known_usd += cost
            if self.estimate_usd is not None:
                self.estimate_usd = max(self.estimate_usd, cost)


class Throttle:
    """Slots for requests: one more after each round of answers, a fifth fewer after a 429.

    Why a fifth, and once a round: a server that rejects one request in ten at random can serve the other
    nine; one that counts requests per minute says how long to wait, and then every request waits.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = float(most)
        self._open = self._sent = self._calm_at = 0
        self._resume_at = 0.0
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[int]:
        """A slot, once one is free and no pause is running; yields the number of the request."""
        loop = asyncio.get_running_loop()
        async with self._changed:
            await self._changed.wait_for(lambda: self._open < max(1, int(self._limit)))
            self._open += 1
        try:
            while (pause_s := self._resume_at - loop.time()) > 0:
                await asyncio.sleep(min(pause_s * (1 + 0.1 * random.random()), LOOK_AGAIN_S))
            self._sent += 1
            yield self._sent
        finally:
            async with self._changed:
                self._open -= 1
                self._changed.notify_all()

    def answered(self) -> None:
        """An answer came: after a round of them there is one slot more."""
        self._limit = min(self._most, self._limit + 1 / self._limit)

    def rejected(self, number: int, wait_s: float | None) -> None:
        """The server is busy: fewer slots, unless this request was sent before they last became fewer."""
        if number > self._calm_at:
            self._limit = max(1.0, self._limit * SLOWER)
            self._calm_at = self._sent
        if wait_s is not None:
            self._resume_at = max(self._resume_at, asyncio.get_running_loop().time() + wait_s)

    def end_pause(self) -> None:
        """Ends a pause: no further request will be sent."""
        self._resume_at = 0.0


@dataclass
class Asking:
    """One run of questions."""

    store: AnswerStore  # keeps the answers
    server: ServedModel  # how many requests are open at once, and how often each is sent
    # Sends a request with its id; gives the body of the answer, or raises a Failure.
    send: Callable[[dict[str, Any], str], Awaitable[str]]
    read: Callable[[str], StoredAnswer | None]  # None for what is no answer of the protocol
    cost_usd: Callable[[StoredAnswer], float | None] = lambda _answer: None  # None where it is not known
    budget: Budget = field(default_factory=Budget)
    advance: Callable[[int], None] = lambda _count: None  # called with the number of questions that are done
    known: set[str] = field(default_factory=set)  # keys of the questions that need not be asked
    give_up_after: int = MAX_IN_A_ROW  # questions in a row without an answer to any of their requests
    # Why it ended before everything was asked, and what keeps the server from answering any question.
    stopped: str | None = field(default=None, init=False)
    problem: Problem | None = field(default=None, init=False)
    answers: dict[str, StoredAnswer] = field(default_factory=dict, init=False)  # by the key of the question

    def __post_init__(self) -> None:
        self._throttle = Throttle(self.server.concurrency)
        self._settled = asyncio.Event()
        self._writing = asyncio.Lock()
        self._unwritten: list[Change] = []
        self._write_failure: DataError | None = None
        self._unanswered = self._refused = self._under_way = 0

    async def over(self, questions: Iterator[Question]) -> None:
        """Asks every question, until all are done, the budget is used up, or the server is given up."""
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
            raise mendable.exceptions[0] from None
        self.raise_problem()

    def raise_problem(self) -> None:
        """Raises a DataError where the server is given up."""
        if self.problem is not None:
            raise DataError(self.problem, outcome=KEPT)

    async def ask(self, question: Question, server_errors: int | None = None) -> Failure | None:
        """Sends a question until it is answered or given up; the last failure where it has no answer.

        With `server_errors` it is given up after so many attempts if the last one ended in a server error.
        """
        assert question.key is not None
        policy, changes = self.server.policy, question.changes
        failure: Failure | None = None
        for attempt in range(policy.attempts):
            if failure is not None:
                await asyncio.sleep(policy.wait_s(attempt, failure.wait_s))
            try:
                await self._request(question.key, question.body(), changes)
                return None
            except Failure as error:
                failure, changes = error, ()
            if self.problem is not None or failure.kind == "refused":
                break
            if failure.problem is not None:
                self._stop(failure.problem)
                break
            if failure.kind == "lost":
                if stopped := self.budget.why_not_again():
                    self.stopped = stopped
                    break
                self.budget.reserve()
            elif failure.is_server_error and server_errors and attempt + 1 >= server_errors:
                break
            elif (failure.wait_s or 0) > policy.longest_asked_s:
                what = f"asks to wait {failure.wait_s:g} s"
                fix = "run the same command again then"
                self._stop(Problem(self.server.where, what, got=failure.got, fix=fix, code="serve.long_wait"))
                break
        else:
            assert failure is not None
            self.budget.settle(0.0)
            self._unanswered += 1
            if self._unanswered >= self.give_up_after:
                self.give_up(failure)
        return failure

    async def refuse(self, key: str, failure: Failure) -> None:
        """Keeps that a question will not be answered."""
        answer = StoredAnswer("refused" if failure.is_of_prompt else "failed", reason=failure.reason)
        self.answers[key] = answer
        await self._write(store.keep(key, answer))

    def give_up(self, failure: Failure) -> None:
        """Ends the run: the server answers no request, or refuses every one."""
        if failure.kind == "refused":
            what, code = "refuses one request after the other", "serve.refuses"
            fix = "check what the server says about the request; see docs/scores.md and docs/video.md"
        else:
            what, code = f"gave no answer to {self.server.policy.attempts} requests", "serve.no_answer"
            fix = "check that the server runs and that the address is right, then run the same command again"
        self._stop(Problem(self.server.where, what, got=failure.got, fix=fix, code=code))

    def _stop(self, problem: Problem) -> None:
        if self.problem is None:
            self.problem = problem
            self.stopped = problem.what
            self._throttle.end_pause()

    async def _request(self, key: str, body: dict[str, Any], changes: tuple[Change, ...]) -> None:
        """Sends one request and keeps its answer; raises a Failure where there is none."""
        request_id = uuid.uuid4().hex
        async with self._throttle.slot() as number:
            if self.problem is not None:
                raise Failure("declined", "the run has ended")
            await self._write(*changes, store.send(request_id, key))
            try:
                answer = self.read(await self.send(body, request_id))
                if answer is None:
                    raise Failure("lost", "the answer is no completion")
            except Failure as failure:
                is_busy = failure.kind == "declined" and failure.status in (429, 503)
                if is_busy and (failure.wait_s or 0) <= self.server.policy.longest_asked_s:
                    self._throttle.rejected(number, failure.wait_s)
                await self._write(store.end(request_id, failure.reason, is_lost=failure.kind == "lost"))
                raise
        self._throttle.answered()
        self._unanswered = self._refused = 0
        cost = self.cost_usd(answer)
        self.budget.settle(cost)
        await self._write(store.receive(request_id, answer, cost), store.keep(key, answer))
        self.answers[key] = answer

    async def _write(self, *changes: Change) -> None:
        """Writes changes; those that arrive while others are written are written together.

        Why: a commit takes milliseconds and blocks, and the store is written before and after every request.
        """
        self._unwritten += changes
        async with self._writing:
            if self._write_failure is not None:
                raise self._write_failure
            changes_now, self._unwritten = self._unwritten, []
            try:
                if changes_now:
                    await asyncio.to_thread(self.store.commit, changes_now)
            except DataError as error:
                self._write_failure = error
                raise

    async def _feed(self, questions: Iterator[Question], queue: asyncio.Queue[Question | None]) -> None:
        """Puts the questions that have to be asked into the queue, each once."""
        while self.stopped is None:
            question = await asyncio.to_thread(next, questions, None)
            if question is None:
                break
            if question.key is None or question.key in self.known:
                self._unwritten += question.changes
                if len(self._unwritten) >= MAX_UNWRITTEN:
                    await self._write()
                self.advance(1)
            elif stopped := await self._why_not():
                self.stopped = self.stopped or stopped
            else:
                self._under_way += 1
                self.known.add(question.key)
                self.budget.reserve()
                self.budget.asked += 1
                await queue.put(question)
        for _ in range(self.server.concurrency):
            await queue.put(None)
        await self._write()

    async def _why_not(self) -> str | None:
        """Why the next question may not be asked, once the cost of all open requests is known."""
        while (stopped := self.budget.why_not()) and self._under_way:
            self._settled.clear()
            await self._settled.wait()
        return stopped

    async def _work(self, queue: asyncio.Queue[Question | None]) -> None:
        """Asks what is in the queue, until it holds None."""
        while (question := await queue.get()) is not None:
            if self.problem is None:
                await self._settle(question)
                self.advance(1)
            self._under_way -= 1
            self._settled.set()

    async def _settle(self, question: Question) -> None:
        """Asks a question; gives the server up where it refuses one after the other."""
        failure = await self.ask(question)
        if failure is None or failure.kind != "refused":
            return
        assert question.key is not None
        self.budget.settle(0.0)
        await self.refuse(question.key, failure)
        self._refused += not failure.is_of_prompt
        if self._refused >= MAX_IN_A_ROW:
            self.give_up(failure)
