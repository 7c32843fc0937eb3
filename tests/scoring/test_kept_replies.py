"""What a model has said is kept, whatever ends the run, and is asked for once."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.encoding import EncodedPrompt
from dialoguellm_release.errors import DataError
from dialoguellm_release.schemas.labels import Split
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.scoring.answers import Batch, Reply, kept_replies

ASKED = {"model": "a/b", "revision": None}


class Counting:
    """Says how long each prompt is, three at a time, and remembers whom it was asked about."""

    def __init__(self, most: int = 1000) -> None:
        self.asked: list[str] = []
        self.most = most

    def plan(self, prompts: Sequence[EncodedPrompt]) -> list[Batch]:
        places = range(len(prompts))
        return [Batch(tuple(places[start : start + 3])) for start in range(0, len(prompts), 3)]

    def replies(self, prompts: Sequence[EncodedPrompt], batch: Batch) -> list[Reply]:
        if len(self.asked) >= self.most:
            raise KeyboardInterrupt
        self.asked += [prompts[place].text for place in batch.places]
        return [
            Reply((-1.5, -float(len(prompts[place].text))), prompts[place].text[:3]) for place in batch.places
        ]


@pytest.fixture
def prompts(records_of: Callable[[Split, int], list[Record]]) -> list[EncodedPrompt]:
    return [
        EncodedPrompt(record, f"prompt {place}" + "!" * place, [], whole_length=0)
        for place, record in enumerate(records_of("test", 10))
    ]


def answers_in(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "answers.sqlite")) as db:
        (count,) = db.execute("SELECT count(*) FROM answer").fetchone()
        return int(count)


def test_a_run_that_was_stopped_goes_on_where_it_was(prompts: list[EncodedPrompt], tmp_path: Path) -> None:
    whole = kept_replies(Counting(), prompts, ASKED, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        kept_replies(Counting(most=6), prompts, ASKED, tmp_path / "cut")
    rest = Counting()
    assert kept_replies(rest, prompts, ASKED, tmp_path / "cut") == whole
    assert rest.asked == [prompt.text for prompt in prompts[6:]]
    assert [path.name for path in (tmp_path / "cut").iterdir()] == ["answers.sqlite"]


def test_the_same_prompt_is_asked_once(prompts: list[EncodedPrompt], tmp_path: Path) -> None:
    scorer = Counting()
    replies = kept_replies(scorer, [prompts[0], prompts[1], prompts[0]], ASKED, tmp_path)
    assert scorer.asked == [prompts[0].text, prompts[1].text]
    assert replies[0] == replies[2]
    assert replies[0].log_probs == (-1.5, -float(len(prompts[0].text)))


def test_another_revision_is_asked_anew_and_so_is_who_says_so(
    prompts: list[EncodedPrompt], tmp_path: Path
) -> None:
    for asked, again in ((ASKED, False), ({**ASKED, "revision": "0" * 40}, False), (ASKED, True)):
        scorer = Counting()
        kept_replies(scorer, prompts, asked, tmp_path, again=again)
        assert len(scorer.asked) == 10
    known = Counting()
    kept_replies(known, prompts, ASKED, tmp_path)
    assert known.asked == []
    assert answers_in(tmp_path) == 20


def test_two_runs_share_one_store(prompts: list[EncodedPrompt], tmp_path: Path) -> None:
    class Interrupted(Counting):
        """Another run answers everything while this one is under way."""

        def replies(self, prompts: Sequence[EncodedPrompt], batch: Batch) -> list[Reply]:
            if not self.asked:
                kept_replies(Counting(), prompts, ASKED, tmp_path)
            return super().replies(prompts, batch)

    scorer = Interrupted()
    assert kept_replies(scorer, prompts, ASKED, tmp_path) == kept_replies(
        Counting(most=0), prompts, ASKED, tmp_path
    )
    assert answers_in(tmp_path) == 10


def test_a_damaged_store_is_named(prompts: list[EncodedPrompt], tmp_path: Path) -> None:
    (tmp_path / "answers.sqlite").write_bytes(b"no store at all" * 1000)
    with pytest.raises(DataError) as caught:
        kept_replies(Counting(), prompts, ASKED, tmp_path)
    assert caught.value.problems[0].code == "serve.store_unusable"
    assert caught.value.problems[0].where == str(tmp_path / "answers.sqlite")


def test_a_full_disk_loses_nothing_that_was_kept(
    prompts: list[EncodedPrompt], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = kept_replies(Counting(), prompts, ASKED, tmp_path / "whole")
    kept_replies(Counting(), prompts[:6], ASKED, tmp_path / "full")

    with closing(sqlite3.connect(tmp_path / "full" / "answers.sqlite")) as db:
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute("CREATE TABLE filler (content TEXT)")
    connect = sqlite3.connect

    def small(*arguments: Any, **options: Any) -> sqlite3.Connection:
        made: sqlite3.Connection = connect(*arguments, **options)
        made.execute(f"PRAGMA max_page_count = {pages + 2}")
        return made

    class Long(Counting):
        def replies(self, prompts: Sequence[EncodedPrompt], batch: Batch) -> list[Reply]:
            return [Reply(one.log_probs, "long " * 4000) for one in super().replies(prompts, batch)]

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", small)
        with pytest.raises(DataError) as caught:
            kept_replies(Long(), prompts, ASKED, tmp_path / "full")
    assert caught.value.problems[0].code == "serve.store_unusable"
    rest = Counting()
    assert kept_replies(rest, prompts, ASKED, tmp_path / "full") == whole
    assert rest.asked == [prompt.text for prompt in prompts[6:]]
