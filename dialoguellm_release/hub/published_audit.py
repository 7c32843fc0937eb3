"""The audit of a dataset as it is published: no withheld record is in it, and no label that is left out."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from pydantic import ValidationError

from dialoguellm_release.errors import Problem, PublishError
from dialoguellm_release.leakage.audit import audit_as_json, publishable_audit
from dialoguellm_release.schemas.audit import Audit
from dialoguellm_release.schemas.dataset_manifest import PublishedSubset
from dialoguellm_release.schemas.labels import CORPORA, SPLITS, CorpusName

_RECORD_ID = re.compile(rf"({'|'.join(CORPORA)})/({'|'.join(SPLITS)})/[^/\s]+/\d+")


def published_audit(path: Path, published: PublishedSubset) -> str:
    """The text of `audit.json` in a published copy.

    Why: the id of a withheld record beside that of a published one would tell the text of the first.

    Args:
        path: The audit of the build.

    Raises:
        PublishError: It is no audit, or something else stands in the place of an id.
    """
    try:
        audit = Audit.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise PublishError(_damaged(path, str(error))) from error
    ids = [one for group in audit.duplicates for one in group.ids]
    ids += [one.id for group in audit.conflicts for one in group.records]
    if strays := [one for one in ids if not _RECORD_ID.fullmatch(one)]:
        raise PublishError(_damaged(path, strays[0]))
    return audit_as_json(publishable_audit(_without(audit, published.left_out), published.standoff))


def _without(audit: Audit, left_out: Collection[CorpusName]) -> Audit:
    """The audit without the records of some corpora; one record alone repeats and contradicts nothing.

    Why: a label beside the text that it was given to is a label, whoever else is named there.
    """

    def is_told(record_id: str) -> bool:
        return record_id.partition("/")[0] not in left_out

    duplicates = [
        group.model_copy(update={"ids": tuple(filter(is_told, group.ids))}) for group in audit.duplicates
    ]
    conflicts = [
        group.model_copy(update={"records": tuple(one for one in group.records if is_told(one.id))})
        for group in audit.conflicts
    ]
    return audit.model_copy(
        update={
            "duplicates": tuple(group for group in duplicates if len(group.ids) > 1),
            "conflicts": tuple(group for group in conflicts if len(group.records) > 1),
        }
    )


def _damaged(path: Path, got: str) -> Problem:
    what = "is not the audit of a dataset, so nobody knows whose text is in it"
    return Problem(str(path), what, got=got, fix="build the dataset again")
