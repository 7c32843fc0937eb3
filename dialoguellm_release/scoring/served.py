"""A served model answers the records of a score recipe: by its first tokens, or by what it writes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import sha256_of_text
from dialoguellm_release.progress import progress
from dialoguellm_release.prompts import Prompt, load_prompt
from dialoguellm_release.schemas.labels import Label
from dialoguellm_release.schemas.recipes.score import ScoreRecipe
from dialoguellm_release.schemas.scores import ScorerName, System
from dialoguellm_release.scoring.answers import Answer, Reply, parse
from dialoguellm_release.scoring.few_shot import PromptWithExamples, examples_of, prompted_protocol
from dialoguellm_release.scoring.journal import Journal, journal_of
from dialoguellm_release.scoring.scorers import softmax
from dialoguellm_release.scoring.server import Completion, ServedModel, Server
from dialoguellm_release.scoring.task import Scored, Task, read_task

SERVED_SCORERS: tuple[ScorerName, ...] = ("first_token", "free_generation")


def score_served(
    settings: ScoreRecipe, dataset: Path, served: ServedModel, cache: Path, *, again: bool = False
) -> Scored:
    """The answers of a served model.

    The scorer is `first_token` where the server gives the log-probabilities of first tokens to every prompt,
    and labels can be told apart by them, else `free_generation`; the recipe may demand either.

    Args:
        cache: Where replies are kept as they are made.
        again: Ask for every reply anew.

    Raises:
        DataError: The server refuses or gives no answer, or cannot do what the recipe demands.
        MissingExtraError: The extra `served` is not installed.
    """
    if settings.scorer not in ("auto", *SERVED_SCORERS):
        expected = f"auto, {' or '.join(SERVED_SCORERS)}"
        raise DataError(Problem("scorer", "cannot be had from a server", expected, settings.scorer))
    task = read_task(settings, dataset)
    prompt = _prompt_of(task, dataset)
    shown = examples_of(settings, task, dataset)
    asked = prompt if shown is None else PromptWithExamples(prompt, shown)
    replies = _replies(
        [asked.prompt(record) for record in task.records], task.labels, settings, served, cache, again=again
    )
    scorer = _scorer(settings, replies, served)
    return Scored(
        split=task.split,
        answers=[read_served(scorer, reply, task.labels) for reply in replies],
        protocol=prompted_protocol(task, settings, prompt, scorer, shown, has_context=True),
        system=System(name=served.name, kind="model", base=served.model, server_api=served.api),
        packages=("openai", "numpy"),
        examples=shown.shown if shown else {},
    )


def label_log_probs(first: Mapping[str, float], labels: Sequence[Label]) -> tuple[float, ...] | None:
    """A log-probability per label from those of first tokens, minus infinity for a label that none begins.

    None where a token that begins several labels is likelier than any that begins one: then first tokens do
    not tell the labels apart.

    >>> label_log_probs({" sad": -0.5, "ang": -1.0, "the": -2.0}, ["anger", "sadness"])
    (-1.0, -0.5)
    >>> label_log_probs({"s": -0.5, "ang": -1.0}, ["anger", "sadness", "surprise"]) is None
    True
    """
    found: dict[Label, list[float]] = {label: [] for label in labels}
    shared = -math.inf
    for token, value in first.items():
        piece = token.strip().lower()
        begun = [label for label in labels if piece and label.startswith(piece)]
        if len(begun) == 1:
            found[begun[0]].append(value)
        elif begun:
            shared = max(shared, value)
    sums = tuple(math.log(sum(map(math.exp, values))) if values else -math.inf for values in found.values())
    return None if shared > max(sums) else sums


def read_served(scorer: ScorerName, reply: Reply, labels: Sequence[Label]) -> Answer:
    """What a scorer makes of the reply of a server; none of its likeliest tokens may begin a label."""
    if scorer == "free_generation":
        return Answer(parse(reply.text or "", labels), text=reply.text)
    values = reply.log_probs or ()
    best = max(values)
    if best == -math.inf:
        return Answer(None, text=reply.text)
    return Answer(labels[values.index(best)], scores=softmax(values), text=reply.text)


def _prompt_of(task: Task, dataset: Path) -> Prompt:
    built = task.dataset.figures
    prompt = load_prompt(built.prompt)
    if prompt.sha256 != built.prompt_sha256:
        what = "was built with another prompt than the prompt recipe of today has"
        fix = "build the dataset again"
        raise DataError(Problem(str(dataset), what, prompt.sha256, built.prompt_sha256, fix))
    return prompt


def _scorer(settings: ScoreRecipe, replies: Sequence[Reply], served: ServedModel) -> ScorerName:
    without = sum(reply.log_probs is None for reply in replies)
    if settings.scorer == "first_token" and without:
        raise DataError(
            Problem(
                served.where,
                f"gives {without} of {len(replies)} prompts no first token that tells the labels apart",
                expected=f"log-probabilities of the likeliest first tokens of {served.model}",
                fix="set scorer: free_generation, or auto",
            )
        )
    if settings.scorer == "auto":
        return "free_generation" if without else "first_token"
    return "first_token" if settings.scorer == "first_token" else "free_generation"


def _replies(
    prompts: Sequence[str],
    labels: Sequence[Label],
    settings: ScoreRecipe,
    served: ServedModel,
    cache: Path,
    *,
    again: bool,
) -> list[Reply]:
    """The reply to each prompt, by the journal or the server; prompts of the same text are asked once."""
    decides: dict[str, object] = {
        "server": served.where,
        "model": served.model,
        "api": served.api,
        "labels": list(labels),
        "max_new_tokens": settings.max_new_tokens,
    }
    wanted = {sha256_of_text(prompt): prompt for prompt in prompts}
    with journal_of(decides, cache, again=again) as journal, progress("ask", len(wanted)) as advance:
        missing = {digest: prompt for digest, prompt in wanted.items() if digest not in journal.known}
        advance(len(wanted) - len(missing))
        if missing:
            asyncio.run(_ask_all(missing, labels, settings, served, journal, advance))
        return [journal.known[sha256_of_text(prompt)] for prompt in prompts]


async def _ask_all(
    missing: Mapping[str, str],
    labels: Sequence[Label],
    settings: ScoreRecipe,
    served: ServedModel,
    journal: Journal,
    advance: Callable[[int], None],
) -> None:
    """Asks for every reply and keeps each as it comes; after a failure no further one is asked for."""
    server = Server(served, settings.max_new_tokens)
    waiting = iter(missing.items())
    failures: list[DataError] = []

    async def work(turns: Iterator[tuple[str, str]]) -> None:
        for digest, prompt in turns:
            if failures:
                return
            try:
                completion = await server.ask(prompt)
            except DataError as failure:
                failures.append(failure)
                return
            journal.keep([digest], [_reply(completion, labels)])
            advance(1)

    try:
        await work(iter([next(waiting)]))
        await asyncio.gather(*(work(waiting) for _ in range(served.concurrency)))
    finally:
        await server.close()
    if failures:
        raise failures[0]


def _reply(completion: Completion, labels: Sequence[Label]) -> Reply:
    first = completion.first
    return Reply(None if first is None else label_log_probs(first, labels), completion.text)
