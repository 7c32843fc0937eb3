"""`dlm-release dataset audit`: as data, as text, and on what is no dataset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.folders import stamps
from dialoguellm_release.schemas.audit import Audit
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.step import StepResult
from dialoguellm_release.steps.dataset import build_dataset


@pytest.fixture
def dataset(demo_dataset: StepResult[DatasetManifest]) -> Path:
    return demo_dataset.folder


def test_the_audit_as_data_is_one_object(run: Any, dataset: Path) -> None:
    before = stamps(dataset)
    ended = run("dataset", "audit", dataset, "--json")
    assert ended.code == 0
    assert list(json.loads(ended.out)) == ["overlaps", "duplicates", "conflicts", "agreement"]
    audit = Audit.model_validate_json(ended.out)
    assert all((audit.overlaps, audit.duplicates, audit.agreement))
    assert stamps(dataset) == before


def test_the_audit_as_text_has_every_pair_and_a_line_for_the_rest(run: Any, dataset: Path) -> None:
    audit = Audit.model_validate_json(run("dataset", "audit", dataset, "--json").out)
    short = run("dataset", "audit", dataset).out
    shared = [row for row in audit.overlaps if not row.shares_nothing]
    assert 0 < len(shared) < len(audit.overlaps)
    assert f"{len(audit.overlaps) - len(shared):,} more pairs share nothing" in short
    lines = short.splitlines()[1 : len(shared) + 1]
    assert [tuple(line.split()[:2]) for line in lines] == [(row.held_out, row.training) for row in shared]
    lines = run("dataset", "audit", dataset, "--all").out.splitlines()
    pairs = [tuple(line.split()[:2]) for line in lines[1 : len(audit.overlaps) + 1]]
    assert pairs == [(row.held_out, row.training) for row in audit.overlaps]
    row = next(
        row for row in audit.overlaps if (row.held_out, row.training) == ("meld/test", "emorynlp/train")
    )
    cells = next(line.split() for line in lines if line.split()[:2] == ["meld/test", "emorynlp/train"])
    counted = (
        row.utterances,
        row.utterances_found,
        row.utterances_in_runs,
        row.dialogues,
        row.dialogues_with_run,
        row.dialogues_covered,
        row.dialogues_identical,
    )
    assert cells[2:-2] == [f"{count:,}" for count in counted]
    assert row.ngram_share is not None
    assert cells[-2] == f"{100 * row.ngram_share:.2f}"
    totals = {line.split()[0]: line.split(": ")[1] for line in lines if line.endswith(" across corpora")}
    records = sum(len(one.ids) for one in audit.duplicates)
    telling = sum(one.words >= 5 for one in audit.duplicates)
    across = sum(len({name.split("/")[0] for name in one.ids}) > 1 for one in audit.duplicates)
    assert 0 < across < len(audit.duplicates) < records
    assert totals == {
        "duplicates": f"{records:,} records in {len(audit.duplicates):,} groups; "
        f"{telling:,} groups of 5 words or more, {across:,} across corpora",
        "conflicts": "0 records in 0 groups; 0 groups of 5 words or more, 0 across corpora",
    }
    (agreement,) = (one for one in audit.agreement if (one.first, one.second) == ("meld", "emorynlp"))
    line = next(line for line in lines if line.startswith("  meld and emorynlp: "))
    assert f": {agreement.utterances:,}, of which " in line
    assert f"kappa {agreement.kappa:.3f}" in line
    assert "  meld and iemocap: none" in lines


def test_what_is_no_dataset_is_told(run: Any, tmp_path: Path) -> None:
    ended = run("dataset", "audit", tmp_path)
    assert (ended.code, ended.out) == (1, "")
    assert "no dataset folder here" in ended.err


def test_a_changed_file_is_told(run: Any, tmp_path: Path) -> None:
    folder = build_dataset("demo", out=tmp_path / "dataset", skip=["meisd", "iemocap"]).folder
    path = next((folder / "data" / "meld").glob("test-*.parquet"))
    path.write_bytes(path.read_bytes() + b"x")
    ended = run("dataset", "audit", folder)
    assert (ended.code, ended.out) == (1, "")
    assert f"{path}: is not the file that was made" in ended.err
