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

    def made(name: str, content: str = "1" * 64, **figures: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        manifest = ScoreManifest(
            created_by={},
            recipe=RecipeStamp(name="meld", sha256="0" * 64, resolved={}),
            inputs=(),
            outputs=(),
            content_sha256=content,
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
    ("field", "value", "mark"),
    [
        ("dataset_content_sha256", "0" * 64, f"dataset_content_sha256 {'0' * 12}..., not {'d' * 12}..."),
        ("records_sha256", "0" * 64, f"records_sha256 {'0' * 12}..., not {'e' * 12}..."),
        ("label_space", ("neutral",), "label_space neutral, not anger, neutral"),
        ("context_k", 3, "context_k 3, not 1"),
        ("prompt_sha256", "0" * 64, f"prompt_sha256 {'0' * 12}..., not {'f' * 12}..."),
        ("scorer", "free_generation", "scorer free_generation, not first_token"),
        ("few_shot_ids", ("meld/train/1/1",), "few_shot_ids meld/train/1/1, not none"),
        ("selected_on", "validation", "selected_on validation, not none"),
        ("leak_policy", "removed from training", "leak_policy removed from training, not not audited"),
    ],
)
def test_a_score_of_another_protocol_is_marked(field: str, value: object, mark: str, folder_of: Any) -> None:
    folders = [
        folder_of("first"),
        folder_of("second", protocol={field: value}, system={"name": "other"}),
        folder_of("third", system={"name": "third"}),
    ]
    table = score_table(folders)
    assert [cell.mark for cell in table.cells.values()] == ["", "a", ""]
    assert table.marks == {"a": mark}


def test_a_baseline_with_another_context_stands_beside_a_model(folder_of: Any) -> None:
    tfidf = {**NO_USE, "context_k": 0, "leak_policy": "not audited"}
    folders = [folder_of("tiny"), folder_of("tfidf", system=BASELINE | {"name": "tfidf"}, protocol=tfidf)]
    table = score_table(folders)
    marks = {row.name: table.cells[row, table.columns[0]].mark for row in table.rows}
    assert marks == {"tiny": "", "tfidf": "a"}
    assert table.marks == {"a": "context_k 0, not 1"}


def test_what_the_first_does_not_have_is_as_the_next_score_has_it(folder_of: Any) -> None:
    folders = [
        folder_of("majority", system=BASELINE, protocol=NO_USE),
        folder_of("one", system={"name": "one"}),
        folder_of("other", system={"name": "other"}, protocol={"context_k": 0}),
    ]
    assert [cell.mark for cell in score_table(folders).cells.values()] == ["", "", "a"]


@pytest.mark.parametrize("order", [1, -1])
def test_a_score_of_some_records_is_marked_and_sets_no_standard(order: int, folder_of: Any) -> None:
    whole = {"records": 2610, "split_records": 2610}
    part = {"records": 8, "split_records": 2610, "protocol": {"records_sha256": "0" * 64}}
    folders = [folder_of("part", system={"name": "part"}, **part), folder_of("whole", **whole)]
    table = score_table(folders[::order])
    assert {row.name: cell.mark for (row, _), cell in table.cells.items()} == {"part": "a", "tiny": ""}
    assert table.marks == {"a": "8 of 2,610 records scored"}


def test_one_run_is_not_counted_twice(folder_of: Any) -> None:
    folders = [folder_of("first"), folder_of("second")]
    with pytest.raises(DataError) as raised:
        score_table(folders)
    (problem,) = raised.value.problems
    assert (problem.code, problem.where) == ("score_table.repeated", str(folders[1]))


@pytest.mark.parametrize(
    "systems",
    [
        ({"training_sha256": "7" * 64}, {"training_sha256": "8" * 64}),
        ({"kind": "model"}, {"kind": "predictions"}),
        ({"base": "one/model"}, {"base": "another/model"}),
        ({}, {}),
    ],
)
def test_two_systems_never_share_a_name(systems: tuple[Any, Any], folder_of: Any) -> None:
    folders = [folder_of("one", system=systems[0]), folder_of("two", system=systems[1], content="2" * 64)]
    assert [row.name for row in score_table(folders).rows] == ["tiny (one)", "tiny (two)"]
    deeper = [folder_of("a/x", system=systems[0]), folder_of("b/x", system=systems[1], content="2" * 64)]
    assert [row.name for row in score_table(deeper).rows] == [f"tiny ({folder})" for folder in deeper]


def test_a_table_is_a_data_frame_a_notebook_cell_and_a_short_text(folder_of: Any) -> None:
    table = score_table([folder_of("tiny"), str(folder_of("other", system={"name": "a<b"}))])
    frame = table.to_pandas()
    assert frame["system"].tolist() == ["tiny", "a<b"]
    assert [frame[name][0] for name in ("value", "low", "high")] == [0.25, 0.125, 0.375]
    assert repr(table) == "ScoreTable(2 systems, 1 corpora, 0 marks)"
    assert "<td>a&lt;b</td>" in table._repr_html_()


def test_another_metric_may_be_shown_if_there_is_one(folder_of: Any) -> None:
    folder = folder_of("first")
    table = score_table([folder], "accuracy")
    assert next(iter(table.cells.values())).value == 0.5
    with pytest.raises(DataError) as raised:
        score_table([folder], "macro_f1")
    assert raised.value.problems[0].code == "score_table.metric"


def test_an_unknown_metric_is_refused(folder_of: Any) -> None:
    with pytest.raises(DataError) as raised:
        score_table([folder_of("first")], "acuracy")  # type: ignore[arg-type]
    assert raised.value.problems[0].code == "argument.unknown_name"
    assert "accuracy" in raised.value.problems[0].what


def test_what_is_no_score_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no score folder here"):
        score_table([tmp_path])
