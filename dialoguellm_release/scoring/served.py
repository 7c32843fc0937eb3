"""A served model answers the records of a score recipe: by its first tokens, or by what it writes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Literal, get_args

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import sha256_of_text
from dialoguellm_release.progress import progress
from dialoguellm_release.prompts import prompt_of_dataset
from dialoguellm_release.schemas.labels import Label
from dialoguellm_release.schemas.scores import ScoreRecipe, ScorerName, ServerApi, System
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
from dialoguellm_release.scoring.task import Scored, prompt_problem, protocol_of_model, read_task
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
        protocol=protocol_of_model(task, prompt, scorer, shown.stated if shown else None),
        system=System(name=served.name, kind="model", base=served.model, server_api=_api_of(served)),
        examples=shown.shown if shown else {},
        served=served_figures(scorer, [read[text] for text in texts]),
    )


class ServedAsker:
    """Asks a served model for labels, of a few prompts or of many in several calls."""

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
            if self._again:
                self._forget(prompts, store)
            replies = asyncio.run(self._replies(prompts, store))
        assert self._scorer is not None
        self._beginnings |= beginnings_of(replies.values(), self._labels)
        most, known, scorer = self._max_new_tokens, self._beginnings, self._scorer
        return scorer, {one: read_reply(scorer, replies[one], self._labels, known, most) for one in prompts}

    def _key(self, prompt: str, kind: Kind) -> str:
        """Under which the answer to a prompt is kept."""
        return request_key(
            server=self._served.where,
            model=self._served.model,
            api=self._served.api,
            asked_for=kind,
            max_new_tokens=1 if kind == "first_token" else self._max_new_tokens,
            prompt=sha256_of_text(prompt),
        )

    def _forget(self, prompts: Iterable[str], store: AnswerStore) -> None:
        store.commit([forget([self._key(text, kind) for text in prompts for kind in get_args(Kind)])])

    async def _replies(self, prompts: Sequence[str], store: AnswerStore) -> dict[str, StoredAnswer]:
        """The answer to each prompt; the first ones decide the scorer where none is chosen yet."""
        replies: dict[str, StoredAnswer] = {}
        async with aclosing(OpenAIClient(self._served)) as client:
            scorer = self._scorer
            if scorer is None:
                probes = [] if self._wanted == "free_generation" else prompts[:PROBES]
                replies = await self._ask(client, store, probes, "probe")
                scorer = _scorer(self._wanted, list(replies.values()), self._labels, self._served)
            kind: Kind = "first_token" if scorer == "first_token" else "text"
            rest = [prompt for prompt in prompts if prompt not in replies]
            replies |= await self._ask(client, store, rest, kind)
        if self._scorer is None and all(reply.data is None for reply in replies.values()):
            # This says more of the request than of the prompts.
            self._forget(replies, store)
            reason = next(iter(replies.values())).reason
            problem = Problem(self._served.where, "refuses every prompt", got=reason, code="serve.refuses")
            raise DataError(problem)
        self._scorer = scorer
        return replies

    async def _ask(
        self, client: OpenAIClient, store: AnswerStore, prompts: Sequence[str], kind: Kind
    ) -> dict[str, StoredAnswer]:
        """The answer to each prompt, from the store or the server."""
        keys = {prompt: self._key(prompt, kind) for prompt in prompts}
        known = store.answers(keys.values())
        self._advance(len(known))
        missing = [prompt for prompt in prompts if keys[prompt] not in known]
        asking = Asking(store, self._served, client.send, read_body, advance=self._advance, give_up_after=1)
        forms = _forms(self._served.api, kind, self._max_new_tokens)
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
                    self._advance(1)
                    return form, place + 1
                asking.raise_problem()
                if failure.is_of_prompt or not (failure.kind == "refused" or failure.is_server_error):
                    break
            assert failure is not None
            if failure.kind == "refused":
                await asking.refuse(key, failure)
                self._advance(1)
                unexplained += not failure.is_of_prompt
            if failure.kind != "refused" or unexplained == TRIES:
                asking.give_up(failure)
                asking.raise_problem()
        return forms[0], len(prompts)

    def _question(self, key: str, prompt: str, form: dict[str, Any]) -> Question:
        is_chat = self._served.api == "chat"
        asked = {"messages": [{"role": "user", "content": prompt}]} if is_chat else {"prompt": prompt}
        return Question(key, lambda: {"model": self._served.model, **asked, **form})


def _api_of(served: ServedModel) -> ServerApi:
    if served.api == "responses":
        fix = "use chat or completions"
        raise DataError(Problem("api", "cannot be scored", got=served.api, fix=fix, code="score.api"))
    return served.api


def _scorer(
    wanted: str, probes: Sequence[StoredAnswer], labels: Sequence[Label], served: ServedModel
) -> ScorerName:
    """The scorer of the recipe, or by the share of the probes whose likeliest token begins a label."""
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
