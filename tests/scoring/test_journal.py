"""What a model has said is kept, whatever ends the run, and is asked for once."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.encoding import EncodedPrompt
from dialoguellm_release.errors import DataError
from dialoguellm_release.folders import alone
from dialoguellm_release.schemas.labels import Split
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.scoring.answers import Batch, Reply
from dialoguellm_release.scoring.journal import kept_replies

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


def journal_in(folder: Path) -> Path:
    (path,) = folder.glob("*.jsonl")
    return path


def test_a_run_that_was_stopped_goes_on_where_it_was(prompts: list[EncodedPrompt], tmp_path: Path) -> None:
    whole = kept_replies(Counting(), prompts, ASKED, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        kept_replies(Counting(most=6), prompts, ASKED, tmp_path / "cut")
    rest = Counting()
    assert kept_replies(rest, prompts, ASKED, tmp_path / "cut") == whole
    assert rest.asked == [prompt.text for prompt in prompts[6:]]
    assert journal_in(tmp_path / "cut").read_bytes() == journal_in(tmp_path / "whole").read_bytes()
    assert [path.name for path in (tmp_path / "cut").iterdir()] == [journal_in(tmp_path / "cut").name]


@pytest.mark.parametrize("cut", [1, 2, 30, 200])
def test_a_line_that_was_cut_off_is_asked_for_again(
    cut: int, prompts: list[EncodedPrompt], tmp_path: Path
) -> None:
    whole = kept_replies(Counting(), prompts, ASKED, tmp_path)
    path = journal_in(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[:-cut])
    again = Counting()
    assert kept_replies(again, prompts, ASKED, tmp_path) == whole
    assert again.asked == [prompt.text for prompt in prompts[9 if cut < 80 else 6 :]]
    assert [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert kept_replies(Counting(most=0), prompts, ASKED, tmp_path) == whole


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
    assert len(list(tmp_path.glob("*.jsonl"))) == 2


def test_two_runs_do_not_write_one_journal(prompts: list[EncodedPrompt], tmp_path: Path) -> None:
    kept_replies(Counting(), prompts[:3], ASKED, tmp_path)
    path = journal_in(tmp_path)
    with (
        alone(tmp_path / f".{path.stem}.lock", path),
        pytest.raises(DataError, match="another run is writing here"),
    ):
        kept_replies(Counting(), prompts, ASKED, tmp_path)


def test_a_full_disk_loses_nothing_that_was_kept(
    prompts: list[EncodedPrompt], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = kept_replies(Counting(), prompts, ASKED, tmp_path / "whole")
    kept_replies(Counting(), prompts[:6], ASKED, tmp_path / "full")

    def refuses(*_arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("dialoguellm_release.scoring.journal._write", refuses)
        with pytest.raises(OSError, match="No space left"):
            kept_replies(Counting(), prompts, ASKED, tmp_path / "full")
    rest = Counting()
    assert kept_replies(rest, prompts, ASKED, tmp_path / "full") == whole
    assert rest.asked == [prompt.text for prompt in prompts[6:]]
