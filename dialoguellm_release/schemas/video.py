"""What a model answers about a clip, and what the ledgers of a video folder hold."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from dialoguellm_release.schemas.base import Count, Schema, Sha256, Text
from dialoguellm_release.schemas.labels import CorpusName


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
    """Records by their state.

    Attributes:
        refused: The model would not describe them.
        failed: By the name of the fault: of the clip, or of the answer.
        missing: No clip was found.
        left_out: The recipe leaves them out.
        waiting: Not answered yet.
    """

    described: Count = 0
    refused: Count = 0
    failed: dict[str, Count] = {}
    missing: Count = 0
    left_out: Count = 0
    waiting: Count = 0


class RequestCounts(Schema):
    """Requests by their fate.

    Attributes:
        answered: With a count of tokens or without.
        declined: By HTTP status, or the reason where there was none; they cost nothing.
        unknown: Sent, and the answer was lost: by a broken connection, a timeout or a killed run.
        open: Of a run that is under way.
    """

    answered: Count = 0
    declined: dict[str, Count] = {}
    unknown: Count = 0
    open: Count = 0


class Spending(Schema):
    """Tokens and money; money is estimated from the recipe's prices, and None where it has none.

    Attributes:
        unknown_usd: What the requests of unknown fate cost at most, and answers without a count of tokens.
        to_come_usd: What the waiting records will cost, by the mean of those answered so far.
    """

    input_tokens: Count = 0
    output_tokens: Count = 0
    spent_usd: Cost | None = None
    unknown_usd: Cost | None = None
    to_come_usd: Cost | None = None


class VideoStatus(Schema):
    """What the ledgers of a video folder hold.

    Attributes:
        models: The versions that answered, as the server names them, with the records they described.
        pictures_skipped: Pictures that could not be decoded on the way to frames.
    """

    ledgers: tuple[Text, ...]
    recipe: Text
    model: Text
    prompt: Text
    prompt_sha256: Sha256
    records: RecordCounts
    by_corpus: dict[CorpusName, RecordCounts]
    requests: RequestCounts
    models: dict[str, Count]
    pictures_skipped: Count
    spending: Spending
