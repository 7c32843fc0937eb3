"""How the video files of a corpus are named: the `clips` block of a corpus file."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from dialoguellm_release.schemas.base import Schema, Text
from dialoguellm_release.schemas.labels import Split


def _a_pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from None
    return text


Pattern = Annotated[Text, AfterValidator(_a_pattern)]


class EpisodeTable(Schema):
    """A CSV table beside the videos that says in which video an utterance is.

    Attributes:
        file: Its name, in the folder of the corpus's videos.
        dialogue: Column with the dialogue's id.
        utterance: Column with the utterance's number.
        parts: For each named part of a file's name, the column that has it.
    """

    file: Text
    dialogue: Text
    utterance: Text
    parts: Annotated[dict[Text, Text], Field(min_length=1)]


class ClipNaming(Schema):
    """How a record and a video file are matched: by named parts that both have.

    A file's parts are the named groups of the first pattern that is found in its name without suffix. A
    record's parts are `dialogue`, `utterance` and `split`, as far as the patterns name them; or the named
    groups of `dialogue`; or those of `table`.

    Attributes:
        shows: What one file shows: one `utterance`, or something `longer` that is cut by times.
        files: Patterns of file names.
        splits: Names of folders, with the split whose files are below them.
        top_folder: The part that is the name of the first folder.
        corrected_prefix: A file whose name begins so replaces the one without.
        dialogue: Pattern of dialogue ids, whose named groups are the parts.
        table: Says in which video an utterance is, where neither name nor id does.
    """

    shows: Literal["utterance", "longer"]
    files: Annotated[tuple[Pattern, ...], Field(min_length=1)]
    splits: dict[Text, Split] = {}
    top_folder: Text | None = None
    corrected_prefix: Text | None = None
    dialogue: Pattern | None = None
    table: EpisodeTable | None = None

    @model_validator(mode="after")
    def _one_way_to_records(self) -> Self:
        if self.dialogue and self.table:
            raise ValueError("state dialogue or table, not both")
        return self
