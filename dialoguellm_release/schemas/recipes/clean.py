"""The rules of the clean part: which of the training records that repeat or contradict each other stay."""

from __future__ import annotations

from typing import Literal

from dialoguellm_release.schemas.base import Schema


class CleanRules(Schema):
    """What becomes of training records of the same text in the same context that leak into no held-out split.

    Records that leak are never clean, whatever stands here, and held-out records are left alone. The first
    record is that of the first corpus in the order of the vocabulary, then of the first dialogue by its id.

    Attributes:
        conflicts: Of records with different labels, `majority` keeps those with the label that most of them
            have, of equals the one of the first record; `drop` keeps none; `keep` all.
        duplicates: Of records with the same label, `first` keeps the first, `keep` all.
    """

    conflicts: Literal["majority", "drop", "keep"] = "majority"
    duplicates: Literal["first", "keep"] = "first"
