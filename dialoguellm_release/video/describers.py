"""Who describes: a model behind OpenAI's client, or nobody at all (`synthetic`)."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from dialoguellm_release.errors import DataError, MissingExtraError, Problem
from dialoguellm_release.schemas.recipes.video import DescribingPrompt, ServedDescriber, VideoRecipe
from dialoguellm_release.schemas.video import ClipDescription
from dialoguellm_release.video.answers import Answer, read_answer
from dialoguellm_release.video.questions import SYNTHETIC_MODEL, Question, endpoint, request_body

if TYPE_CHECKING:
    from openai import APIConnectionError, APIStatusError, AsyncOpenAI

REQUEST_ID = "X-Client-Request-Id"
"""The header in which OpenAI takes a client's own id of a request."""

MAX_MESSAGE = 300
QUOTE = 20
"""So many characters of the prompt in a server's message are a quotation."""

_WORD = re.compile(r"[\w.-]{1,60}", re.ASCII)


class Declined(Exception):
    """The server said that it will not answer, so that nothing is owed.

    Args:
        reason: The HTTP status, and the server's words where they quote nothing of the request.
        wait_s: How long it asks to be left alone; None where it does not say.
        is_busy: Whether it is a matter of too many requests.
        is_final: Whether the same question will never be answered.
    """

    def __init__(
        self, reason: str, *, wait_s: float | None = None, is_busy: bool = False, is_final: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait_s = wait_s
        self.is_busy = is_busy
        self.is_final = is_final


class Lost(Exception):
    """A request went out, and whether it was answered is not known."""


class Hopeless(Exception):
    """No question will be answered: said once, for all of them."""

    def __init__(self, reason: str, problem: Problem) -> None:
        super().__init__(reason)
        self.reason = reason
        self.problem = problem


class Describer(Protocol):
    """Answers one question at a time; many may be under way."""

    async def ask(self, question: Question, request_id: str) -> Answer:
        """The answer to a question.

        Raises:
            Declined: The server did not answer and will not charge.
            Lost: It may have.
            Hopeless: It will answer none.
        """
        ...

    async def __aenter__(self) -> Self:
        """Opens connections."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes them."""
        ...


def describer_of(recipe: VideoRecipe) -> Describer:
    """The describer that a recipe names.

    Raises:
        DataError: The key is not in the environment.
        MissingExtraError: The extra `video` is not installed.
    """
    if isinstance(recipe.describer, ServedDescriber):
        return OpenAIDescriber(recipe.describer, recipe.prompt)
    return SyntheticDescriber()


class SyntheticDescriber:
    """Says how large the frames are, and that no model looked at them."""

    async def __aenter__(self) -> Self:
        """Opens nothing."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes nothing."""

    async def ask(self, question: Question, request_id: str) -> Answer:  # noqa: ARG002 - a describer's form
        """A description that names itself synthetic."""
        first = question.frames[0]
        text = (
            f"Synthetic description, written without looking: {len(question.frames)} frames of "
            f"{first.width} by {first.height} pixels, the first with the hash {first.sha256[:12]}."
        )
        description = ClipDescription(description=text, people=[], refusal=None)
        return Answer(SYNTHETIC_MODEL, 0, 0, description=description)


class OpenAIDescriber:
    """A model behind the Responses API or chat completions, by the official client.

    Why the client's own retries are off: each request has to be in the ledger before it is sent. Why aiohttp
    under it: the default transport looks at every open connection before each request.
    """

    def __init__(self, recipe: ServedDescriber, prompt: DescribingPrompt) -> None:
        try:
            from openai import AsyncOpenAI, DefaultAioHttpClient
        except ImportError as error:
            raise MissingExtraError("video", "openai") from error
        self._recipe = recipe
        self._prompt = prompt
        self._client: AsyncOpenAI = AsyncOpenAI(
            api_key=api_key(recipe),
            base_url=recipe.base_url,
            max_retries=0,
            timeout=recipe.timeout_s,
            http_client=DefaultAioHttpClient(),
        )

    async def __aenter__(self) -> Self:
        """The client connects when it first asks."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the connections."""
        await self._client.close()

    async def ask(self, question: Question, request_id: str) -> Answer:
        """The answer of the server; see `Describer`."""
        import httpx2
        import openai

        body = request_body(self._recipe, self._prompt, question.frames)
        try:
            response = await self._client.post(
                endpoint(self._recipe),
                body=body,
                cast_to=httpx2.Response,
                options={"headers": {REQUEST_ID: request_id}},
            )
        except openai.APIStatusError as error:
            raise declined(error, self._recipe, self._prompt) from None
        except openai.APIConnectionError as error:
            raise _unanswered(error, self._recipe) from None
        return read_answer(response.text)


def api_key(recipe: ServedDescriber) -> str:
    """The key from the environment; a server that asks for none gets a word that is none.

    Raises:
        DataError: The variable is not set.
    """
    if recipe.key_variable is None:
        return "none"
    key = os.environ.get(recipe.key_variable, "").strip()
    if not key:
        raise DataError(
            Problem(
                recipe.key_variable,
                "is not set, but the API asks for a key",
                fix=f"export {recipe.key_variable}=..., or --set describer.key_variable=null",
            )
        )
    return key


def declined(error: APIStatusError, recipe: ServedDescriber, prompt: DescribingPrompt) -> Declined | Hopeless:
    """What an HTTP error means for this request, or for all of them."""
    status, where = error.status_code, recipe.base_url
    codes = {word for word in (error.code, error.type) if word and _WORD.fullmatch(word)}
    reason = " ".join([f"HTTP {status}", *sorted(codes)])
    if status == 429 and "insufficient_quota" in codes:
        fix = "raise the quota or wait for the next period, then run the same command again"
        return Hopeless(reason, Problem(where, "the quota is used up", got=reason, fix=fix))
    if status in (401, 403):
        what = (
            f"the key in {recipe.key_variable} is not accepted" if recipe.key_variable else "asks for a key"
        )
        return Hopeless(
            reason, Problem(where, what, got=reason, fix="set the right key, or ask for its rights")
        )
    if status == 404:
        what = f"has no model {recipe.model}, or no {endpoint(recipe)}"
        fix = "set describer.model, describer.type or describer.base_url"
        return Hopeless(reason, Problem(where, what, got=reason, fix=fix))
    if status in (408, 409, 425, 429) or status >= 500:
        return Declined(reason, wait_s=_retry_after_s(error), is_busy=status in (429, 503))
    return Declined(reason + _words(error, prompt), is_final=True)


def _words(error: APIStatusError, prompt: DescribingPrompt) -> str:
    """What the server says about a request that it refuses, unless it quotes it."""
    body = error.body if isinstance(error.body, dict) else {}
    message = body.get("message")
    if not isinstance(message, str) or len(message) > MAX_MESSAGE or "base64" in message:
        return ""
    sent = f"{prompt.instructions} {prompt.question}"
    quotes = any(sent[start : start + QUOTE] in message for start in range(max(1, len(sent) - QUOTE)))
    return "" if quotes else f": {message}"


def _retry_after_s(error: APIStatusError) -> float | None:
    """Seconds that the server asks to wait; None where it says nothing."""
    headers = error.response.headers
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        with suppress(KeyError, ValueError):
            return max(0.0, float(headers[name]) * unit_s)
    with suppress(KeyError, ValueError):
        until = parsedate_to_datetime(headers["retry-after"])
        return max(0.0, (until - datetime.now(UTC)).total_seconds())
    return None


def _unanswered(error: APIConnectionError, recipe: ServedDescriber) -> Declined | Lost:
    """A request that never reached a server is declined; any other may have been answered.

    Why aiohttp's own exception is looked for: the client calls every broken connection a timeout.
    """
    import aiohttp

    cause = error.__cause__.__cause__ if error.__cause__ else None
    if isinstance(cause, aiohttp.ClientConnectorError):
        return Declined("the server cannot be reached")
    if isinstance(cause, TimeoutError):
        return Lost(f"no answer within {recipe.timeout_s:g} s")
    return Lost("the connection broke")
