"""Damaged JSON files of EmoryNLP."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.corpora_readers.conftest import Corpora

EMORY_JSON = "emorynlp/emotion-detection-dev.json"


def test_a_file_cut_off(corpora: Corpora) -> None:
    corpora.edit(EMORY_JSON, lambda content: content[:5000])
    line = (corpora.root / EMORY_JSON).read_bytes().count(b"\n") + 1

    problem = corpora.problem("emorynlp", json=True)

    assert problem.startswith(f"{EMORY_JSON}:{line}:")
    assert "not JSON" in problem


def test_a_missing_key(corpora: Corpora) -> None:
    corpora.edit(EMORY_JSON, lambda content: content.replace(b'"transcript"', b'"text"', 1))

    problem = corpora.problem("emorynlp", json=True)

    place = "episodes.0.scenes.0.utterances.0.transcript"
    assert problem.startswith(f"{EMORY_JSON}: not the JSON release: {place}: Field required")


def test_an_utterance_a_second_time(corpora: Corpora) -> None:
    corpora.edit(EMORY_JSON, lambda content: content.replace(b"_u002", b"_u001", 1))
    lines = (corpora.root / EMORY_JSON).read_text().split("\n")
    first, second = (number for number, line in enumerate(lines, 1) if "s01_e01_c01_u001" in line)

    problem = corpora.problem("emorynlp", json=True)

    assert problem.startswith(f"{EMORY_JSON}:{second}: dialogue s01_e01_c01, utterance 1 a second time")
    assert f"first on line {first}" in problem


def test_an_unknown_label(corpora: Corpora) -> None:
    corpora.edit(EMORY_JSON, lambda content: content.replace(b'"Neutral"', b'"Netural"', 1))

    assert "unknown label" in corpora.problem("emorynlp", json=True)
