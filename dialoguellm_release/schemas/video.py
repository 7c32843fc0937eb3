"""The video recipe, what a model answers about a clip, and what the ledgers of a video folder hold."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dialoguellm_release.schemas.base import Count, Positive, Recipe, Schema, Sha256, Text
from dialoguellm_release.schemas.labels import CorpusName

Dollars = Annotated[float, Field(ge=0, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class FramesRecipe(Schema):
    """Which frames of a clip are shown, and in which form.

    Attributes:
        count: How many; fewer where a clip has fewer pictures.
        rule: `evenly_spaced` takes what is shown in the middle of `count` equal parts of the clip.
        max_side: Longest side in pixels; a smaller picture is left as it is.
        quality: Of the JPEG that each becomes, from 1 to 95.
        longest_s: A longer clip is not described, as it is hardly the right one.
    """

    count: Annotated[int, Field(gt=0, le=64)]
    rule: Literal["evenly_spaced"] = "evenly_spaced"
    max_side: Annotated[int, Field(ge=16, le=4096)]
    quality: Annotated[int, Field(ge=1, le=95)] = 85
    longest_s: PositiveSeconds


class DescribingPrompt(Schema):
    """What the model is asked; a change of one character makes another prompt, with another hash.

    Attributes:
        name: Of the version, as in `describe-v1`.
        question: The text before the frames.
    """

    name: Text
    instructions: Text
    question: Text


class Prices(Schema):
    """What tokens cost, and how many to expect before any were counted.

    Attributes:
        image_tokens: Expected of one frame.
        text_tokens: Expected of the prompt and its schema.
        output_tokens: Expected of an answer.
        date: When they were read there, as `2026-11-23`.
        verified: Whether the source itself was read.
    """

    input_usd_per_million: Dollars
    output_usd_per_million: Dollars
    image_tokens: Positive
    text_tokens: Positive
    output_tokens: Positive
    source: Text
    date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    verified: bool


class ServedDescriber(Schema):
    """A model behind an OpenAI-compatible API.

    Attributes:
        type: `responses` for the Responses API, `chat` for chat completions (vLLM and others).
        key_variable: The environment variable with the key; None where the server asks for none.
        reasoning_effort: How long a model that reasons may do so; None leaves it to the server.
        max_output_tokens: Where an answer is cut off, reasoning included.
        concurrency: How many requests are open at most; fewer when the server is busy.
        attempts: How often a request is sent before it is left for the next run.
        longest_wait_s: A server that asks for a longer wait ends the run.
    """

    type: Literal["responses", "chat"]
    model: Text
    base_url: Annotated[str, Field(pattern=r"^https?://[^\s@]+$")] = "https://api.openai.com/v1"
    key_variable: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")] | None = "OPENAI_API_KEY"
    detail: Literal["low", "high", "auto"] = "low"
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high"] | None = None
    max_output_tokens: Positive = 500
    concurrency: Annotated[int, Field(gt=0, le=1000)] = 32
    timeout_s: PositiveSeconds = 120.0
    attempts: Positive = 6
    longest_wait_s: PositiveSeconds = 120.0


class SyntheticDescriber(Schema):
    """No model: sentences about the size of the frames, each of which says that it is synthetic."""

    type: Literal["synthetic"]


class VideoRecipe(Recipe):
    """How clips are described.

    Attributes:
        wrong_clips: Records whose public clip shows something else, with the source; left out.
        prices: None where there are none to count with.
    """

    kind: Literal["video"]
    corpora: Annotated[tuple[CorpusName, ...], Field(min_length=1)]
    wrong_clips: dict[str, Text] = {}
    frames: FramesRecipe
    prompt: DescribingPrompt
    describer: Annotated[ServedDescriber | SyntheticDescriber, Field(discriminator="type")]
    prices: Prices | None = None

    @model_validator(mode="after")
    def _wrong_clips_are_record_ids(self) -> Self:
        if wrong := [name for name in self.wrong_clips if name.count("/") != 3]:
            raise ValueError(f"wrong_clips: not corpus/split/dialogue/utterance: {', '.join(wrong)}")
        return self


class SeenPerson(BaseModel):
    """Somebody who is visible.

    The `description` values below are part of the prompt: a model gets them as a schema.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra={"description": "Somebody who is visible."})

    appearance: Annotated[
        str, Field(description="Who is seen, without a name: clothes, place in the picture.")
    ]
    expression: Annotated[str, Field(description="Face, gesture and posture.")]


class ClipDescription(BaseModel):
    """The answer that is asked for; every field is required, so that no model leaves one out."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"description": "What is seen in a clip."})

    description: Annotated[str, Field(description="What is seen, in at most two sentences.")]
    people: list[SeenPerson]
    refusal: Annotated[str | None, Field(description="Why nothing can be said of the frames; else null.")]


Cost = Annotated[float, Field(ge=0)]


class RecordCounts(Schema):
    """Records by their state."""

    described: Count = 0
    refused: Count = 0  # the model would not describe them
    failed: dict[str, Count] = {}  # by the name of the fault: of the clip, or of the answer
    missing: Count = 0  # no clip was found
    left_out: Count = 0  # the recipe leaves them out
    waiting: Count = 0  # not answered yet


class RequestCounts(Schema):
    """Requests by their outcome."""

    answered: Count = 0  # with a count of tokens or without
    declined: dict[str, Count] = {}  # by HTTP status, or the reason where there was none; they cost nothing
    unknown: Count = 0  # sent, and the answer was lost: by a broken connection, a timeout or a killed run
    open: Count = 0  # of a run that is under way


class Spending(Schema):
    """Tokens and money; money is estimated from the recipe's prices, and None where it has none."""

    input_tokens: Count = 0
    output_tokens: Count = 0
    spent_usd: Cost | None = None
    # What the requests of unknown outcome cost at most, and answers without a count of tokens.
    unknown_usd: Cost | None = None
    # What the waiting records will cost, by the mean of those answered so far.
    to_come_usd: Cost | None = None


class VideoStatus(Schema):
    """What the ledgers of a video folder hold."""

    ledgers: tuple[Text, ...]
    recipe: Text
    model: Text
    prompt: Text
    prompt_sha256: Sha256
    records: RecordCounts
    by_corpus: dict[CorpusName, RecordCounts]
    requests: RequestCounts
    # The versions that answered, as the server names them, with the records they described.
    models: dict[str, Count]
    pictures_skipped: Count  # pictures that could not be decoded on the way to frames
    spending: Spending
