"""A served model answers the records of a score recipe: by its first tokens, or by what it writes."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from dialoguellm_release.schemas.scores import ScorerName, ServedFigures, ServerApi, System
from dialoguellm_release.scoring.answers import STORE, Answer, parse
from dialoguellm_release.scoring.few_shot import PromptWithExamples, examples_of
from dialoguellm_release.scoring.scorers import softmax
from dialoguellm_release.scoring.task import Asked, Scored, prompt_problem, protocol_of, read_task
from dialoguellm_release.serve.asking import Asking, Question
from dialoguellm_release.serve.client import OpenAIClient, ServedModel
from dialoguellm_release.serve.protocol import plain_token, read_completion
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
    _api_of(served)
    if settings.scorer not in ("auto", *SERVED_SCORERS):
        expected = f"auto, {' or '.join(SERVED_SCORERS)}"
        what = "not possible with a server"
        raise DataError(Problem("scorer", what, expected, settings.scorer, code="score.not_served"))
    task = read_task(settings, dataset)
    prompt = prompt_of_dataset(task.dataset)
    if problem := prompt_problem(task, dataset, prompt, "the present prompt recipe"):
        raise DataError(problem)
    shown = examples_of(task, dataset)
    asked = prompt if shown is None else PromptWithExamples(prompt, shown)
    texts = [asked.prompt(record) for record in task.records]
    distinct = list(dict.fromkeys(texts))
    with (
        open_store(cache / STORE, FORGET_FAILED) as store,
        progress("ask", len(distinct)) as advance,
    ):
        run = _Run(served, settings, task.labels, store, advance)
        if again:
            store.commit([forget([run.key(text, kind) for text in distinct for kind in _KINDS])])
        scorer, replies = asyncio.run(run.replies(distinct))
    beginnings = beginnings_of(replies.values(), task.labels)
    read = {
        text: read_reply(scorer, replies[text], task.labels, beginnings, settings.max_new_tokens)
        for text in distinct
    }
    return Scored(
        split=task.split,
        answers=[read[text].answer for text in texts],
        protocol=protocol_of(task, Asked(prompt.sha256, scorer, True, shown.as_stated if shown else None)),
        system=System(name=served.name, kind="model", base=served.model, server_api=_api_of(served)),
        examples=shown.shown if shown else {},
        served=served_figures(scorer, [read[text] for text in texts]),
    )


_KINDS: tuple[Kind, ...] = ("probe", "first_token", "text")


@dataclass(frozen=True)
class _Run:
    """The questions of one run to one server."""

    served: ServedModel
    settings: ScoreRecipe
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
            max_new_tokens=1 if kind == "first_token" else self.settings.max_new_tokens,
            prompt=sha256_of_text(prompt),
        )

    async def replies(self, prompts: Sequence[str]) -> tuple[ScorerName, dict[str, StoredAnswer]]:
        """The scorer, and the answer to each prompt."""
        async with aclosing(OpenAIClient(self.served)) as client:
            wanted = self.settings.scorer
            probes = [] if wanted == "free_generation" else prompts[:PROBES]
            replies = await self._ask(client, probes, "probe")
            scorer = _scorer(self.settings, list(replies.values()), self.labels, self.served)
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
        forms = _forms(self.served.api, kind, self.settings.max_new_tokens)
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
    settings: ScoreRecipe, probes: Sequence[StoredAnswer], labels: Sequence[Label], served: ServedModel
) -> ScorerName:
    """The scorer: as the recipe says, or by the share of the probes whose likeliest token begins a label."""
    if settings.scorer == "free_generation":
        return "free_generation"
    answered = [probe for probe in probes if probe.state == "answered"]
    beginnings = beginnings_of(answered, labels)
    readable = sum(is_readable(probe, labels, beginnings) for probe in answered)
    if answered and readable >= READABLE * len(answered):
        return "first_token"
    if settings.scorer == "auto":
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


MIN_PREFIX = 3
"""A shorter beginning counts as a label only where an answer shows that the label is written so."""


def read_body(body: str) -> StoredAnswer | None:
    """What is kept of a completion."""
    found = read_completion(body)
    if found is None:
        return None
    data = {"first": found.first, "cut_off": found.cut_off, "thought": found.thought}
    state: Literal["answered", "refused"] = "answered"
    reason = None
    if found.refusal is not None or found.cut_off == "content_filter":
        state = "refused"
        reason = "content filter" if found.refusal is None else "the model refuses"
    return StoredAnswer(state, found.text, data, reason, found.model, found.input_tokens, found.output_tokens)


def beginnings_of(replies: Iterable[StoredAnswer], labels: Sequence[Label]) -> set[str]:
    """Short first tokens that are known to begin a label, as the label was written after them."""
    found = set()
    for reply in replies:
        first = (reply.data or {}).get("first")
        label = parse(reply.text or "", labels)
        if first and label is not None:
            piece = plain_token(max(first, key=lambda pair: pair[1])[0])
            if piece and label.startswith(piece):
                found.add(piece)
    return found


def label_masses(
    first: Sequence[tuple[str, float]],
    labels: Sequence[Label],
    beginnings: set[str] | frozenset[str] = frozenset(),
) -> dict[Label, float]:
    """The probability of each label by the likeliest first tokens.

    A token counts for the label that it is, or the only one that it begins: "a" is an article, not anger, so
    less than three letters count only where they are known to begin a label, and a beginning does not count
    where another token that is as likely begins with it too.

    >>> {k: round(v, 2) for k, v in label_masses([(" sad", -0.5), ("A", -1.0)], ["anger", "sadness"]).items()}
    {'anger': 0.0, 'sadness': 0.61}
    """
    masses = dict.fromkeys(labels, 0.0)
    pieces = [(plain_token(token), value) for token, value in first]
    for piece, value in pieces:
        begun = [label for label in labels if piece and label.startswith(piece)]
        begun = [label for label in begun if label == piece] or begun
        if len(begun) != 1:
            continue
        others = any(
            other.startswith(piece) and not begun[0].startswith(other) and likely >= value
            for other, likely in pieces
        )
        if piece == begun[0] or piece in beginnings or (len(piece) >= MIN_PREFIX and not others):
            masses[begun[0]] += math.exp(value)
    return masses


@dataclass(frozen=True)
class ReadReply:
    """A reply as an answer.

    Attributes:
        mass: The probability of all labels together, by first tokens; None where there are none.
        invalid: Why it names no label; None where it does.
    """

    answer: Answer
    mass: float | None = None
    invalid: str | None = None


def read_reply(
    scorer: ScorerName,
    reply: StoredAnswer,
    labels: Sequence[Label],
    beginnings: set[str],
    max_new_tokens: int,
) -> ReadReply:
    """The answer that a scorer reads in a reply."""
    text, data = reply.text, reply.data or {}

    def invalid(reason: str, mass: float | None = None) -> ReadReply:
        return ReadReply(Answer(None, text=text), mass, reason)

    if reply.state != "answered":
        return invalid(f"refused: {(reply.reason or '').partition(':')[0]}")
    if scorer == "first_token":
        if data.get("first") is None:
            return invalid("no log-probabilities")
        masses = label_masses(data["first"], labels, beginnings)
        mass = min(1.0, sum(masses.values()))
        if not mass:
            return invalid("no label among the likeliest first tokens", mass)
        scores = [math.log(value) if value else -math.inf for value in masses.values()]
        return ReadReply(Answer(labels[scores.index(max(scores))], scores=softmax(scores), text=text), mass)
    label = parse(text or "", labels)
    if label is not None:
        return ReadReply(Answer(label, text=text))
    is_empty = not (text or "").strip()
    if data.get("cut_off") == "length" and (data.get("thought") or is_empty):
        return invalid(f"cut off while reasoning (max_new_tokens: {max_new_tokens})")
    return invalid("empty" if is_empty else "not a label")


def served_figures(scorer: ScorerName, read: Sequence[ReadReply]) -> ServedFigures:
    """The mass on labels, the share of records without one, and the invalid answers by their reason."""
    masses = [one.mass for one in read if one.mass is not None]
    is_by_tokens = scorer == "first_token"
    return ServedFigures(
        label_mass=math.fsum(masses) / len(masses) if masses and is_by_tokens else None,
        without_label=sum(not one.mass for one in read) / len(read) if read and is_by_tokens else None,
        invalid=dict(sorted(Counter(one.invalid for one in read if one.invalid).items())),
    )


def is_readable(probe: StoredAnswer, labels: Sequence[Label], beginnings: set[str]) -> bool:
    """Whether the likeliest first token begins a label."""
    first = (probe.data or {}).get("first")
    if not first:
        return False
    top = max(first, key=lambda pair: pair[1])
    return any(
        label_masses([tuple(pair) for pair in first if pair[1] >= top[1]], labels, beginnings).values()
    )
