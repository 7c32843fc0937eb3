"""What makes two datasets the same: a hash of their records, whatever files hold them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from pydantic import TypeAdapter

from dialoguellm_release.schemas.record import Record

_RECORD = TypeAdapter(Record)


def record_digest(record: Record) -> bytes:
    """SHA-256 of a record's canonical JSON: UTF-8, the columns in their order, no white space."""
    return hashlib.sha256(_RECORD.dump_json(record)).digest()


def content_sha256(digests: Iterable[bytes]) -> str:
    """One hash over the digests of records, whatever their order."""
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()
