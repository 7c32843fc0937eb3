"""What is asked of a model: frames under a prompt, by a key that equal questions share."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from dialoguellm_release.folders import canonical_json, sha256_of_text
from dialoguellm_release.schemas.recipes.video import (
    DescribingPrompt,
    ServedDescriber,
    SyntheticDescriber,
    VideoRecipe,
)
from dialoguellm_release.schemas.video import ClipDescription
from dialoguellm_release.video.frames import Frame

SYNTHETIC_MODEL = "synthetic"


@dataclass(frozen=True)
class Question:
    """Frames to be described.

    Attributes:
        key: Equal for equal frames under an equal prompt, of an equal model.
    """

    key: str
    frames: tuple[Frame, ...]


def model_of(recipe: VideoRecipe) -> str:
    """The model that a recipe asks for."""
    describer = recipe.describer
    return SYNTHETIC_MODEL if isinstance(describer, SyntheticDescriber) else describer.model


def prompt_sha256(prompt: DescribingPrompt) -> str:
    """The hash of all text that a model is given: the prompt, and the schema of the answer."""
    return sha256_of_text(
        canonical_json(
            {"instructions": prompt.instructions, "question": prompt.question, "schema": answer_schema()}
        )
    )


def asking_sha256(recipe: VideoRecipe) -> str:
    """The hash of everything in a recipe that shapes an answer; not of prices, limits and addresses."""
    describer = recipe.describer
    shaping = {"model", "detail", "reasoning_effort", "max_output_tokens"}
    asked = describer.model_dump(include=shaping) if isinstance(describer, ServedDescriber) else {}
    return sha256_of_text(
        canonical_json(
            {
                "frames": recipe.frames.model_dump(exclude={"longest_s"}),
                "prompt": prompt_sha256(recipe.prompt),
                "describer": {"type": describer.type, **asked},
            }
        )
    )


def question_key(asking: str, frames: Sequence[Frame]) -> str:
    """The key of a question: the hash of the way of asking and of the frames in their order."""
    return sha256_of_text("\n".join([asking, *(frame.sha256 for frame in frames)]))


def endpoint(describer: ServedDescriber) -> str:
    """Where a question goes, below the base URL."""
    return "/responses" if describer.type == "responses" else "/chat/completions"


def request_body(
    describer: ServedDescriber, prompt: DescribingPrompt, frames: Sequence[Frame]
) -> dict[str, Any]:
    """The JSON of a request, for the API and for a line of a batch alike."""
    images = [f"data:image/jpeg;base64,{base64.b64encode(frame.content).decode()}" for frame in frames]
    schema = {"name": "clip_description", "strict": True, "schema": answer_schema()}
    effort = describer.reasoning_effort
    if describer.type == "responses":
        parts = [{"type": "input_image", "image_url": url, "detail": describer.detail} for url in images]
        return {
            "model": describer.model,
            "instructions": prompt.instructions,
            "input": [{"role": "user", "content": [{"type": "input_text", "text": prompt.question}, *parts]}],
            "text": {"format": {"type": "json_schema", **schema}},
            "max_output_tokens": describer.max_output_tokens,
            "store": False,
            **({"reasoning": {"effort": effort}} if effort else {}),
        }
    shown = [{"type": "image_url", "image_url": {"url": url, "detail": describer.detail}} for url in images]
    return {
        "model": describer.model,
        "messages": [
            {"role": "system", "content": prompt.instructions},
            {"role": "user", "content": [{"type": "text", "text": prompt.question}, *shown]},
        ],
        "response_format": {"type": "json_schema", "json_schema": schema},
        "max_completion_tokens": describer.max_output_tokens,
        **({"reasoning_effort": effort} if effort else {}),
    }


@cache
def answer_schema() -> dict[str, Any]:
    """The JSON Schema of an answer; every key is required and no other allowed, as strict mode wants."""
    return ClipDescription.model_json_schema()
