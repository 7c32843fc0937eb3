from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dialoguellm_release.backbones.load import load_backbone
from dialoguellm_release.encoding import EncodedPrompt, Encoder
from dialoguellm_release.prompts import load_prompt
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.resources import resource_folder
from dialoguellm_release.schemas.labels import LABELS, Split
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.scoring.answers import Scorer
from dialoguellm_release.steps.model import build_backbone
from dialoguellm_release.steps.score import ModelChoice, score
from tests.conftest import Once

SPACE = LABELS[:7]
FEW = "intervals.resamples=50"
"""Intervals cost time, and most tests look at none."""


@pytest.fixture(scope="session")
def bytes_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny backbone that knows no word: a label is a token a letter, and all begin with the same."""
    tiny = (resource_folder("recipes") / "backbones" / "tiny.yaml").read_text(encoding="utf-8")
    path = tmp_path_factory.mktemp("recipes") / "bytes.yaml"
    text = tiny.replace("vocab_size: 1024", "vocab_size: 260")
    path.write_text(text.replace("initializer_range: 0.2", "initializer_range: 0.3"), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def backbones(once: Once, tiny_backbone: Path, bytes_recipe: Path) -> Path:
    """The folder with the backbones of these tests."""

    def build(folder: Path) -> None:
        shutil.copytree(tiny_backbone, folder / "tiny")
        build_backbone(str(bytes_recipe), folder / "bytes")

    return once("scoring_backbones", build)


@pytest.fixture(scope="session", params=["tiny", "bytes"])
def asked(request: pytest.FixtureRequest, backbones: Path, bytes_recipe: Path) -> tuple[Any, Any, Encoder]:
    """A model in float64, its tokenizer and its encoder: with one token a label, and with many."""
    import torch

    from dialoguellm_release.recipes.catalogue import load_recipe

    name = request.param
    reference = name if name == "tiny" else str(bytes_recipe)
    loaded: Loaded[BackboneRecipe] = load_recipe(reference, "backbone", BackboneRecipe)
    model, tokenizer = load_backbone(loaded.recipe, backbones / name)
    return model.to(torch.float64).eval(), tokenizer, Encoder(load_prompt("dialogue-v1"), tokenizer, 1000)


@pytest.fixture(scope="session")
def plain_log_probs() -> Callable[[Any, list[int], list[int]], list[float]]:
    """The log-probability of each token of a completion, by one plain pass over prompt and completion."""

    def passed(model: Any, prompt: list[int], completion: list[int]) -> list[float]:
        import torch

        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([prompt + completion])).logits[0]
        log_probs = logits.log_softmax(-1)
        return [log_probs[len(prompt) - 1 + step, token].item() for step, token in enumerate(completion)]

    return passed


@pytest.fixture(scope="session")
def replies_of() -> Callable[[Scorer, Sequence[EncodedPrompt]], list[Any]]:
    """The replies of a scorer to prompts, in their order."""

    def answered(scorer: Scorer, prompts: Sequence[EncodedPrompt]) -> list[Any]:
        replies: dict[int, Any] = {}
        for batch in scorer.plan(prompts):
            replies |= dict(zip(batch.places, scorer.replies(prompts, batch), strict=True))
        return [replies[place] for place in range(len(prompts))]

    return answered


@pytest.fixture(scope="session")
def dialogues_of(records_of: Callable[[Split, int], list[Record]]) -> Callable[..., list[Record]]:
    """Makes records in dialogues of so many utterances, of two speakers; every second dialogue leaks."""

    def made(split: Split, count: int, length: int = 5, *, audited: bool = True) -> list[Record]:
        records = []
        for place, record in enumerate(records_of(split, count)):
            dialogue, index = divmod(place, length)
            leaks = ("meld/train",) if dialogue % 2 else ()
            records.append(
                record.model_copy(
                    update={
                        "id": f"meld/{split}/{dialogue}/{index}",
                        "dialogue_id": str(dialogue),
                        "utterance_index": index,
                        "speaker": ("Alex", "Robin", "Robin")[place % 3],
                        "leaks": leaks if audited else None,
                    }
                )
            )
        return records

    return made


@pytest.fixture(scope="session")
def audited_dataset(tmp_path_factory: pytest.TempPathFactory, dialogues_of: Any, dataset_of: Any) -> Path:
    """70 records to train on and 40 to score, in dialogues of five; every second dialogue leaks."""
    records = {split: dialogues_of(split, count) for split, count in (("train", 70), ("test", 40))}
    folder: Path = dataset_of(tmp_path_factory.mktemp("datasets") / "audited", records)
    return folder


def _columns(folder: Path) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = pq.read_table(folder / "predictions.parquet").to_pydict()
    return columns


@pytest.fixture(scope="session")
def predictions_in() -> Callable[[Path], dict[str, list[Any]]]:
    """The columns of the predictions of a score folder."""
    return _columns


@pytest.fixture
def run(tiny_adapter: Path, tiny_backbone: Path, audited_dataset: Path, tmp_path: Path) -> Any:
    """Scores into `tmp_path/NAME`, with settings."""

    def score_into(
        name: str,
        *settings: str,
        dataset: Path = audited_dataset,
        adapter: Path | str | None = tiny_adapter,
        backbone: str | None = None,
        cache: Path | None = None,
        **options: Any,
    ) -> Path:
        made = score(
            "meld",
            dataset,
            ModelChoice(adapter, backbone, tiny_backbone.parent, cache or tmp_path / "cache"),
            tmp_path / name,
            **options,
            overrides=(FEW, *settings),
        )
        return made.folder

    return score_into
