"""A served model answers the records of a score recipe: by its first tokens, or by what it writes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import sha256_of_text
from dialoguellm_release.progress import progress
from dialoguellm_release.prompts import prompt_of_dataset
from dialoguellm_release.schemas.labels import Label
from dialoguellm_release.schemas.recipes.score import ScoreRecipe
from dialoguellm_release.schemas.scores import ScorerName, ServerApi, System
from dialoguellm_release.scoring.answers import STORE
from dialoguellm_release.scoring.few_shot import PromptWithExamples, examples_of
from dialoguellm_release.scoring.served_replies import (
    ReadReply,
    beginnings_of,
    is_readable,
    read_body,
    read_reply,
    served_figures,
)
from dialoguellm_release.scoring.task import Asked, Scored, prompt_problem, protocol_of, read_task
from dialoguellm_release.serve.asking import Asking, Question
from dialoguellm_release.serve.client import OpenAIClient, ServedModel
from dialoguellm_release.serve.store import (
    FORGET_FAILED,
    AnswerStore,
    StoredAnswer,
    forget,
    open_store,
    request_key,
)

SERVED_SCORERS: tuple[ScorerName, ...] = ("first_token", "free_generation")
PROBES = 16
"""So many prompts are asked for first tokens and text, to choose the scorer."""

READABLE = 0.75
"""`first_token` is chosen where the likeliest first token begins a label for this share of the probes."""

TRIES = 3
"""A form of request that fails with a server error is tried so often before a plainer one."""

TOP = 20
"""How many of the likeliest first tokens are asked for: the most that OpenAI's chat completions give."""
TOP_OF_COMPLETIONS = 5
"""The most that OpenAI's older completions give."""

Kind = Literal["probe", "first_token", "text"]
"""What a request asks for: first tokens and text, first tokens alone, text alone."""


def score_served(
    settings: ScoreRecipe, dataset: Path, served: ServedModel, cache: Path, *, again: bool = False
) -> Scored:
    """The answers of a served model.

    The first prompts are asked for first tokens and text. With `auto` the scorer is `first_token` where the
    likeliest first token begins a label for most of them, else `free_generation`.

    Args:
        cache: Holds the store of answers.
        again: Ask for every answer again.
    """
    task = read_task(settings, dataset)
    prompt = prompt_of_dataset(task.dataset)
    if problem := prompt_problem(task, dataset, prompt, "the present prompt recipe"):
        raise DataError(problem)
    shown = examples_of(task, dataset)
    asked = prompt if shown is None else PromptWithExamples(prompt, shown)
    texts = [asked.prompt(record) for record in task.records]
    distinct = list(dict.fromkeys(texts))
    with progress("ask", len(distinct)) as advance:
        asker = ServedAsker(
            served, task.labels, cache, settings.scorer, settings.max_new_tokens, advance, again=again
        )
        scorer, read = asker.answers(distinct)
    return Scored(
        split=task.split,
        answers=[read[text].answer for text in texts],
        protocol=protocol_of(task, Asked(prompt.sha256, scorer, True, shown.as_stated if shown else None)),
        system=System(name=served.name, kind="model", base=served.model, server_api=_api_of(served)),
        examples=shown.shown if shown else {},
        served=served_figures(scorer, [read[text] for text in texts]),
    )


_KINDS: tuple[Kind, ...] = ("probe", "first_token", "text")


class ServedAsker:
    """Asks a served model for labels, of a few prompts or of many in several calls.

    Args:
        labels: To choose from.
        cache: Holds the store of answers.
        wanted: How answers are read; `auto` is decided by the first prompts.
        max_new_tokens: Longest text.
        advance: Called with the number of prompts that were answered.
        again: Ask for every answer again.
    """

    def __init__(
        self,
        served: ServedModel,
        labels: Sequence[Label],
        cache: Path,
        wanted: Literal["auto"] | ScorerName = "auto",
        max_new_tokens: int = 16,
        advance: Callable[[int], None] = lambda _count: None,
        *,
        again: bool = False,
    ) -> None:
        _api_of(served)
        if wanted not in ("auto", *SERVED_SCORERS):
            expected = f"auto, {' or '.join(SERVED_SCORERS)}"
            what = "not possible with a server"
            raise DataError(Problem("scorer", what, expected, wanted, code="score.not_served"))
        self._scorer: ScorerName | None = None
        self._served, self._labels, self._store_file = served, labels, cache / STORE
        self._wanted, self._max_new_tokens, self._advance = wanted, max_new_tokens, advance
        self._again = again
        self._beginnings: set[str] = set()

    def answers(self, prompts: Sequence[str]) -> tuple[ScorerName, dict[str, ReadReply]]:
        """How answers are read, and that to each of some distinct prompts, from the store or the server."""
        with open_store(self._store_file, FORGET_FAILED) as store:
            run = _Run(self._served, self._wanted, self._max_new_tokens, self._labels, store, self._advance)
            if self._again:
                store.commit([forget([run.key(text, kind) for text in prompts for kind in _KINDS])])
            scorer, replies = asyncio.run(run.replies(prompts, self._scorer))
        self._scorer = scorer
        self._beginnings |= beginnings_of(replies.values(), self._labels)
        most, known = self._max_new_tokens, self._beginnings
        return scorer, {one: read_reply(scorer, replies[one], self._labels, known, most) for one in prompts}


@dataclass(frozen=True)
class _Run:
    """The questions of one run to one server."""

    served: ServedModel
    wanted: Literal["auto"] | ScorerName
    max_new_tokens: int
    labels: Sequence[Label]
    store: AnswerStore
    advance: Callable[[int], None]

    def key(self, prompt: str, kind: Kind) -> str:
        """Under which the answer to a prompt is kept."""
        return request_key(
            server=self.served.where,
            model=self.served.model,
            api=self.served.api,
            asked_for=kind,
            max_new_tokens=1 if kind == "first_token" else self.max_new_tokens,
            prompt=sha256_of_text(prompt),
        )

    async def replies(
        self, prompts: Sequence[str], scorer: ScorerName | None
    ) -> tuple[ScorerName, dict[str, StoredAnswer]]:
        """The scorer, decided by the first prompts where it is None, and the answer to each prompt."""
        replies: dict[str, StoredAnswer] = {}
        async with aclosing(OpenAIClient(self.served)) as client:
            if scorer is None:
                probes = [] if self.wanted == "free_generation" else prompts[:PROBES]
                replies = await self._ask(client, probes, "probe")
                scorer = _scorer(self.wanted, list(replies.values()), self.labels, self.served)
            kind: Kind = "first_token" if scorer == "first_token" else "text"
            rest = [prompt for prompt in prompts if prompt not in replies]
            replies |= await self._ask(client, rest, kind)
        self._refuse_nothing(replies)
        return scorer, replies

    def _refuse_nothing(self, replies: Mapping[str, StoredAnswer]) -> None:
        """Refuses a run whose every prompt was refused: that says more of the request than of the prompts."""
        if any(reply.data is not None for reply in replies.values()):
            return
        self.store.commit([forget([self.key(text, kind) for text in replies for kind in _KINDS])])
        reason = next(iter(replies.values())).reason
        problem = Problem(self.served.where, "refuses every prompt", got=reason, code="serve.refuses")
        raise DataError(problem, outcome="no score was written")

    async def _ask(self, client: OpenAIClient, prompts: Sequence[str], kind: Kind) -> dict[str, StoredAnswer]:
        """The answer to each prompt, from the store or the server."""
        keys = {prompt: self.key(prompt, kind) for prompt in prompts}
        known = self.store.answers(keys.values())
        self.advance(len(known))
        missing = [prompt for prompt in prompts if keys[prompt] not in known]
        asking = Asking(
            self.store, self.served, client.send, read_body, advance=self.advance, give_up_after=1
        )
        forms = _forms(self.served.api, kind, self.max_new_tokens)
        form, asked = await self._settled(asking, missing, keys, forms)
        await asking.over(self._question(keys[prompt], prompt, form) for prompt in missing[asked:])
        return {prompt: (known | asking.answers)[key] for prompt, key in keys.items()}

    async def _settled(
        self, asking: Asking, prompts: Sequence[str], keys: Mapping[str, str], forms: list[dict[str, Any]]
    ) -> tuple[dict[str, Any], int]:
        """The form of request that the server accepts, and how many prompts were asked to find it.

        A prompt that the server refuses in every form is kept as refused, and the next one is tried.
        """
        unexplained = 0
        for place, prompt in enumerate(prompts):
            key = keys[prompt]
            for form in forms:
                failure = await asking.ask(self._question(key, prompt, form), server_errors=TRIES)
                if failure is None:
                    self.advance(1)
                    return form, place + 1
                asking.raise_problem()
                if failure.is_of_prompt or not (failure.kind == "refused" or failure.is_server_error):
                    break
            assert failure is not None
            if failure.kind == "refused":
                await asking.refuse(key, failure)
                self.advance(1)
                unexplained += not failure.is_of_prompt
            if failure.kind != "refused" or unexplained == TRIES:
                asking.give_up(failure)
                asking.raise_problem()
        return forms[0], len(prompts)

    def _question(self, key: str, prompt: str, form: dict[str, Any]) -> Question:
        is_chat = self.served.api == "chat"
        asked = {"messages": [{"role": "user", "content": prompt}]} if is_chat else {"prompt": prompt}
        return Question(key, lambda: {"model": self.served.model, **asked, **form})


def _api_of(served: ServedModel) -> ServerApi:
    if served.api == "responses":
        fix = "use chat or completions"
        raise DataError(Problem("api", "cannot be scored", got=served.api, fix=fix, code="score.api"))
    return served.api


def _scorer(
    wanted: str, probes: Sequence[StoredAnswer], labels: Sequence[Label], served: ServedModel
) -> ScorerName:
    """The scorer: as it is wanted, or by the share of the probes whose likeliest token begins a label."""
    if wanted == "free_generation":
        return "free_generation"
    answered = [probe for probe in probes if probe.state == "answered"]
    beginnings = beginnings_of(answered, labels)
    readable = sum(is_readable(probe, labels, beginnings) for probe in answered)
    if answered and readable >= READABLE * len(answered):
        return "first_token"
    if wanted == "auto":
        return "free_generation"
    given = sum((probe.data or {}).get("first") is not None for probe in answered)
    raise DataError(
        Problem(
            served.where,
            "its first tokens do not tell the labels apart",
            expected=f"for {READABLE:.0%} of the first prompts a likeliest token that begins one label",
            got=f"{readable} of {len(answered)}; log-probabilities for {given}",
            fix="set scorer: free_generation, or auto",
            code="score.first_token_unreadable",
        )
    )


def _forms(api: str, kind: Kind, max_new_tokens: int) -> list[dict[str, Any]]:
    """The forms of a request, from the one that gives most to the one that asks least."""
    greedy: dict[str, Any] = {"temperature": 0}
    count = 1 if kind == "first_token" else max_new_tokens
    if api == "completions":
        plain = [{**greedy, "max_tokens": count}, {"max_tokens": count}]
        rich = [{**plain[0], "logprobs": top} for top in (TOP, TOP_OF_COMPLETIONS)]
        return rich if kind == "first_token" else plain if kind == "text" else [*rich, *plain]
    lengths = [{"max_tokens": count}, {"max_completion_tokens": count}]
    wanted = {**greedy, "logprobs": True, "top_logprobs": TOP}
    rich = [{**wanted, **length} for length in lengths]
    plain = [*({**greedy, **length} for length in lengths), lengths[1]]
    return rich if kind == "first_token" else plain if kind == "text" else [*rich, *plain]
