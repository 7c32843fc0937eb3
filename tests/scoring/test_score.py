"""From dataset and model to a score folder, through the public steps."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from dialoguellm_release.backbones.load import load_backbone
from dialoguellm_release.errors import DataError
from dialoguellm_release.folders import MANIFEST, read_manifest, stamps, write_manifest
from dialoguellm_release.prompts import load_prompt
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import LABELS
from dialoguellm_release.schemas.manifests import AdapterManifest, ScoreManifest
from dialoguellm_release.schemas.scores import ScorerName
from dialoguellm_release.steps.score import ModelChoice, score, score_each_way

SPACE = LABELS[:7]
FEW = "intervals.resamples=50"


def figures_in(folder: Path) -> Any:
    return read_manifest(folder, ScoreManifest).figures


def test_writes_a_probability_per_label_in_record_order(
    run: Any, dialogues_of: Any, predictions_in: Callable[[Path], dict[str, list[Any]]]
) -> None:
    columns = predictions_in(run("scores"))
    records = dialogues_of("test", 40)
    assert list(columns) == [
        "id",
        "reference",
        "prediction",
        "is_clean",
        *(f"score_{label}" for label in SPACE),
    ]
    assert columns["id"] == [record.id for record in records]
    assert columns["reference"] == [record.output for record in records]
    probabilities = np.array([columns[f"score_{label}"] for label in SPACE]).T
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-12)
    assert (probabilities > 0).all()
    assert columns["prediction"] == [SPACE[index] for index in probabilities.argmax(axis=1)]


def test_the_predictions_give_the_same_figures_by_scikit_learn_alone(run: Any, predictions_in: Any) -> None:
    from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

    folder = run("scores")
    columns = predictions_in(folder)
    figures = figures_in(folder)

    def by_sklearn(places: list[int]) -> Any:
        both = [[columns[name][place] for place in places] for name in ("reference", "prediction")]

        def f1(average: str, labels: Any = SPACE) -> Any:
            return f1_score(*both, labels=labels, average=average, zero_division=0)

        return pytest.approx(
            {
                "accuracy": accuracy_score(*both),
                "weighted_f1": f1("weighted"),
                "macro_f1": f1("macro"),
                "micro_f1": f1("micro"),
                "invalid": 0.0,
                "micro_f1_without": f1("micro", SPACE[:-1]),
            }
        )

    everything = list(range(40))
    assert figures.metrics == by_sklearn(everything)
    assert (figures.records, figures.dialogues) == (40, 8)
    # every second dialogue of five shares text with a training split
    assert figures.clean.metrics == by_sklearn([place for place in everything if place // 5 % 2 == 0])
    assert (figures.clean.records, figures.clean.dialogues) == (20, 4)
    matrix = confusion_matrix(columns["reference"], columns["prediction"], labels=SPACE)
    assert [list(row[:-1]) for row in figures.confusion_matrix] == matrix.tolist()
    speaker = figures.breakdown["speaker"]
    assert {name: part.records for name, part in speaker.items()} == {
        "first of the dialogue": 8,
        "changed": sum(place % 5 > 0 and place % 3 != 2 for place in everything),
        "same as before": sum(place % 5 > 0 and place % 3 == 2 for place in everything),
    }
    same = [place for place in everything if place % 5 > 0 and place % 3 == 2]
    assert speaker["same as before"].metrics == by_sklearn(same)


def test_what_stands_in_the_folder(run: Any) -> None:
    folder = run("scores")
    manifest = read_manifest(folder, ScoreManifest)
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    drawn = {f"figures/{name}.png" for name in ("confusion", "reliability", "coverage")}
    assert files == {"predictions.parquet", "scores.json", "README.md", *drawn, MANIFEST}
    assert manifest.outputs == stamps(folder)
    written = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    assert written == json.loads(manifest.figures.model_dump_json())
    for low, high in manifest.figures.intervals.values():
        assert 0 <= low <= high <= 1
    # 40 records over 7 labels in turn: the first five stand six times, the others five times
    assert manifest.figures.majority_label == "happiness"
    assert manifest.figures.majority["accuracy"] == 6 / 40
    report = (folder / "README.md").read_text(encoding="utf-8")
    assert f"{100 * manifest.figures.metrics['weighted_f1']:.2f}" in report
    assert "## By emotion of the speaker" in report


def test_the_stamp_says_how_it_was_scored(run: Any, audited_dataset: Path, tiny_adapter: Path) -> None:
    figures = figures_in(run("scores"))
    trained = read_manifest(tiny_adapter, AdapterManifest)
    protocol, system = figures.protocol, figures.system
    assert (protocol.corpus, protocol.split, protocol.label_space) == ("meld", "test", SPACE)
    assert protocol.dataset_content_sha256 == read_manifest(audited_dataset, DatasetManifest).content_sha256
    assert protocol.prompt_sha256 == load_prompt("dialogue-v1").sha256
    assert (protocol.context_k, protocol.context_direction, protocol.few_shot_ids) == (1, "past", ())
    assert (protocol.scorer, protocol.selected_on) == ("first_token", "none")
    assert protocol.leak_policy == "trained on another dataset"
    assert (system.name, system.kind, system.seed) == ("tiny", "model", trained.figures.seed)
    assert system.adapter_content_sha256 == trained.content_sha256
    assert system.base_content_sha256 == trained.figures.base_content_sha256
    fewer = figures_in(run("fewer", "max_records=7"))
    assert fewer.protocol.records_sha256 != protocol.records_sha256
    alone = figures_in(run("alone", adapter=None, backbone="tiny"))
    assert (alone.system.adapter_content_sha256, alone.system.seed) == (None, None)
    assert (alone.system.training_sha256, alone.protocol.leak_policy) == (None, None)
    assert alone.protocol.selected_on is None
    assert alone.protocol.records_sha256 == protocol.records_sha256


def test_seeds_of_one_training_share_its_hash(run: Any, tiny_adapter: Path, tmp_path: Path) -> None:
    first = figures_in(run("first")).system
    copies = {}
    for name, change in (("seed", {"seed": 99}), ("rate", {"description": "another"})):
        shutil.copytree(tiny_adapter, tmp_path / name)
        manifest = read_manifest(tiny_adapter, AdapterManifest)
        recipe = manifest.recipe.model_copy(update={"resolved": {**manifest.recipe.resolved, **change}})
        figures = manifest.figures.model_copy(update={"seed": change.get("seed", manifest.figures.seed)})
        changed = manifest.model_copy(update={"recipe": recipe, "figures": figures})
        write_manifest(tmp_path / name, changed)
        copies[name] = figures_in(run(f"of {name}", adapter=tmp_path / name)).system
    assert copies["seed"].training_sha256 == first.training_sha256
    assert (copies["seed"].seed, first.seed) == (99, 1)
    assert copies["rate"].training_sha256 != first.training_sha256


@pytest.mark.parametrize(
    ("config", "policy"), [("meld", "kept in training"), ("clean", "removed from training")]
)
def test_the_stamp_says_what_became_of_leaks(
    config: str, policy: str, run: Any, tiny_adapter: Path, audited_dataset: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_adapter, tmp_path / "adapter")
    manifest = read_manifest(tiny_adapter, AdapterManifest)
    content = read_manifest(audited_dataset, DatasetManifest).content_sha256
    changed = {"dataset_content_sha256": content, "dataset_config": config}
    figures = manifest.figures.model_copy(update=changed)
    write_manifest(tmp_path / "adapter", manifest.model_copy(update={"figures": figures}))
    assert figures_in(run("out", adapter=tmp_path / "adapter")).protocol.leak_policy == policy


@pytest.mark.parametrize(
    ("trainer", "looked_at", "expected"),
    [
        ({"load_best_model_at_end": True}, 15, "validation"),
        ({"load_best_model_at_end": True}, 0, "none"),
        ({"load_best_model_at_end": False}, 15, "none"),
        (None, 0, None),
    ],
    ids=["the best", "nobody looked", "the last", "not known"],
)
def test_the_stamp_says_on_which_split_the_checkpoint_was_chosen(
    trainer: dict[str, object] | None,
    looked_at: int,
    expected: str | None,
    run: Any,
    tiny_adapter: Path,
    tmp_path: Path,
) -> None:
    shutil.copytree(tiny_adapter, tmp_path / "adapter")
    manifest = read_manifest(tiny_adapter, AdapterManifest)
    recipe = manifest.recipe.model_copy(update={"resolved": {**manifest.recipe.resolved, "trainer": trainer}})
    figures = manifest.figures.model_copy(update={"validation_records": looked_at})
    changed = manifest.model_copy(update={"recipe": recipe, "figures": figures})
    write_manifest(tmp_path / "adapter", changed)
    folder = run("out", "max_records=7", adapter=tmp_path / "adapter")
    assert figures_in(folder).protocol.selected_on == expected
    shown = f"`{expected}`" if expected else "not applicable"
    assert f"| `selected_on` | {shown} |" in (folder / "README.md").read_text(encoding="utf-8")


def test_a_dataset_that_nobody_audited_has_no_clean_part(
    run: Any, tmp_path: Path, dialogues_of: Any, dataset_of: Any
) -> None:
    records = dialogues_of("test", 10, audited=False)
    folder = run("scores", dataset=dataset_of(tmp_path / "dataset", {"test": records}))
    figures = figures_in(folder)
    assert figures.clean is None
    assert "was not audited" in (folder / "README.md").read_text(encoding="utf-8")


def test_the_same_run_twice_writes_the_same_bytes(run: Any, tmp_path: Path) -> None:
    first, second = run("first"), run("second", cache=tmp_path / "other cache")
    assert stamps(first) == stamps(second)
    assert (first / MANIFEST).read_bytes() == (second / MANIFEST).read_bytes()


@pytest.mark.parametrize("scorer", ["first_token", "full_likelihood", "free_generation"])
def test_batch_size_and_padding_side_do_not_change_a_prediction(
    scorer: str, run: Any, predictions_in: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dialoguellm_release.scoring import model as module

    def padding_on(side: str) -> Any:
        def load(*place: Any) -> Any:
            model, tokenizer = load_backbone(*place)
            tokenizer.padding_side = side
            return model, tokenizer

        return load

    found = []
    for side, batch_size in (("right", 16), ("left", 1), ("left", 7)):
        monkeypatch.setattr(module, "load_backbone", padding_on(side))
        name = f"{side} {batch_size}"
        settings = (f"batch_size={batch_size}", f"scorer={scorer}", "max_new_tokens=4")
        found.append(predictions_in(run(name, *settings, cache=tmp_path / f"cache {name}"))["prediction"])
    assert found[0] == found[1] == found[2]


def test_a_run_that_is_current_asks_nobody(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("scores")
    shutil.rmtree(tmp_path / "cache")

    def refuses(*_arguments: Any) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("dialoguellm_release.scoring.model.load_backbone", refuses)
    run("scores")
    with pytest.raises(DataError) as raised:
        run("scores", "max_length=400")
    assert raised.value.problems[0].code == "step.finished_work"
    assert "40 records" in str(raised.value)
    with pytest.raises(AssertionError, match="loaded"):
        run("scores", "max_length=400", replace=True)


def test_a_run_that_was_cut_off_goes_on_and_ends_the_same(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dialoguellm_release.scoring.scorers import LikelihoodScorer

    whole = run("whole", "batch_size=8", cache=tmp_path / "whole cache")
    replies = LikelihoodScorer.replies
    asked: list[Any] = []

    def counted(most: int) -> Any:
        def ask(self: LikelihoodScorer, prompts: Any, batch: Any) -> Any:
            if len(asked) == most:
                raise KeyboardInterrupt
            asked.append(batch)
            return replies(self, prompts, batch)

        return ask

    monkeypatch.setattr(LikelihoodScorer, "replies", counted(3))
    with pytest.raises(KeyboardInterrupt):
        run("cut", "batch_size=8")
    assert {path.name for path in tmp_path.iterdir()} == {"whole", "whole cache", "cache"}
    monkeypatch.setattr(LikelihoodScorer, "replies", counted(100))
    cut = run("cut", "batch_size=8")
    assert len(asked) == len(set(asked))
    assert sum(len(batch.places) for batch in asked) == 40
    assert stamps(cut) == stamps(whole)


def test_every_way_of_reading_the_answer_is_scored_on_its_own(
    tiny_adapter: Path, tiny_backbone: Path, audited_dataset: Path, tmp_path: Path, predictions_in: Any
) -> None:
    def each(*names: Any, out: str = "ways") -> Any:
        return score_each_way(
            "meld",
            names or get_args(ScorerName),
            audited_dataset,
            ModelChoice(tiny_adapter, backbones=tiny_backbone.parent, cache=tmp_path / "cache"),
            tmp_path / out,
            overrides=[FEW, "max_new_tokens=4"],
        )

    made = each()
    assert tuple(made) == get_args(ScorerName)
    assert {name: one.manifest.figures.protocol.scorer for name, one in made.items()} == {
        name: name for name in made
    }
    rows = {name: predictions_in(one.folder) for name, one in made.items()}
    # each label is one token of this tokenizer, so likelihood needs no more than the first
    assert rows["full_likelihood"] == rows["first_token"] == rows["full_likelihood_per_token"]
    assert rows["constrained_generation"]["prediction"] == rows["first_token"]["prediction"]
    assert rows["free_generation"]["text"] == rows["authors_parser"]["text"]
    strict, loose = rows["free_generation"]["prediction"], rows["authors_parser"]["prediction"]
    assert "invalid" not in loose
    dice = made["authors_parser"].manifest.figures
    assert dice.left_to_chance == loose.count("drawn")
    assert dice.chances == pytest.approx(dict.fromkeys(SPACE, 1 / 7))
    right = [
        reference == parsed if parsed != "drawn" else 1 / 7
        for reference, parsed in zip(rows["authors_parser"]["reference"], loose, strict=True)
    ]
    assert dice.metrics["accuracy"] == pytest.approx(sum(right) / 40)
    assert made["free_generation"].manifest.figures.metrics["invalid"] == strict.count("invalid") / 40
    assert all(one.was_current for one in each().values())
    alone = each("first_token", out="alone")["first_token"]
    assert alone.manifest == made["first_token"].manifest


def test_labels_that_begin_alike_need_full_likelihood(
    backbones: Path, bytes_recipe: Path, audited_dataset: Path, tmp_path: Path
) -> None:
    def scored(scorer: str) -> Any:
        return score(
            "meld",
            audited_dataset,
            ModelChoice(None, str(bytes_recipe), backbones, tmp_path / "cache"),
            tmp_path / scorer,
            overrides=["max_length=1000", "max_records=2", FEW, f"scorer={scorer}"],
        )

    with pytest.raises(DataError) as raised:
        scored("first_token")
    assert raised.value.problems[0].code == "score.shared_first_token"
    assert "full_likelihood" in str(raised.value.problems[0].fix)
    assert not (tmp_path / "first_token").exists()
    assert scored("auto").manifest.figures.protocol.scorer == "full_likelihood"
    ways = score_each_way(
        "meld",
        ["first_token", "full_likelihood", "full_likelihood_per_token"],
        audited_dataset,
        ModelChoice(None, str(bytes_recipe), backbones, tmp_path / "cache"),
        tmp_path / "ways",
        overrides=["max_length=1000", "max_records=2", FEW],
    )
    assert list(ways) == ["full_likelihood", "full_likelihood_per_token"]
