"""Papers are recipes: what each of them sets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dialoguellm_release.errors import DataError
from dialoguellm_release.records import read_records
from dialoguellm_release.schemas.labels import SPLITS
from dialoguellm_release.steps.compare import check_claims
from dialoguellm_release.steps.dataset import build_dataset, check_dataset

PACKAGE = Path(__file__).parents[2] / "dialoguellm_release"
RECIPES = Path(__file__).parents[2] / "recipes"
PAPERS = {"v1": "2310.11374", "instructerc": "2309.11911"}
SMALL = ["synthetic=true"]


def test_two_papers_are_releases() -> None:
    for release, arxiv in PAPERS.items():
        assert f"arXiv {arxiv}" in (RECIPES / "releases" / f"{release}.yaml").read_text(encoding="utf-8")


def test_no_module_knows_a_paper() -> None:
    """By its number, its name, or the name of a recipe of its claims."""
    names = {path.stem for path in (RECIPES / "claims").glob("*.yaml")}
    assert len(names) == len(PAPERS)
    known = {*PAPERS.values(), *names, *(f"{name.split('-')[0]}-" for name in names), "instructerc"}
    pattern = re.compile("|".join(map(re.escape, sorted(known))), re.IGNORECASE)
    found = [
        f"{path.relative_to(PACKAGE)}: {hit}"
        for path in PACKAGE.rglob("*.py")
        for hit in pattern.findall(path.read_text(encoding="utf-8").replace("dialoguellm-release", ""))
    ]
    assert not found


def test_the_second_papers_own_figures_contradict_it(tmp_path: Path) -> None:
    report = check_claims(tmp_path, "instructerc-2309.11911")
    found = report.verdicts
    for name in ("table-1/Llama2, zero-shot/average/weighted_f1", "table-2/Llama/iemocap"):
        assert found[name].status == "contradicted", name
    assert found["table-1/Llama2, LoRA/average/weighted_f1"].status == "reproduced"
    assert found["directions/tuned-above-untuned/meld"].status == "not yet testable"
    assert all(claim.place.startswith(("Table ", "code/")) for claim in report.claims.values())
    (table,) = report.tables.values()
    assert table.header[3:] == ("IEMOCAP w-F1", "MELD w-F1", "EmoryNLP w-F1", "Average w-F1")


def test_the_second_paper_numbers_its_speakers_and_shows_twelve_turns(
    synthetic_dir: Path, tmp_path: Path
) -> None:
    built = build_dataset("instructerc", synthetic_dir, tmp_path / "built", overrides=SMALL)
    assert check_dataset(built.folder) == []
    records = list(read_records(built.folder, "meld", "train"))
    assert max(len(record.context) for record in records) > 3
    for record in records:
        if record.utterance_index == 0:
            assert record.speaker == "Speaker 1"
        assert all(re.match(r"Speaker \d+: ", line) for line in record.context)
    last = max(records, key=lambda record: len(record.context))
    rows = {one.utterance_index: one for one in records if one.dialogue_id == last.dialogue_id}
    before = [f"{one.speaker}: {one.input}" for index, one in rows.items() if index < last.utterance_index]
    assert list(last.context) == before[-12:]


def test_unified_labels_a_context_for_each_corpus_and_no_speakers(
    synthetic_dir: Path, tmp_path: Path
) -> None:
    overrides = ["corpora.meld.context_k=2", "corpora.iemocap.context_k=0", "speakers=left_out", *SMALL]
    built = build_dataset("instructerc-unified", synthetic_dir, tmp_path / "built", overrides=overrides)
    assert check_dataset(built.folder) == []
    figures = built.manifest.figures
    assert {len(corpus.label_space) for corpus in figures.corpora.values()} == {9}
    assert figures.relabelled.keys() == {"surprise -> powerful", "frustration -> fear"}
    records = [record for split in SPLITS for record in read_records(built.folder, "meld", split)]
    surprised = [record for record in records if record.source_label == "surprise"]
    assert {record.label for record in surprised} == {"powerful"}
    assert len(surprised) == figures.relabelled["surprise -> powerful"]
    assert all("peaceful" in record.instruction for record in records)

    assert [figures.context_of(name) for name in ("meld", "emorynlp", "iemocap")] == [2, 12, 0]
    longest = {}
    for corpus in figures.corpora:
        shown = list(read_records(built.folder, corpus, "train"))
        longest[corpus] = max(len(record.context) for record in shown)
        assert {record.speaker for record in shown} == {None}
    assert (longest["meld"], longest["iemocap"]) == (2, 0)
    assert longest["emorynlp"] > 2


def test_a_label_without_a_place_in_the_label_space_is_named(synthetic_dir: Path, tmp_path: Path) -> None:
    few = ["label_space=[happiness, anger, sadness, neutral]", *SMALL]
    with pytest.raises(DataError) as raised:
        build_dataset("instructerc", synthetic_dir, tmp_path / "built", overrides=few)
    assert [problem.code for problem in raised.value.problems] == ["dataset.relabel_incomplete"]
    assert "surprise" in str(raised.value)
