from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score, f1_score

from dialoguellm_release.backbones import build_backbone, load_backbone
from dialoguellm_release.encoding import Encoder
from dialoguellm_release.errors import DataError
from dialoguellm_release.folders import MANIFEST, read_manifest, stamps, write_manifest
from dialoguellm_release.prompts import load_prompt
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.schemas.labels import LABELS, Split
from dialoguellm_release.schemas.manifest import AdapterManifest, DatasetManifest, ScoreManifest
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe, BuiltSource
from dialoguellm_release.schemas.recipes.score import ScoreRecipe
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.scoring.likelihood import label_probabilities
from dialoguellm_release.scoring.score import score

SPACE = LABELS[:7]


def recipe_with(*settings: str) -> Loaded[ScoreRecipe]:
    return load_recipe("meld", "score", ScoreRecipe, settings)


@pytest.fixture
def run(
    tiny_recipe: Loaded[BackboneRecipe],
    tiny_backbone: Path,
    tiny_adapter: Path,
    small_dataset: Path,
    tmp_path: Path,
) -> Any:
    """Scores into `tmp_path/NAME`, with settings."""

    def score_into(
        name: str, *settings: str, dataset: Path = small_dataset, adapter: Path | None = tiny_adapter
    ) -> Path:
        out = tmp_path / name
        score(recipe_with(*settings), dataset, adapter, tiny_recipe, tiny_backbone, out)
        return out

    return score_into


def predictions_in(folder: Path) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = pq.read_table(folder / "predictions.parquet").to_pydict()
    return columns


def probabilities_in(folder: Path) -> Any:
    columns = predictions_in(folder)
    return np.array([columns[f"score_{label}"] for label in SPACE]).T


def test_writes_a_probability_per_label_in_record_order(
    run: Any, records_of: Callable[[Split, int], list[Record]]
) -> None:
    folder = run("scores")
    columns = predictions_in(folder)
    records = records_of("test", 15)
    assert list(columns) == ["id", "reference", "prediction", *(f"score_{label}" for label in SPACE)]
    assert columns["id"] == [record.id for record in records]
    assert columns["reference"] == [record.output for record in records]
    probabilities = probabilities_in(folder)
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-12)
    assert (probabilities > 0).all()
    assert columns["prediction"] == [SPACE[index] for index in probabilities.argmax(axis=1)]


def test_the_figures_are_those_of_the_predictions(run: Any, small_dataset: Path, tiny_adapter: Path) -> None:
    folder = run("scores")
    columns = predictions_in(folder)
    manifest = read_manifest(folder, ScoreManifest)
    scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    references, predictions = columns["reference"], columns["prediction"]
    assert (
        scores["metrics"]
        == manifest.figures.metrics
        == {
            "accuracy": pytest.approx(accuracy_score(references, predictions)),
            "weighted_f1": pytest.approx(
                f1_score(references, predictions, average="weighted", zero_division=0)
            ),
        }
    )
    # 15 records over 7 labels in turn: happiness stands three times, each other twice
    assert scores["majority_label"] == "happiness"
    assert scores["majority"] == {"accuracy": 3 / 15, "weighted_f1": pytest.approx(3 / 15 * 6 / 18)}
    counted = Counter(predictions)
    assert {label: count["predictions"] for label, count in scores["labels"].items()} == {
        label: counted[label] for label in SPACE
    }
    assert manifest.outputs == stamps(folder)
    assert {path.name for path in folder.iterdir()} == {"predictions.parquet", "scores.json", MANIFEST}
    assert (
        manifest.figures.dataset_content_sha256
        == read_manifest(small_dataset, DatasetManifest).content_sha256
    )
    assert (
        manifest.figures.adapter_content_sha256 == read_manifest(tiny_adapter, AdapterManifest).content_sha256
    )


@pytest.mark.parametrize("scorer", ["first_token", "full_likelihood"])
def test_neither_batch_size_nor_padding_changes_a_prediction(run: Any, scorer: str) -> None:
    alone, together = (
        run(f"batches-of-{size}", f"batch_size={size}", f"scorer={scorer}") for size in (1, 64)
    )
    assert predictions_in(alone)["prediction"] == predictions_in(together)["prediction"]
    assert probabilities_in(alone) == pytest.approx(probabilities_in(together), abs=1e-5)


def test_the_same_run_twice_writes_the_same_bytes(run: Any) -> None:
    first, second = run("first"), run("second")
    assert stamps(first) == stamps(second)
    assert (first / MANIFEST).read_bytes() == (second / MANIFEST).read_bytes()


@pytest.mark.parametrize("scorer", ["first_token", "full_likelihood"])
def test_the_scores_are_those_of_one_plain_pass_a_label(
    scorer: Any, tiny_recipe: Loaded[BackboneRecipe], tiny_backbone: Path, records_of: Any
) -> None:
    import torch

    model, tokenizer = load_backbone(tiny_recipe.recipe, tiny_backbone)
    encoder = Encoder(load_prompt("dialogue-v1"), tokenizer, 512)
    prompts = encoder.encode_all(records_of("test", 5))
    expected = []
    for prompt in prompts:
        row = []
        for label in SPACE:
            completion = encoder.completion_ids(label)
            ids = torch.tensor([prompt.ids + completion], device=model.device)
            with torch.inference_mode():
                log_probs = model(input_ids=ids).logits[0].float().log_softmax(-1)
            steps = [
                log_probs[len(prompt.ids) - 1 + place, token].item() for place, token in enumerate(completion)
            ]
            row.append(steps[0] if scorer == "first_token" else sum(steps))
        weights = np.exp(row)
        expected.append(weights / weights.sum())
    found = label_probabilities(model, encoder, prompts, SPACE, scorer, 4)
    assert found == pytest.approx(np.array(expected), abs=1e-5)


def test_labels_that_begin_alike_need_full_likelihood(
    tmp_path: Path, tiny_recipe: Loaded[BackboneRecipe], small_dataset: Path
) -> None:
    source = tiny_recipe.recipe.source
    assert isinstance(source, BuiltSource)
    bytes_only = source.model_copy(update={"vocab_size": 260})
    recipe = Loaded("bytes", tiny_recipe.recipe.model_copy(update={"source": bytes_only}), {})
    build_backbone(recipe, tmp_path / "bytes")
    with pytest.raises(DataError, match="begin with the same token") as raised:
        score(
            recipe_with("max_length=1000"), small_dataset, None, recipe, tmp_path / "bytes", tmp_path / "out"
        )
    assert "full_likelihood" in str(raised.value.problems[0].fix)
    assert not (tmp_path / "out").exists()
    full = recipe_with("max_length=1000", "scorer=full_likelihood", "max_records=2")
    manifest = score(full, small_dataset, None, recipe, tmp_path / "bytes", tmp_path / "out")
    assert manifest.figures.records == 2


def test_the_backbone_alone_scores_otherwise(run: Any) -> None:
    alone = run("alone", adapter=None)
    assert read_manifest(alone, ScoreManifest).figures.adapter_content_sha256 is None
    assert not np.allclose(probabilities_in(alone), probabilities_in(run("adapted")))


def test_a_dataset_of_another_prompt_and_another_base_are_refused_together(
    tiny_recipe: Loaded[BackboneRecipe],
    tiny_adapter: Path,
    tmp_path: Path,
    records_of: Any,
    dataset_of: Any,
) -> None:
    dataset = dataset_of(tmp_path / "dataset", {"test": records_of("test", 7)})
    manifest = read_manifest(dataset, DatasetManifest)
    figures = manifest.figures.model_copy(update={"prompt_sha256": "f" * 64})
    write_manifest(dataset, manifest.model_copy(update={"figures": figures}))
    source = tiny_recipe.recipe.source
    assert isinstance(source, BuiltSource)
    other = Loaded(
        "other", tiny_recipe.recipe.model_copy(update={"source": source.model_copy(update={"seed": 8})}), {}
    )
    built = build_backbone(other, tmp_path / "other")
    with pytest.raises(DataError) as raised:
        score(recipe_with(), dataset, tiny_adapter, other, tmp_path / "other", tmp_path / "out")
    prompt_problem, base_problem = raised.value.problems
    assert str(prompt_problem.got).endswith("f" * 64)
    assert base_problem.what == "was trained on another backbone"
    assert built.content_sha256 in str(base_problem.got)
    assert not (tmp_path / "out").exists()


def test_an_adapter_whose_prompt_was_edited_is_refused(run: Any, tiny_adapter: Path, tmp_path: Path) -> None:
    import shutil

    edited = tmp_path / "edited"
    shutil.copytree(tiny_adapter, edited)
    path = edited / "prompt.json"
    path.write_text(
        path.read_text(encoding="utf-8").replace("### Response:", "### Answer:"), encoding="utf-8"
    )
    with pytest.raises(DataError, match="its templates were changed"):
        run("out", adapter=edited)


def test_a_folder_that_is_no_adapter_is_refused(run: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no adapter folder here"):
        run("out", adapter=tmp_path / "absent")


def test_a_label_outside_the_label_space_is_refused(
    run: Any, tmp_path: Path, records_of: Any, dataset_of: Any
) -> None:
    odd = [
        record.model_copy(update={"output": "powerful", "label": "powerful"})
        for record in records_of("test", 2)
    ]
    dataset = dataset_of(tmp_path / "dataset", {"test": odd})
    with pytest.raises(DataError, match="the label space of the corpus lacks") as raised:
        run("out", dataset=dataset)
    assert raised.value.problems[0].got == "powerful (2)"


def test_a_corpus_that_is_not_in_the_dataset_is_refused(run: Any) -> None:
    with pytest.raises(DataError, match="no records of config iemocap"):
        run("out", "corpus=iemocap")


def test_ctrl_c_leaves_nothing(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dialoguellm_release.scoring.score.label_probabilities", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run("out")
    assert list(tmp_path.iterdir()) == []
