"""What a server answers, read from the JSON of chat completions, completions or the Responses API.

A body comes from outside and may be anything: every part of it is checked, and only the text is required.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

Api = Literal["chat", "completions", "responses"]

PATHS: dict[Api, str] = {
    "chat": "/chat/completions",
    "completions": "/completions",
    "responses": "/responses",
}
MAX_BODY = 8 * 2**20
"""Characters of the longest body that is read; an answer has a few hundred."""

_ROUNDING = 1e-4
"""A log-probability may exceed 0 by this much through rounding."""

_LEAST = -1e6
"""A log-probability below this one, minus infinity included, is a probability of 0."""

_SPACES = re.compile("[\u2581\u0120\u010a]|<0x(?:20|0A)>")
"""How tokenizers write a space or a line break: SentencePiece, byte-level BPE, byte fallback."""

_SPECIAL = re.compile(
    r"<\|[\w:/ -]{1,40}\|>|</?s>|<(?:eos|bos|pad|end_of_turn|start_of_turn)>|\[/?INST\]", re.IGNORECASE
)
"""Special tokens that a server may leave in a text."""

_THOUGHTS = "(?:think|thinking|thought|thoughts|reasoning|reflection|seed:think)"
_THOUGHT = re.compile(rf"(?:<{_THOUGHTS}>|\[THINK\]).*?(?:</{_THOUGHTS}>|\[/THINK\])", re.DOTALL | re.I)
_THOUGHT_END = re.compile(
    rf"\A.*(?:</{_THOUGHTS}>|\[/THINK\]|<\|channel\|>final<\|message\|>)", re.DOTALL | re.I
)
_THOUGHT_BEGIN = re.compile(
    rf"(?:<{_THOUGHTS}>|\[THINK\]|<\|channel\|>analysis<\|message\|>).*\Z", re.DOTALL | re.I
)


@dataclass(frozen=True)
class Completion:
    """What a server wrote."""

    text: str  # without the thoughts of a reasoning model and without special tokens
    # The likeliest first tokens with their log-probabilities, without those of probability 0; None where
    # the server gives none, or gives values that are no log-probabilities.
    first: tuple[tuple[str, float], ...] | None = None
    # Why the answer is not complete, as the server names it: `length`, `content_filter`.
    cut_off: str | None = None
    refusal: str | None = None
    thought: bool = False  # whether the model reasoned before it answered
    model: str | None = None  # the version that answered; None where the server does not say
    input_tokens: int | None = None
    output_tokens: int | None = None


def read_completion(body: str) -> Completion | None:
    """What a server wrote; None where the body is no answer of the protocol.

    >>> read_completion('{"choices": [{"text": " fear"}]}').text
    ' fear'
    >>> read_completion("<html>") is None
    True
    """
    parsed = _parsed(body)
    parts = _of_choices(parsed) or _of_output(parsed)
    if parts is None:
        return None
    text, thought, refusal, cut_off, log_probs = parts
    usage = _dict(parsed.get("usage"))
    # Whether or not the beginning or the end of what a reasoning model thinks is marked.
    answer = _THOUGHT_BEGIN.sub("", _THOUGHT_END.sub("", _THOUGHT.sub("", text)))
    return Completion(
        text=_SPECIAL.sub("", answer).rstrip(),
        first=_first_tokens(log_probs),
        cut_off=cut_off,
        refusal=refusal,
        thought=thought or answer != text,
        model=_text(parsed.get("model")) or None,
        input_tokens=_count(usage, "input_tokens", "prompt_tokens"),
        output_tokens=_count(usage, "output_tokens", "completion_tokens"),
    )


def error_in(body: str) -> str | None:
    """The message of an error that came with status 200; None where there is none."""
    parsed = _parsed(body)
    error = None if "choices" in parsed or "output" in parsed else parsed.get("error")
    return None if not error else _text(_dict(error).get("message")) or _text(error)


def plain_token(token: str) -> str:
    """A token without white space, of which tokenizers have marks of their own, in lower case."""
    return _SPACES.sub(" ", token).strip().casefold()


def clean(text: str) -> str:
    """A text that can be stored: a half of a surrogate pair becomes the replacement character."""
    return text.encode("utf-8", "replace").decode("utf-8") if not text.isascii() else text


def _parsed(body: str) -> dict[str, Any]:
    if len(body) > MAX_BODY:
        return {}
    try:
        return _dict(json.loads(body))
    except (ValueError, RecursionError):
        return {}


_Parts = tuple[str, bool, str | None, str | None, Any]
"""Text, whether the model reasoned, refusal, why it was cut off, log-probabilities."""


def _of_choices(body: dict[str, Any]) -> _Parts | None:
    """The parts of a chat completion or of a completion."""
    choice = next(iter(_dicts(body.get("choices"))), {})
    reason = choice.get("finish_reason")
    cut_off = reason if reason in ("length", "content_filter") else None
    message = choice.get("message")
    if isinstance(message, dict):
        thought = any(_text(message.get(name)) for name in ("reasoning_content", "reasoning"))
        refusal = _text(message.get("refusal")) or None
        return _joined(message.get("content")), thought, refusal, cut_off, choice.get("logprobs")
    if isinstance(choice.get("text"), str):
        return _text(choice["text"]), False, None, cut_off, choice.get("logprobs")
    return None


def _of_output(body: dict[str, Any]) -> _Parts | None:
    """The parts of an answer of the Responses API."""
    if not isinstance(body.get("output"), list):
        return None
    items = _dicts(body["output"])
    parts = [part for item in items for part in _dicts(item.get("content"))]
    refusal = "".join(_text(part.get("refusal")) for part in parts if part.get("type") == "refusal")
    text = "".join(_text(part.get("text")) for part in parts if part.get("type") == "output_text")
    cut_off = None
    if body.get("status") == "incomplete":
        reason = _text(_dict(body.get("incomplete_details")).get("reason")) or "incomplete"
        cut_off = "length" if reason == "max_output_tokens" else reason
    thought = any(item.get("type") == "reasoning" for item in items)
    return text, thought, refusal or None, cut_off, None


def _joined(content: Any) -> str:
    """The content of a message: a text, or a list whose text parts count."""
    parts = content if isinstance(content, list) else [content]
    return "".join(_text(one) or _text(_dict(one).get("text")) for one in parts)


def _first_tokens(log_probs: Any) -> tuple[tuple[str, float], ...] | None:
    """The likeliest first tokens, from chat completions (`content`) or completions (`top_logprobs`)."""
    given = _dict(log_probs)
    first = next(iter(_dicts(given.get("content"))), {})
    pairs: list[tuple[Any, Any]] = [
        (one.get("token"), one.get("logprob")) for one in _dicts(first.get("top_logprobs"))
    ]
    if not pairs and isinstance(given.get("top_logprobs"), list):
        pairs = list(next(iter(_dicts(given["top_logprobs"])), {}).items())
    if not pairs or not all(isinstance(token, str) and _is_log_prob(value) for token, value in pairs):
        return None
    possible = [(clean(token), min(float(value), 0.0)) for token, value in pairs if value > _LEAST]
    return tuple(possible) or None


def _is_log_prob(value: Any) -> bool:
    """False for true, a text, null, NaN and values above 0."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value <= _ROUNDING


def _count(usage: dict[str, Any], *names: str) -> int | None:
    found = next((usage[name] for name in names if name in usage), None)
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 <= found < 2**53 else None


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    return clean(value) if isinstance(value, str) else ""
