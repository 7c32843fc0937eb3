"""Metadata against what the Hub documents, offline."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from dialoguellm_release.cards.card import split_card
from dialoguellm_release.cards.check import check_our_card, eval_result_problems
from dialoguellm_release.cards.metadata import OUR_KEYS
from dialoguellm_release.cards.model import AdapterLinks, eval_results, model_index, render_adapter_card
from dialoguellm_release.resources import resource_folder
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.manifests import AdapterManifest, ScoreManifest

GOOD: dict[str, Any] = {
    "license": "mit",
    "language": ["en"],
    "library_name": "peft",
    "base_model": "owner/base",
    "base_model_relation": "adapter",
    "datasets": ["owner/data"],
    "pipeline_tag": "text-generation",
    "task_categories": ["text-classification"],
    "size_categories": ["n<1K"],
}


def problems(**changed: Any) -> list[str]:
    metadata = {key: value for key, value in {**GOOD, **changed}.items() if value is not None}
    return [
        f"{one.code}: {one.what}"
        for one in check_our_card(f"---\n{yaml.safe_dump(metadata)}---\n# A card\n", [])
    ]


def test_good_metadata_has_no_problem() -> None:
    assert problems() == []
    assert problems(our_own_key="anything", doi="10.1") == []


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"licence": "mit"}, "card.unknown_key"),
        ({"dataset": ["a/b"]}, "card.unknown_key"),
        ({"language": ["english"]}, "card.language"),
        ({"language": 3}, "card.metadata: language.str"),
        ({"pipeline_tag": "emotion-recognition"}, "card.task"),
        ({"task_categories": ["text-clasification"]}, "card.task"),
        ({"size_categories": ["small"]}, "card.metadata: size_categories.0"),
        ({"library_name": "pefft"}, "card.library"),
        ({"base_model": "/some/folder"}, "card.metadata: base_model."),
        ({"base_model": None}, "card.no_base_model"),
        ({"base_model_relation": "lora"}, "card.metadata: base_model_relation"),
        ({"datasets": "data"}, "card.metadata: datasets."),
        ({"annotations_creators": ["us"]}, "card.metadata: annotations_creators.0"),
        (
            {"dataset_info": {"splits": [{"name": "train", "num_examples": -1}]}},
            "card.metadata: dataset_info.",
        ),
        ({"model-index": [{"name": "m", "results": []}]}, "card.metadata: model-index.0.results"),
        (
            {"model-index": [{"name": "m", "results": [{"task": {"type": "t"}}]}]},
            "card.metadata: model-index.0.results.0.",
        ),
        ({"sdk": "html"}, "card.metadata: sdk"),
    ],
)
def test_what_the_hub_would_not_take_is_named(changed: dict[str, Any], code: str) -> None:
    assert any(one.startswith(code) for one in problems(**changed)), problems(**changed)


def test_the_card_of_the_bundled_metric_is_good() -> None:
    for path in sorted(resource_folder("metrics").glob("*/README.md")):
        assert check_our_card(path.read_text(encoding="utf-8"), []) == []


def test_scores_stand_in_the_metadata_as_the_library_of_the_hub_reads_them(
    adapter: AdapterManifest, score: ScoreManifest, published: DatasetManifest
) -> None:
    from huggingface_hub import ModelCard

    commit = "5" * 40
    text = render_adapter_card(adapter, [score], "o/a", published, links=AdapterLinks(f"o/data@{commit}"))
    metadata, _ = split_card(text)
    assert set(metadata) <= OUR_KEYS
    results = ModelCard(text).data.get("eval_results")
    assert results is not None
    assert [(one.metric_type, one.metric_value) for one in results] == [("accuracy", 0.75), ("f1", 0.70005)]
    (place,) = {
        (one.dataset_type, one.dataset_config, one.dataset_split, one.dataset_revision) for one in results
    }
    assert place == ("o/data", "meld", "test", commit)


def test_intervals_stand_beside_the_figures_where_there_are_any(score: ScoreManifest) -> None:
    run = score.figures.model_copy(update={"intervals": {"accuracy": (0.7, 0.8)}})
    index: Any = model_index([run], "o/a", "o/data", "Data", None)
    names = [one["name"] for one in index[0]["results"][0]["metrics"]]
    assert names == ["Accuracy, interval [0.7000, 0.8000]", "Weighted F1"]


def test_files_of_eval_results_are_what_the_hub_documents(score: ScoreManifest) -> None:
    from huggingface_hub import parse_eval_result_entries

    run = score.figures.model_copy(update={"intervals": {score.figures.headline: (0.7, 0.8)}})
    protocol = run.protocol.model_copy(update={"split": "validation"})
    other = run.model_copy(update={"protocol": protocol, "metrics": {run.headline: 0.1}})
    files = eval_results([other, run], "o/data", "5" * 40)
    assert list(files) == [".eval_results/meld.yaml"]
    (text,) = files.values()
    assert list(eval_result_problems("meld.yaml", text)) == []
    (entry,) = parse_eval_result_entries(yaml.safe_load(text))
    assert (entry.dataset_id, entry.task_id, entry.dataset_revision) == ("o/data", "meld", "5" * 40)
    assert entry.value == round(run.metrics[run.headline], 6)
    assert entry.notes == f"{run.headline} of the split test, 12 records; interval [0.7000, 0.8000]"
    assert eval_results([other], "o/data", None) == {}
    bad = "- dataset: {id: data, task_id: ''}\n  value: high\n"
    assert {one.what.partition(":")[0] for one in eval_result_problems("x.yaml", bad)} == {
        "0.dataset.id", "0.dataset.task_id", "0.value.float", "0.value.int"
    }  # fmt: skip
    assert next(eval_result_problems("x.yaml", "a: [")).code == "yaml.invalid"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a: &a [*a]", "yaml.too_large"),
        ("- value: 2026-13-01", "yaml.invalid"),
        ("- value: 1\n  value: 2", "yaml.not_allowed"),
    ],
)
def test_files_of_scores_that_cannot_be_read_are_named(text: str, code: str) -> None:
    assert next(eval_result_problems("x.yaml", text)).code == code
