"""What comes back for a question, read from the JSON of either API; a malformed one is an answer too."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from dialoguellm_release.schemas.video import ClipDescription


@dataclass(frozen=True)
class Answer:
    """An answer, whatever it is worth: exactly one of `description`, `refusal` and `fault` is set.

    Attributes:
        model: The version that the server says it was; None where it does not say.
        input_tokens: None where the server counted none.
        refusal: The model's own words.
        fault: Why the answer cannot be used.
    """

    model: str | None
    input_tokens: int | None
    output_tokens: int | None
    description: ClipDescription | None = None
    refusal: str | None = None
    fault: str | None = None


def read_answer(content: str) -> Answer:
    """The answer in the body of a response, of the Responses API or of chat completions."""
    try:
        body = json.loads(content)
    except ValueError:
        return Answer(None, None, None, fault="no_json")
    return answer_of(body)


def answer_of(body: Any) -> Answer:
    """The answer in a parsed body."""
    if not isinstance(body, dict):
        return Answer(None, None, None, fault="no_json")
    usage = body.get("usage")
    tokens = usage if isinstance(usage, dict) else {}
    model = body.get("model")
    version = model if isinstance(model, str) else None
    asked = _count(tokens, "input_tokens", "prompt_tokens")
    given = _count(tokens, "output_tokens", "completion_tokens")
    text, refusal, cut_off = _parts(body)
    if refusal is not None:
        return Answer(version, asked, given, refusal=refusal)
    if cut_off == "content_filter":
        return Answer(version, asked, given, refusal="cut off by the server's content filter")
    if cut_off is not None:
        return Answer(version, asked, given, fault="cut_off")
    try:
        description = ClipDescription.model_validate_json(text)
    except ValidationError:
        return Answer(version, asked, given, fault="malformed")
    if description.refusal:
        return Answer(version, asked, given, refusal=description.refusal)
    if not description.description.strip():
        return Answer(version, asked, given, fault="empty")
    return Answer(version, asked, given, description=description)


def _count(usage: dict[str, Any], *names: str) -> int | None:
    found = next((usage[name] for name in names if name in usage), None)
    return found if isinstance(found, int) else None


def _parts(body: dict[str, Any]) -> tuple[str, str | None, str | None]:
    """Text, refusal, and why the answer was cut off; None where there is none of that."""
    if "choices" in body:
        choice = _first(body["choices"])
        message = choice.get("message")
        said = message if isinstance(message, dict) else {}
        reason = choice.get("finish_reason")
        cut_off = reason if reason in ("length", "content_filter") else None
        return _text(said.get("content")), _text(said.get("refusal")) or None, cut_off
    details = body.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, dict) else None
    cut_off = str(reason or "incomplete") if body.get("status") == "incomplete" else None
    parts = [part for item in _dicts(body.get("output")) for part in _dicts(item.get("content"))]
    refusals = [_text(part.get("refusal")) for part in parts if part.get("type") == "refusal"]
    texts = [_text(part.get("text")) for part in parts if part.get("type") == "output_text"]
    return "".join(texts), "".join(refusals) if refusals else None, cut_off


def _first(value: Any) -> dict[str, Any]:
    return next(iter(_dicts(value)), {})


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
