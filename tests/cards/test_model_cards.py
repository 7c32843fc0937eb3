from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml

from dialoguellm_release.cards.check import check_our_card
from dialoguellm_release.cards.model import (
    AdapterLinks,
    render_adapter_card,
    render_backbone_card,
    render_score_report,
)
from dialoguellm_release.corpora.registry import corpus_entry
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.manifests import (
    AdapterManifest,
    BackboneManifest,
    Calibration,
    CalibrationErrors,
    ScoreManifest,
    TrainedTask,
    TrainingRun,
)


def metadata_of(card: str) -> dict[str, Any]:
    loaded = yaml.safe_load(card.split("---\n")[1])
    assert isinstance(loaded, dict)
    return loaded


def test_a_backbone_has_this_card(backbone: BackboneManifest, golden: Callable[[str, str], None]) -> None:
    card = render_backbone_card(backbone, "dialoguellm/tiny-llama")
    golden("cards/backbone.md", card)
    assert check_our_card(card, []) == []


def test_an_adapter_has_this_card(
    adapter: AdapterManifest,
    score: ScoreManifest,
    published: DatasetManifest,
    backbone: BackboneManifest,
    golden: Callable[[str, str], None],
) -> None:
    card = render_adapter_card(
        adapter,
        [score],
        "dialoguellm/tiny",
        dataset=published,
        backbone=backbone,
        links=AdapterLinks("dialoguellm/instructions"),
    )
    golden("cards/adapter.md", card)
    assert check_our_card(card, []) == []


def test_an_adapter_of_a_model_on_the_hub_is_no_demonstration(adapter: AdapterManifest) -> None:
    figures = adapter.figures.model_copy(
        update={"base": "meta-llama/Llama-2-7b-hf", "base_revision": "0" * 40, "base_content_sha256": None}
    )
    card = render_adapter_card(adapter.model_copy(update={"figures": figures}), [], "dialoguellm/llama-2-7b")
    metadata = metadata_of(card)
    assert metadata["base_model"] == "meta-llama/Llama-2-7b-hf"
    assert metadata["license"] == "other"
    assert "datasets" not in metadata
    assert "demonstration" not in card
    assert f'revision="{"0" * 40}"' in card
    assert "no scores" in card
    assert check_our_card(card, []) == []


def test_the_code_of_a_card_loads_the_dequantised_weights_of_a_folder(adapter: AdapterManifest) -> None:
    source = {"base_is_folder": True, "base_gguf_file": "small.gguf", "base_dequantized_to": "float32"}
    figures = adapter.figures.model_copy(update={"base": "someone/small-llama", **source})
    card = render_adapter_card(adapter.model_copy(update={"figures": figures}), [], "someone/adapter")
    loaded = 'from_pretrained("FOLDER_OF_THE_BASE", gguf_file="small.gguf", dtype="float32")'
    assert f"base = AutoModelForCausalLM.{loaded}" in card
    assert "--adapter someone/adapter --backbone FOLDER_OF_THE_BASE" in card


def test_a_card_tells_what_the_training_cost(adapter: AdapterManifest) -> None:
    figures = adapter.figures.model_copy(update={"tokens": 12_991_763})
    run = TrainingRun(
        hardware="NVIDIA A100-SXM4-40GB",
        devices=4,
        precision="bf16",
        steps=4_385,
        seconds=9_000.5,
        tokens_per_second=7_217.5,
        computed_tokens_per_second=4_173.0,
    )
    card = render_adapter_card(adapter.model_copy(update={"figures": figures, "run": run}), [], "a/b")
    told = card.split("### What it cost")[1].split("## Citation")[0]
    assert [line for line in told.splitlines() if line][2:] == [
        "| Tokens of the training records | 12,991,763 |",
        "| Hardware | NVIDIA A100-SXM4-40GB |",
        "| Devices | 4 |",
        "| Precision | bf16 |",
        "| Steps that were timed | 4,385 |",
        "| Seconds of these steps | 9,000.5 |",
        "| Tokens of records a second | 7,217.5 |",
        "| Tokens through the model a second | 4,173 |",
    ]
    assert check_our_card(card, []) == []
    older = run.model_copy(update={"precision": None, "steps": None})
    card = render_adapter_card(adapter.model_copy(update={"run": older}), [], "a/b")
    assert "None" not in card.split("### What it cost")[1].split("## Citation")[0]
    unknown = render_adapter_card(adapter.model_copy(update={"run": None}), [], "a/b")
    assert "Time, hardware and energy were not recorded" in unknown


def test_one_licence_of_base_and_data_is_the_adapters(
    adapter: AdapterManifest, published: DatasetManifest, backbone: BackboneManifest
) -> None:
    meld = published.figures.corpora["meld"].model_copy(update={"license": "apache-2.0"})
    figures = published.figures.model_copy(update={"corpora": {"meld": meld}})
    card = render_adapter_card(
        adapter, [], "a/b", published.model_copy(update={"figures": figures}), backbone
    )
    assert metadata_of(card)["license"] == "apache-2.0"


def test_what_the_published_dataset_lacks_is_told_of_an_adapter_that_saw_it(
    adapter: AdapterManifest, published: DatasetManifest
) -> None:
    figures = adapter.figures.model_copy(update={"dataset_config": "default"})
    saw_all = adapter.model_copy(update={"figures": figures})
    sentence = "The published dataset lacks the text of meisd"
    assert sentence in render_adapter_card(saw_all, [], "a/b", published)
    assert sentence not in render_adapter_card(adapter, [], "a/b", published)


def test_a_score_folder_has_this_report(
    score: ScoreManifest, golden: Callable[[str, str], None], score_figures_of: Any
) -> None:
    golden("cards/score.md", render_score_report(score))
    drawn = score_figures_of(left_to_chance=1_200, chances={"anger": 0.25, "neutral": 0.75})
    report = render_score_report(score.model_copy(update={"figures": drawn, "outputs": ()}))
    assert "The system draws the label of 1,200 records at random" in report
    assert "was not audited" in report
    assert "![" not in report


def test_no_fact_of_a_card_is_a_literal(
    adapter: AdapterManifest, published: DatasetManifest, backbone: BackboneManifest
) -> None:
    card = render_adapter_card(adapter, [], "somebody/mine", published)
    assert metadata_of(card)["language"] == ["en"]
    assert "- **Published by:** somebody\n" in card
    recipe: dict[str, Any] = dict(published.recipe.resolved)
    entry = corpus_entry("meld").model_copy(update={"language": "hi-Latn"}).model_dump(mode="json")
    recipe["corpora"] = {**recipe["corpora"], "meld": {**recipe["corpora"]["meld"], "entry": entry}}
    hindi = published.model_copy(update={"recipe": published.recipe.model_copy(update={"resolved": recipe})})
    card = render_adapter_card(adapter, [], "somebody/mine", hindi)
    assert metadata_of(card)["language"] == ["hi"]
    assert "- **Language:** hi-Latn\n" in card
    local = render_adapter_card(adapter, [], "mine")
    assert "language" not in metadata_of(local)
    cards = [
        card,
        local,
        render_backbone_card(backbone, "somebody/base"),
        render_backbone_card(backbone, "b"),
    ]
    for text in cards:
        assert "English" not in text
        assert "v1.0.0" not in text
        assert "the maintainers of" not in text
    assert "Published by" not in local
    assert "language" not in metadata_of(cards[2])


def test_an_adapter_of_several_label_spaces_says_how_to_choose_and_its_temperature(
    adapter: AdapterManifest,
) -> None:
    spaces = {"meld": ("anger", "neutral"), "emorynlp": ("peaceful", "neutral")}
    task = {
        "corpora": {name: {"label_space": space, "context_k": 1} for name, space in spaces.items()},
        "max_length": 256,
    }
    figures = adapter.figures.model_copy(update={"task": TrainedTask.model_validate(task)})
    calibration = Calibration(
        temperature=1.5,
        corpus="meld",
        split="validation",
        label_space=spaces["meld"],
        scorer="first_token",
        records=1_100,
        dataset_content_sha256="a" * 64,
        adapter_content_sha256="c" * 64,
        score_content_sha256="e" * 64,
        before=CalibrationErrors(nll=1.25, ece=0.25, brier=0.5),
        after=CalibrationErrors(nll=1.0, ece=0.125, brier=0.375),
    )
    card = render_adapter_card(
        adapter.model_copy(update={"figures": figures}), [], "a/b", calibration=calibration
    )
    assert 'EmotionPredictor.from_pretrained("a/b", corpus="meld")' in card
    assert "It names the emotion of each turn of a conversation: anger, neutral, peaceful." in card
    assert "| 1,100 records of meld, validation | As given | With temperature 1.5000 |" in card
    assert check_our_card(card, []) == []
    assert "### Calibration" not in render_adapter_card(adapter, [], "a/b")
