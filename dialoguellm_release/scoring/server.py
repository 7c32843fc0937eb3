"""A model behind a server that speaks OpenAI's protocol: what it is asked, and what it may answer."""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from dialoguellm_release.errors import DataError, MissingExtraError, Problem
from dialoguellm_release.schemas.scores import ServerApi

TOP = 20
"""How many of the likeliest first tokens are asked for: the most that OpenAI's chat completions give."""
TOP_OF_COMPLETIONS = 5
"""The most that OpenAI's older completions give."""
KEPT = "what was answered is kept: run the same again"
PATHS: dict[ServerApi, str] = {"chat": "/chat/completions", "completions": "/completions"}


@dataclass(frozen=True)
class ServedModel:
    """A model and the server that has it.

    Attributes:
        base_url: As in `http://127.0.0.1:8000/v1`.
        model: As the server calls it.
        api: `chat` sends the prompt as a message of the user; `completions` sends it as it is, which suits a
            model that is not tuned for chat.
        key_variable: The environment variable that holds the key; where it is not set, none is sent.
        concurrency: Requests under way at once.
        max_retries: After a 408, 409, 429, 5xx, a lost connection or an answer that is none.
        timeout_s: Seconds that one answer may take.
    """

    base_url: str
    model: str
    api: ServerApi = "chat"
    key_variable: str = "OPENAI_API_KEY"
    concurrency: int = 8
    max_retries: int = 5
    timeout_s: float = 120.0

    @property
    def name(self) -> str:
        """What its scores are called by: the last part of the model's name."""
        return self.model.rpartition("/")[2]

    @property
    def where(self) -> str:
        """The address, without a user and a password that may stand in it."""
        return re.sub(r"//[^/@]*@", "//", self.base_url)


@dataclass(frozen=True)
class Completion:
    """What a server wrote.

    Attributes:
        first: The log-probabilities of the likeliest first tokens; None where the server gives none.
    """

    text: str
    first: dict[str, float] | None


class _Token(BaseModel):
    token: str
    logprob: float


class _Place(BaseModel):
    top_logprobs: list[_Token] = []


class _LogProbs(BaseModel):
    """As chat completions give them (`content`), or the older completions (`top_logprobs`)."""

    content: list[_Place] | None = None
    top_logprobs: list[dict[str, float] | None] | None = None


class _Message(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Message | None = None
    text: str | None = None
    logprobs: _LogProbs | None = None


class _Body(BaseModel):
    choices: list[_Choice] = Field(min_length=1)


def read_completion(body: str) -> Completion | None:
    """What a server wrote; None where its answer is none of the protocol.

    >>> read_completion('{"choices": [{"text": " fear"}]}')
    Completion(text=' fear', first=None)
    >>> read_completion("<html>") is None
    True
    """
    try:
        choice = _Body.model_validate_json(body).choices[0]
    except ValidationError:
        return None
    if choice.message is None and choice.text is None:
        return None
    text = choice.text if choice.message is None else choice.message.content
    return Completion(text or "", _first(choice.logprobs))


def _first(log_probs: _LogProbs | None) -> dict[str, float] | None:
    if log_probs is not None and log_probs.content:
        return {one.token: one.logprob for one in log_probs.content[0].top_logprobs} or None
    if log_probs is not None and log_probs.top_logprobs:
        return log_probs.top_logprobs[0] or None
    return None


class Server:
    """Asks a served model, greedily, one prompt at a time; many may be under way.

    Servers differ in what they take: the first request settles the form of all, from the one that gives most
    (log-probabilities of first tokens) to the one that asks least.
    """

    def __init__(self, served: ServedModel, max_new_tokens: int) -> None:
        try:
            from openai import AsyncOpenAI
        except ModuleNotFoundError as error:
            raise MissingExtraError("served", str(error.name)) from error
        self._served = served
        self._key = os.environ.get(served.key_variable, "").strip()
        self._forms = _forms(served.api, max_new_tokens)
        self._is_settled = False
        self._client = AsyncOpenAI(
            api_key=self._key or "none",
            base_url=served.base_url,
            max_retries=served.max_retries,
            timeout=served.timeout_s,
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()

    async def ask(self, prompt: str) -> Completion:
        """What the model writes after a prompt.

        Raises:
            DataError: The server refuses, or gives no answer of the protocol, however often it is asked.
        """
        import openai

        try:
            while True:
                try:
                    completion = await self._answer(prompt, self._forms[0])
                except (openai.BadRequestError, openai.UnprocessableEntityError):
                    if self._is_settled or len(self._forms) == 1:
                        raise
                    self._forms = self._forms[1:]
                else:
                    self._is_settled = True
                    return completion
        except openai.APIStatusError as error:
            raise DataError(self._refusal(error), outcome=KEPT) from None
        except openai.APIConnectionError as error:
            raise DataError(self._silence(error), outcome=KEPT) from None

    async def _answer(self, prompt: str, form: dict[str, Any]) -> Completion:
        import httpx2

        served = self._served
        asked = (
            {"messages": [{"role": "user", "content": prompt}]}
            if served.api == "chat"
            else {"prompt": prompt}
        )
        for attempt in range(served.max_retries + 1):
            response = await self._client.post(
                PATHS[served.api], body={"model": served.model, **asked, **form}, cast_to=httpx2.Response
            )
            completion = read_completion(response.text)
            if completion is not None:
                return completion
            await asyncio.sleep(min(0.1 * 2**attempt, 8))
        problem = Problem(
            served.where,
            f"answered {served.max_retries + 1} times with something that is no completion",
            expected="JSON with choices, each with a message or a text",
            got=self._safe(response.text),
            fix="look whether the address is that of an OpenAI-compatible API (it often ends in /v1)",
        )
        raise DataError(problem, outcome=KEPT)

    def _refusal(self, error: Any) -> Problem:
        served, status = self._served, error.status_code
        fix = {
            401: f"export {served.key_variable}=... with a key of this server",
            403: f"export {served.key_variable}=... with a key that may use {served.model}",
            404: f"check --base-url, and that the server has the model {served.model}",
            429: f"wait, or ask less at once with --concurrency; {KEPT}",
        }.get(status, f"look at the server; {KEPT}")
        tries = f", {served.max_retries + 1} times" if status in (408, 409, 429) or status >= 500 else ""
        return Problem(
            served.where, f"answered with HTTP {status}{tries}", got=self._safe(error.message), fix=fix
        )

    def _silence(self, error: Exception) -> Problem:
        served = self._served
        cause = error.__cause__ or error
        return Problem(
            served.where,
            f"gave no answer, asked {served.max_retries + 1} times",
            got=self._safe(f"{type(cause).__name__}: {cause}"),
            fix=f"look whether the server runs and the address is right; {KEPT}",
        )

    def _safe(self, text: str) -> str:
        """A text of the server without the key, should the server repeat it."""
        return text.replace(self._key, "[key]") if self._key else text


def _forms(api: ServerApi, max_new_tokens: int) -> list[dict[str, Any]]:
    """The forms of a request, from the one that gives most to the one that asks least."""
    greedy: dict[str, Any] = {"temperature": 0}
    if api == "completions":
        plain = {**greedy, "max_tokens": max_new_tokens}
        return [{**plain, "logprobs": TOP}, {**plain, "logprobs": TOP_OF_COMPLETIONS}, plain]
    lengths = [{"max_tokens": max_new_tokens}, {"max_completion_tokens": max_new_tokens}]
    wanted = {**greedy, "logprobs": True, "top_logprobs": TOP}
    return [
        *({**wanted, **length} for length in lengths),
        *({**greedy, **length} for length in lengths),
        lengths[1],
    ]
