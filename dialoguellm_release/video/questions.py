"""What is asked of a model about the frames of a clip, what it costs, and how its answer is read."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from pydantic import ValidationError

from dialoguellm_release.folders import canonical_json, sha256_of_text
from dialoguellm_release.retry import RetryPolicy
from dialoguellm_release.schemas.video import (
    ClipDescription,
    DescribingPrompt,
    Prices,
    ServedDescriber,
    SyntheticDescriber,
    VideoRecipe,
)
from dialoguellm_release.serve.client import POLICY, ServedModel
from dialoguellm_release.serve.protocol import read_completion
from dialoguellm_release.serve.store import State, StoredAnswer
from dialoguellm_release.video.frames import Frame

SYNTHETIC_MODEL = "synthetic"


def model_of(recipe: VideoRecipe) -> str:
    """The name of the model that a recipe asks."""
    describer = recipe.describer
    return SYNTHETIC_MODEL if isinstance(describer, SyntheticDescriber) else describer.model


def prompt_sha256(prompt: DescribingPrompt) -> str:
    """The hash of all text that a model gets: the prompt, and the schema of the answer."""
    shown: dict[str, object] = {
        "instructions": prompt.instructions,
        "question": prompt.question,
        "schema": answer_schema(),
    }
    return sha256_of_text(canonical_json(shown))


def asking_sha256(recipe: VideoRecipe) -> str:
    """The hash of everything in a recipe that shapes an answer; not of prices, limits and addresses.

    Why not of the address: each machine of a cluster asks a server of its own.
    """
    describer = recipe.describer
    shaping = {"model", "detail", "reasoning_effort", "max_output_tokens"}
    asked = describer.model_dump(include=shaping) if isinstance(describer, ServedDescriber) else {}
    shaped: dict[str, object] = {
        "frames": recipe.frames.model_dump(exclude={"longest_s"}),
        "prompt": prompt_sha256(recipe.prompt),
        "describer": {"type": describer.type, **asked},
    }
    return sha256_of_text(canonical_json(shaped))


def question_key(asking: str, frames: Sequence[Frame]) -> str:
    """The key of a question: the hash of the way of asking and of the frames in order."""
    return sha256_of_text("\n".join([asking, *(frame.sha256 for frame in frames)]))


def served_model(describer: ServedDescriber) -> ServedModel:
    """The server that a recipe names, as the client takes it."""
    return ServedModel(
        base_url=describer.base_url,
        model=describer.model,
        api=describer.type,
        key_variable=describer.key_variable,
        concurrency=describer.concurrency,
        timeout_s=describer.timeout_s,
        policy=replace(POLICY, attempts=describer.attempts, longest_asked_s=describer.longest_wait_s),
        needs_key=True,
        extra="video",
    )


SYNTHETIC = ServedModel("http://localhost", SYNTHETIC_MODEL, concurrency=8, policy=RetryPolicy(attempts=1))
"""No server: the synthetic describer answers as one does."""


async def answer_synthetic(body: dict[str, Any], _request_id: str) -> str:
    """How large the frames are; the description names itself synthetic, as no model saw them."""
    text = (
        f"Synthetic description, written without looking: {body['count']} frames of {body['width']} by "
        f"{body['height']} pixels, the first with the hash {body['sha256'][:12]}."
    )
    description = ClipDescription(description=text, people=[], refusal=None)
    message = {"role": "assistant", "content": description.model_dump_json()}
    usage = {"prompt_tokens": 0, "completion_tokens": 0}
    return json.dumps({"model": SYNTHETIC_MODEL, "choices": [{"message": message}], "usage": usage})


def request_body(
    describer: ServedDescriber | SyntheticDescriber, prompt: DescribingPrompt, frames: Sequence[Frame]
) -> dict[str, Any]:
    """The JSON of a request."""
    if isinstance(describer, SyntheticDescriber):
        first = frames[0]
        return {"count": len(frames), "width": first.width, "height": first.height, "sha256": first.sha256}
    images = [f"data:image/jpeg;base64,{base64.b64encode(frame.content).decode()}" for frame in frames]
    schema = {"name": "clip_description", "strict": True, "schema": answer_schema()}
    model, effort, detail = describer.model, describer.reasoning_effort, describer.detail
    if describer.type == "responses":
        parts = [{"type": "input_image", "image_url": url, "detail": detail} for url in images]
        content = [{"type": "input_text", "text": prompt.question}, *parts]
        return {
            "model": model,
            "instructions": prompt.instructions,
            "input": [{"role": "user", "content": content}],
            "text": {"format": {"type": "json_schema", **schema}},
            "max_output_tokens": describer.max_output_tokens,
            "store": False,
            **({"reasoning": {"effort": effort}} if effort else {}),
        }
    shown = [{"type": "image_url", "image_url": {"url": url, "detail": detail}} for url in images]
    system = {"role": "system", "content": prompt.instructions}
    return {
        "model": model,
        "messages": [
            system,
            {"role": "user", "content": [{"type": "text", "text": prompt.question}, *shown]},
        ],
        "response_format": {"type": "json_schema", "json_schema": schema},
        "max_completion_tokens": describer.max_output_tokens,
        **({"reasoning_effort": effort} if effort else {}),
    }


@cache
def answer_schema() -> dict[str, Any]:
    """The JSON Schema of an answer; every key is required and no other allowed, for strict mode."""
    return ClipDescription.model_json_schema()


def read_answer(body: str) -> StoredAnswer:
    """The answer in the body of a response; one that cannot be used is an answer too, and may cost."""
    found = read_completion(body)
    if found is None:
        return StoredAnswer("failed", reason="no_json")

    def answer(state: State, reason: str | None, text: str | None = None, data: Any = None) -> StoredAnswer:
        return StoredAnswer(state, text, data, reason, found.model, found.input_tokens, found.output_tokens)

    if found.refusal is not None:
        return answer("refused", found.refusal)
    if found.cut_off == "content_filter":
        return answer("refused", "cut off by the server's content filter")
    if found.cut_off is not None:
        return answer("failed", "cut_off")
    try:
        description = ClipDescription.model_validate_json(found.text)
    except ValidationError:
        return answer("failed", "malformed")
    if description.refusal:
        return answer("refused", description.refusal)
    text = " ".join(description.description.split())
    if not text:
        return answer("failed", "empty")
    return answer("answered", None, text, [person.model_dump() for person in description.people])


def estimate_usd(recipe: VideoRecipe, frames: int | None = None) -> float | None:
    """The expected cost of a request with so many frames, or as many as usual; None without prices."""
    prices = recipe.prices
    if prices is None:
        return None
    shown = recipe.frames.count if frames is None else frames
    return _usd(prices, prices.text_tokens + shown * prices.image_tokens, prices.output_tokens)


def cost_usd(recipe: VideoRecipe, answer: StoredAnswer) -> float | None:
    """What an answer cost; None without prices, or where the server counted no tokens."""
    if recipe.prices is None or answer.input_tokens is None or answer.output_tokens is None:
        return None
    return _usd(recipe.prices, answer.input_tokens, answer.output_tokens)


def _usd(prices: Prices, input_tokens: int, output_tokens: int) -> float:
    full = input_tokens * prices.input_usd_per_million + output_tokens * prices.output_usd_per_million
    return full / 1_000_000
