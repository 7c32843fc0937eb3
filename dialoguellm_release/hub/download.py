"""A published dataset by its folder or by its repository on the Hub."""

from __future__ import annotations

import re
from pathlib import Path

from dialoguellm_release.errors import DataError, Problem

NEEDED = ("manifest.json", "data/*", "standoff/*")
"""The files that a dataset is hydrated from."""

_REPOSITORY = re.compile(r"(?P<repo_id>[\w.-]+/[\w.-]+)(@(?P<revision>\S+))?")


def published_folder(place: str) -> Path:
    """The folder of a published dataset: the one that is named, or one that the Hub's files were put into.

    Args:
        place: A folder, or `owner/name` with an optional `@revision`; a folder that is there wins.

    Raises:
        DataError: It is neither, or the Hub does not give it.
    """
    match = _REPOSITORY.fullmatch(place)
    if Path(place).is_dir() or match is None:
        return Path(place)

    import httpx2
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        found = snapshot_download(
            match["repo_id"], repo_type="dataset", revision=match["revision"], allow_patterns=list(NEEDED)
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, httpx2.TransportError) as error:
        said = next(iter(str(error).strip().splitlines()), type(error).__name__)
        problem = Problem(
            place,
            f"is no folder here, and the Hub does not give it: {said}",
            fix="name the folder of a published copy, or a dataset repository as owner/name@revision",
        )
        raise DataError(problem) from error
    return Path(found)
