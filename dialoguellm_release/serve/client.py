"""The client: one request to an OpenAI-compatible server, and what a failure means for the next one."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote, urlsplit

from dialoguellm_release.errors import DataError, Problem, needing
from dialoguellm_release.folders import sha256_of_text
from dialoguellm_release.retry import PASSING_STATUS, RetryPolicy, retry_after_s
from dialoguellm_release.serve.protocol import PATHS, Api, clean, error_in

if TYPE_CHECKING:
    from openai import APIConnectionError, APIStatusError

REQUEST_ID = "X-Client-Request-Id"
"""The header in which OpenAI takes a client's own id of a request."""

MAX_MESSAGE = 300
QUOTE = 20
"""So many characters of a request in a server's message are a quotation."""

_WORD = re.compile(r"[\w.-]{1,60}", re.ASCII)
_FILTERED = re.compile(r"content.?(?:filter|policy|management)|filtered|safety|moderation", re.IGNORECASE)
_TOO_LONG = re.compile(
    r"context.?(?:length|window|size)|(?:prompt|input|request)s?\b.{0,40}(?:too (?:long|large)|exceed)|"
    r"(?:prompt|input|request)s?\b.{0,60}must be <=|string_above_max|too many (?:input )?tokens|"
    r"(?:maximum|max)[ _](?:model|sequence|input|prompt).?len",
    re.IGNORECASE,
)

POLICY = RetryPolicy(attempts=6, first_wait_s=0.5, longest_backoff_s=30.0, longest_asked_s=120.0, jitter=0.5)


@dataclass(frozen=True)
class ServedModel:
    """A model and the server that has it.

    Attributes:
        base_url: As in `http://127.0.0.1:8000/v1`; may hold a user and a password, which are never shown.
        model: As the server calls it.
        api: Which interface of the server is used.
        key_variable: The environment variable that holds the key; None where the server asks for none.
        concurrency: Requests under way at once, at most.
        timeout_s: Seconds that one answer may take.
        policy: How often a request is sent and how long to wait in between.
        needs_key: Refuse to begin where the key is not set, instead of asking without one.
        extra: The extra of this package that brings the client.
    """

    base_url: str
    model: str
    api: Api = "chat"
    key_variable: str | None = "OPENAI_API_KEY"
    concurrency: int = 8
    timeout_s: float = 120.0
    policy: RetryPolicy = POLICY
    needs_key: bool = False
    extra: str = "served"

    @property
    def name(self) -> str:
        """What its scores are called: the last part of the model's name."""
        return self.model.rpartition("/")[2]

    @property
    def sha256(self) -> str:
        """The hash of the address, for files that do not state it."""
        return sha256_of_text(self.where)

    @property
    def where(self) -> str:
        """The address without a user and a password."""
        return re.sub(r"//[^/@]*@", "//", self.base_url)


@dataclass(eq=False)
class Failure(Exception):
    """A request that gave no answer."""

    # `lost` where it may have been answered; `declined` where it was not, but may be later; `refused` where
    # the same request will never be answered; `hopeless` where no request will.
    kind: Literal["lost", "declined", "refused", "hopeless"]
    reason: str  # the HTTP status or what else happened, in a few fixed words
    status: int | None = None  # the HTTP status; None where there was none
    wait_s: float | None = None  # how long the server asks to wait; None where it does not say
    # Whether the content of the prompt is what was refused: by a filter, or for its length.
    is_of_prompt: bool = False
    words: str = ""  # what the server said, where it quotes nothing of the request
    problem: Problem | None = None  # of a `hopeless` one

    @property
    def got(self) -> str:
        """What happened, with the server's words."""
        return f"{self.reason}: {self.words}" if self.words else self.reason

    @property
    def is_server_error(self) -> bool:
        """Whether a server may answer so to a parameter that it does not know."""
        return self.status is not None and self.status >= 500 and self.status != 503


class OpenAIClient:
    """A server that speaks OpenAI's protocol, by the official client.

    Why the client's own retries are off: each request has to be in the store before it is sent. Why aiohttp
    under it: the default transport checks every open connection before each request.
    """

    def __init__(self, server: ServedModel) -> None:
        """Raises DataError where the key is missing, MissingExtraError where the client is not installed."""
        with needing(server.extra):
            from openai import AsyncOpenAI, DefaultAioHttpClient
        try:
            address = urlsplit(server.base_url)
            is_address = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
        except ValueError:
            is_address = False
        if not is_address:
            expected = "an address such as http://127.0.0.1:8000/v1"
            raise DataError(Problem("--base-url", "no address", expected, server.where, code="serve.bad_url"))
        self.server = server
        self._key = _key_of(server)
        headers = {}
        if address.username is not None:
            user = f"{unquote(address.username)}:{unquote(address.password or '')}"
            headers["Authorization"] = f"Basic {base64.b64encode(user.encode()).decode()}"
        self._client = AsyncOpenAI(
            api_key=self._key or "none",
            base_url=server.where,
            default_headers=headers,
            max_retries=0,
            timeout=server.timeout_s,
            http_client=DefaultAioHttpClient(),
        )

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._client.close()

    async def send(self, body: dict[str, Any], request_id: str) -> str:
        """The body of the server's answer; raises a Failure where there is none."""
        import httpx2
        import openai

        try:
            response = await self._client.post(
                PATHS[self.server.api],
                body=body,
                cast_to=httpx2.Response,
                options={"headers": {REQUEST_ID: request_id}},
            )
            text = str(response.text)
        except openai.APIStatusError as error:
            raise self._refusal(error, body) from None
        except openai.APIConnectionError as error:
            raise self._unanswered(error) from None
        except (ValueError, LookupError, httpx2.HTTPError) as error:
            raise Failure("lost", f"the answer cannot be read: {type(error).__name__}") from None
        if (message := error_in(text)) is not None:
            words = self._words(message, body)
            raise Failure("declined", "HTTP 200 with an error", status=500, words=words)
        return text

    def _refusal(self, error: APIStatusError, body: dict[str, Any]) -> Failure:
        """What an HTTP error means for this request, or for all."""
        server, status = self.server, error.status_code
        codes = {word for word in (error.code, error.type) if isinstance(word, str) and _WORD.fullmatch(word)}
        reason = " ".join([f"HTTP {status}", *sorted(codes)])
        message = _message(error)
        words = self._words(message, body)
        got = reason + (f": {words}" if words else "")
        said = f"{reason} {message}"

        def hopeless(what: str, fix: str, code: str) -> Failure:
            problem = Problem(server.where, what, got=got, fix=fix, code=code)
            return Failure("hopeless", reason, status=status, problem=problem)

        if status == 402 or (status == 429 and "insufficient_quota" in codes):
            fix = "raise the quota or wait for the next period, then run the same command again"
            return hopeless("the quota is used up", fix, "serve.quota")
        if status in (400, 403, 413, 422) and (_FILTERED.search(said) or _TOO_LONG.search(said)):
            name = "content filter" if _FILTERED.search(said) else "prompt too long"
            return Failure("refused", f"{name}: {got}", status=status, is_of_prompt=True)
        if status in (401, 403):
            variable = server.key_variable
            what = f"does not accept the key in {variable}" if variable else "asks for a key"
            fix = f"export {variable or 'OPENAI_API_KEY'}=... with a key that may use {server.model}"
            return hopeless(what, fix, "serve.unauthorized")
        if status == 404 or 300 <= status < 400:
            what = f"has no model {server.model}, or no {PATHS[server.api]}"
            return hopeless(what, "check the model, the API and the address", "serve.not_found")
        if status in PASSING_STATUS or status >= 500:
            wait_s = retry_after_s(error.response.headers)
            return Failure("declined", reason, status=status, wait_s=wait_s, words=words)
        return Failure("refused", got, status=status)

    def _words(self, message: str, body: dict[str, Any]) -> str:
        """What the server says about a request that it refuses, unless that holds a part of it or the key."""
        message = " ".join(message.split())
        if len(message) > MAX_MESSAGE or "base64" in message or (self._key and self._key in message):
            return ""
        sent = " ".join(_texts(body))
        parts = (message[start : start + QUOTE] for start in range(len(message) - QUOTE + 1))
        return "" if any(part in sent for part in parts) else message

    def _unanswered(self, error: APIConnectionError) -> Failure:
        """A request that did not reach the server was declined; any other may have been answered.

        Why aiohttp's own exception is looked for: the client calls every broken connection a timeout.
        """
        import aiohttp
        import httpx2

        causes: list[BaseException] = [error]
        while (cause := causes[-1].__cause__ or causes[-1].__context__) and len(causes) < 8:
            causes.append(cause)

        def has(*kinds: type[BaseException]) -> bool:
            return any(isinstance(one, kinds) for one in causes)

        if has(aiohttp.ClientConnectorError):
            return Failure("declined", "the server cannot be reached")
        if has(aiohttp.TooManyRedirects, httpx2.TooManyRedirects):
            what = "redirects in a circle"
            problem = Problem(self.server.where, what, fix="check the address", code="serve.redirects")
            return Failure("hopeless", what, problem=problem)
        if has(TimeoutError):
            return Failure("lost", f"no answer within {self.server.timeout_s:g} s")
        return Failure("lost", "the connection broke")


def _key_of(server: ServedModel) -> str:
    variable = server.key_variable
    key = os.environ.get(variable, "").strip() if variable else ""
    if variable and server.needs_key and not key:
        what = "is not set, but the API asks for a key"
        fix = f"export {variable}=..., or --set describer.key_variable=null"
        raise DataError(Problem(variable, what, fix=fix, code="serve.no_key"))
    return key


def _message(error: APIStatusError) -> str:
    body = error.body
    message = body.get("message") or body.get("detail") if isinstance(body, dict) else body
    if not isinstance(message, str) or message.lstrip().startswith("<"):  # the page of a proxy
        return ""
    return clean(message)


def _texts(value: Any) -> Iterator[str]:
    """The texts of a request that a server could quote; not its pictures."""
    if isinstance(value, str):
        if len(value) >= QUOTE and not value.startswith("data:"):
            yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)
