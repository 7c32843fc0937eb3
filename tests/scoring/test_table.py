"""A table sets like beside like, and marks what is not."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.errors import DataError
from dialoguellm_release.folders import write_manifest
from dialoguellm_release.schemas.manifests import RecipeStamp, ScoreManifest
from dialoguellm_release.steps.compare import score_table


@pytest.fixture
def folder_of(tmp_path: Path, score_figures_of: Callable[..., Any]) -> Callable[..., Path]:
    """A score folder of which only the manifest is there."""

    def made(name: str, **figures: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        manifest = ScoreManifest(
            created_by={},
            recipe=RecipeStamp(name="meld", sha256="0" * 64, resolved={}),
            inputs=(),
            outputs=(),
            content_sha256="1" * 64,
            figures=score_figures_of(**figures),
        )
        write_manifest(folder, manifest)
        return folder

    return made


BASELINE = {"name": "majority", "kind": "baseline"}
NO_USE = {
    "context_k": None,
    "context_direction": None,
    "prompt_sha256": None,
    "scorer": None,
    "shots": None,
    "few_shot_ids": None,
    "selected_on": None,
    "leak_policy": None,
}


def test_a_row_a_system_a_column_a_corpus(folder_of: Any) -> None:
    emorynlp = {"corpus": "emorynlp", "records_sha256": "2" * 64}
    folders = [
        folder_of("tiny"),
        folder_of("majority", system=BASELINE, protocol=NO_USE, metrics={"weighted_f1": 0.5}),
        folder_of("tiny-emorynlp", protocol=emorynlp, metrics={"weighted_f1": 0.75}),
    ]
    table = score_table(folders)
    assert [(one.corpus, one.metric) for one in table.columns] == [
        ("meld", "weighted_f1"),
        ("emorynlp", "weighted_f1"),
    ]
    tiny, majority = table.rows
    assert (tiny.name, tiny.scorer, tiny.context_k, tiny.shots) == ("tiny", "first_token", 1, 0)
    assert (majority.name, majority.scorer, majority.shots) == ("majority", None, None)
    values = {(row.name, column.corpus): cell.value for (row, column), cell in table.cells.items()}
    assert values == {("tiny", "meld"): 0.25, ("tiny", "emorynlp"): 0.75, ("majority", "meld"): 0.5}
    assert table.cells[tiny, table.columns[0]].interval == (0.125, 0.375)
    assert table.marks == {}


def test_seeds_of_one_system_are_averaged(folder_of: Any) -> None:
    training = {"training_sha256": "7" * 64}
    values = {1: 0.5, 2: 0.6, 3: 0.8}
    folders = [
        folder_of(f"seed {seed}", system={**training, "seed": seed}, metrics={"weighted_f1": value})
        for seed, value in values.items()
    ]
    other = folder_of("other", system={"training_sha256": "8" * 64, "seed": 1}, metrics={"weighted_f1": 0.9})
    table = score_table([*folders, other])
    seeds, single = table.cells.values()
    assert seeds.value == pytest.approx(1.9 / 3)
    assert seeds.seeds == 3
    assert seeds.deviation == pytest.approx(statistics.stdev(values.values()))
    assert seeds.interval is None
    assert (single.value, single.seeds, single.deviation) == (0.9, 1, None)


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("dataset_content_sha256", "0" * 64, f"dataset_content_sha256 {'0' * 64}, not {'d' * 64}"),
        ("records_sha256", "0" * 64, f"records_sha256 {'0' * 64}, not {'e' * 64}"),
        ("label_space", ("neutral",), "label_space neutral, not anger, neutral"),
        ("context_k", 3, "context_k 3, not 1"),
        ("prompt_sha256", "0" * 64, f"prompt_sha256 {'0' * 64}, not {'f' * 64}"),
        ("scorer", "free_generation", "scorer free_generation, not first_token"),
        ("few_shot_ids", ("meld/train/1/1",), "few_shot_ids meld/train/1/1, not empty"),
        ("selected_on", "validation", "selected_on validation, not none"),
        ("leak_policy", "removed from training", "leak_policy removed from training, not not audited"),
    ],
)
def test_unlike_protocols_do_not_stand_in_one_column_unless_asked_and_then_marked(
    field: str, value: object, told: str, folder_of: Any
) -> None:
    folders = [
        folder_of("first"),
        folder_of("second", protocol={field: value}, system={"name": "other"}),
        folder_of("third", system={"name": "third"}),
    ]
    with pytest.raises(DataError) as raised:
        score_table(folders)
    (problem,) = raised.value.problems
    assert problem.where == str(folders[1])
    assert problem.got == told
    assert "--mixed" in str(problem.fix)
    table = score_table(folders, mixed=True)
    assert [cell.mark for cell in table.cells.values()] == ["", "a", ""]
    assert table.marks == {"a": told}


def test_what_the_first_has_no_use_for_must_still_be_alike_among_the_others(folder_of: Any) -> None:
    folders = [
        folder_of("majority", system=BASELINE, protocol=NO_USE),
        folder_of("one", system={"name": "one"}),
        folder_of("other", system={"name": "other"}, protocol={"context_k": 0}),
    ]
    with pytest.raises(DataError) as raised:
        score_table(folders)
    assert [(one.where, one.got) for one in raised.value.problems] == [
        (str(folders[2]), "context_k 0, not 1")
    ]


def test_one_run_is_not_counted_twice(folder_of: Any) -> None:
    folders = [folder_of("first"), folder_of("second")]
    with pytest.raises(DataError, match="the same system with the same seed") as raised:
        score_table(folders)
    assert raised.value.problems[0].where == str(folders[1])


def test_another_metric_may_be_shown_if_there_is_one(folder_of: Any) -> None:
    folder = folder_of("first")
    table = score_table([folder], "accuracy")
    assert next(iter(table.cells.values())).value == 0.5
    with pytest.raises(DataError, match="was not scored by macro_f1"):
        score_table([folder], "macro_f1")


def test_what_is_no_score_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no score folder here"):
        score_table([tmp_path])
