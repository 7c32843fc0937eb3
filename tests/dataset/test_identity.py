from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialoguellm_release.records import columns_of, content_sha256, record_digests
from dialoguellm_release.schemas.record import COLUMNS, Record

TEXTS = st.text(min_size=1)
SECONDS = st.none() | st.integers(0, 10**8).map(lambda milliseconds: milliseconds / 1000)


def record(
    text: str = "Hm.", context: tuple[str, ...] = (), start_s: float | None = None, index: int = 0
) -> Record:
    return Record(
        id=f"meld/test/1/{index}",
        instruction="Do.",
        video_description=None,
        context=context,
        input=text,
        output="fear",
        label="fear",
        source_label="fear",
        other_labels=("anger",),
        corpus="meld",
        split="test",
        dialogue_id="1",
        utterance_index=index,
        speaker=None,
        start_s=start_s,
        end_s=None,
        license="GPL-3.0-only",
        leaks=None,
    )


@given(TEXTS, st.lists(TEXTS, max_size=2).map(tuple), SECONDS)
def test_the_canonical_form_is_plain_json(text: str, context: tuple[str, ...], start_s: float | None) -> None:
    """So that the hash can be recomputed without this package, and no release of pydantic moves it unseen."""
    one = record(text, context, start_s)
    columns = {name: getattr(one, name) for name in COLUMNS}
    plain = json.dumps(columns, ensure_ascii=False, separators=(",", ":")).encode()
    assert record_digests(columns_of([one])) == [hashlib.sha256(plain).digest()]


def test_the_hash_of_a_set_of_records_does_not_depend_on_its_order() -> None:
    digests = record_digests(columns_of([record(index=index) for index in range(3)]))
    assert content_sha256(digests) == content_sha256(reversed(digests))


@pytest.mark.parametrize(
    "other", [record("Hm!"), record(start_s=1.5), record(index=1), record(context=("x",))]
)
def test_every_change_shows(other: Record) -> None:
    first, second = record_digests(columns_of([other, record()]))
    assert first != second
