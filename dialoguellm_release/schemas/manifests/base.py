"""What every `manifest.json` says: what a folder holds, from what and by what it was made."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from dialoguellm_release.schemas.base import Count, Schema, Sha256, Text

Kind = Literal["dataset", "backbone", "adapter", "score", "merged", "export"]


class FileStamp(Schema):
    """A file by its path relative to the folder that the manifest speaks of, its size and hash."""

    path: Annotated[str, Field(pattern=r"^[^/].*$")]
    bytes: Count
    sha256: Sha256


class RecipeStamp(Schema):
    """The recipe as it was resolved; `sha256` is over its canonical JSON."""

    name: Text
    sha256: Sha256
    resolved: dict[str, JsonValue]


class Manifest(Schema):
    """What every manifest says.

    Attributes:
        version: Of the manifest's format.
        created_by: Versions of the packages that shaped the output.
        inputs: The files that went in, each relative to its own source folder.
        outputs: Every file of the folder but the manifest itself.
        content_sha256: Hash of the content in canonical form, whatever wrote the files.
    """

    kind: Kind
    version: Literal[1] = 1
    created_by: dict[str, str]
    recipe: RecipeStamp
    inputs: tuple[FileStamp, ...]
    outputs: tuple[FileStamp, ...]
    content_sha256: Sha256
