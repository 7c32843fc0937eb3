"""Manifests as the steps write them, with figures that no corpus has."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import JsonValue

from dialoguellm_release.corpora.registry import corpus_entry
from dialoguellm_release.layout import FIGURE_FILES, LICENSES
from dialoguellm_release.schemas.audit import (
    Agreement,
    AuditFigures,
    Overlap,
    PartSizes,
    Reconciliation,
    RepeatCounts,
    Sizes,
    SplitStatistics,
    Spread,
)
from dialoguellm_release.schemas.claims import ClaimsRecipe
from dialoguellm_release.schemas.corpus import CorpusEntry
from dialoguellm_release.schemas.dataset_manifest import (
    CorpusFigures,
    DatasetFigures,
    DatasetManifest,
    PublishedSubset,
)
from dialoguellm_release.schemas.labels import CorpusName, Label, Split
from dialoguellm_release.schemas.manifests import (
    AdapterFigures,
    AdapterManifest,
    BackboneManifest,
    FileStamp,
    RecipeStamp,
    ScoreManifest,
)
from dialoguellm_release.schemas.scores import (
    LabelFigures,
    MetricName,
    Part,
    Probabilities,
    ProbabilityFigures,
    ProbabilityMetric,
    ReliabilityBin,
    ScoreFigures,
    SelectedPart,
)
from tests.corpus_names import CORPORA

DATASET, PROMPT, ADAPTER, BASE = ("a" * 64, "b" * 64, "c" * 64, "d" * 64)


def _stamp(name: str, resolved: dict[str, JsonValue]) -> RecipeStamp:
    return RecipeStamp(name=name, sha256="e" * 64, resolved=resolved)


def _file(path: str) -> FileStamp:
    return FileStamp(path=path, bytes=10, sha256="f" * 64)


def _sizes(dialogues: int, utterances: int) -> Sizes:
    return Sizes(dialogues=dialogues, utterances=utterances)


def _spread(median: int, maximum: int) -> Spread:
    return Spread(
        mean=median + 0.5,
        minimum=1,
        p5=2,
        p25=median - 1,
        median=median,
        p75=median + 1,
        p95=maximum - 1,
        maximum=maximum,
    )


def _statistics(median: int, records_after_gap: int, missing_turns: int) -> SplitStatistics:
    return SplitStatistics(
        dialogue_lengths=_spread(median, 2 * median),
        utterance_lengths=_spread(median + 5, 1_000),
        records_after_gap=records_after_gap,
        missing_turns=missing_turns,
    )


def _parts(split: Split, records: int) -> PartSizes:
    duplicates, conflicts = (2, 1) if split == "train" else (0, 0)
    clean = records - 3 - duplicates - conflicts
    return PartSizes(clean=clean, leaked=3, duplicates=duplicates, conflicts=conflicts)


AUDIT = AuditFigures(
    overlaps=(
        Overlap(
            held_out="meld/test",
            training="meisd/train",
            dialogues=3,
            utterances=8,
            utterances_found=2,
            dialogues_with_run=1,
            utterances_in_runs=4,
            dialogues_covered=1,
            dialogues_identical=0,
            ngram_share=0.125,
        ),
    ),
    pairs_without_overlap=3,
    duplicates=RepeatCounts(groups=7, records=1_015, groups_of_5_words=5, groups_across_corpora=1),
    conflicts=RepeatCounts(groups=2, records=4, groups_of_5_words=1, groups_across_corpora=2),
    agreement=(
        Agreement(
            first="meld",
            second="meisd",
            utterances=4,
            ambiguous=1,
            counts={"anger": {"anger": 1, "neutral": 1}, "neutral": {"anger": 0, "neutral": 2}},
            shares={"anger": {"anger": 0.5, "neutral": 0.5}, "neutral": {"anger": 0.0, "neutral": 1.0}},
            observed=0.75,
            kappa=0.5,
        ),
    ),
)


def _corpus(
    entry: CorpusEntry, splits: dict[Split, Sizes], labels: tuple[Label, Label], **more: object
) -> CorpusFigures:
    first, second = labels
    return CorpusFigures.model_validate(
        {
            "license": entry.text_license.id,
            "may_redistribute": entry.text_license.redistribute == "yes",
            "label_space": entry.label_space,
            "files": (),
            "unknown_files": (),
            "repairs": {},
            "unused": _sizes(0, 0),
            "splits": splits,
            "parts": {split: _parts(split, size.utterances) for split, size in splits.items()},
            "labels": {split: {first: 1, second: size.utterances - 1} for split, size in splits.items()},
            "content_sha256": dict.fromkeys(splits, "1" * 64),
            **more,
        }
    )


@pytest.fixture
def registry() -> dict[CorpusName, CorpusEntry]:
    return {name: corpus_entry(name) for name in CORPORA}


@pytest.fixture
def claims() -> ClaimsRecipe:
    return ClaimsRecipe(
        version=1,
        kind="claims",
        description="Figures of a test.",
        source="a paper of the tests, Table 1",
        places=dict.fromkeys(("counts", "training_dialogues", "label_percentages"), "Table 1"),
        corpora={
            "meld": {"train": _sizes(1_001, 4_000), "test": _sizes(3, 12)},
            "meisd": {"train": _sizes(5, 50)},
            "iemocap": {"train": _sizes(12, 120)},
        },
        training_dialogues=1_018,
        label_percentages={"happiness": 31.2, "acceptance": 4.0},
    )


@pytest.fixture
def dataset(registry: dict[CorpusName, CorpusEntry]) -> DatasetManifest:
    """A build of two corpora, one of which may not be passed on; a third was skipped."""
    meld = _corpus(
        registry["meld"],
        {"train": _sizes(1_000, 4_000), "test": _sizes(3, 12)},
        ("neutral", "happiness"),
        unknown_files=("meld/train_sent_emo.csv",),
        repairs={"c1_to_cp1252": 3_492},
    )
    meisd = _corpus(
        registry["meisd"],
        {"train": _sizes(5, 50), "test": _sizes(2, 20)},
        ("acceptance", "anger"),
        unused=_sizes(1, 9),
    )
    rows = (
        (
            "meld",
            "train",
            _sizes(1_001, 4_000),
            _sizes(1_000, 4_000),
            _sizes(1_000, 4_000),
            "an id | is left out",
        ),
        ("meld", "test", _sizes(3, 12), _sizes(3, 12), _sizes(3, 12), None),
        ("meisd", "train", _sizes(5, 50), None, _sizes(5, 50), None),
        ("meisd", "test", None, _sizes(2, 21), _sizes(2, 20), None),
    )
    names = ("corpus", "split", "paper", "public", "built", "reason")
    return DatasetManifest(
        created_by={"dialoguellm-release": "0.1.0"},
        recipe=_stamp(
            "paper",
            {
                "version": 1,
                "kind": "dataset",
                "description": "Corpora of the tests.",
                "pretty_name": "Instructions of the tests",
                "synthetic": False,
                "prompt": "dialogue-v1",
                "claims": "dialoguellm-2310.11374",
                "context_k": 1,
                "label_space": "corpus",
                "relabel": {},
                "corpora": {"meld": {}},
            },
        ),
        inputs=(),
        outputs=tuple(
            _file(path)
            for corpus in ("meisd", "meld")
            for split in ("test", "train")
            for path in (
                f"data/{corpus}/{split}-clean-00000.parquet",
                f"sft/{split}-{corpus}-clean-00000.parquet",
            )
        )
        + tuple(map(_file, (*FIGURE_FILES, LICENSES))),
        content_sha256=DATASET,
        figures=DatasetFigures(
            records={"train": 4_050, "validation": 0, "test": 32},
            dialogues={"train": 1_005, "validation": 0, "test": 5},
            corpora={"meld": meld, "meisd": meisd},
            skipped=("iemocap",),
            context_k=1,
            prompt="dialogue-v1",
            prompt_sha256=PROMPT,
            split_draws={"meisd": {"seed": 7, "dialogues": {"GA": {"train": 5, "test": 2, "unused": 1}}}},
            relabelled={},
            reconciliation=tuple(
                Reconciliation.model_validate({**dict(zip(names, row, strict=True)), "expected": None})
                for row in rows
            ),
            audit=AUDIT,
            statistics={
                "meld": {"train": _statistics(9, 1_226, 1_641), "test": _statistics(8, 0, 0)},
                "meisd": {"train": _statistics(20, 3, 4), "test": _statistics(19, 1, 1)},
            },
        ),
    )


@pytest.fixture
def published(dataset: DatasetManifest) -> DatasetManifest:
    """The same without the corpus that may not be passed on."""
    subset = PublishedSubset(
        left_out=("meisd",),
        records={"train": 4_000, "test": 12},
        dialogues={"train": 1_000, "test": 3},
        published_sha256="2" * 64,
    )
    outputs = tuple(file for file in dataset.outputs if "meisd" not in file.path)
    return dataset.model_copy(update={"outputs": outputs, "published": subset})


@pytest.fixture
def backbone() -> BackboneManifest:
    return BackboneManifest(
        created_by={"dialoguellm-release": "0.1.0", "torch": "2.13.0"},
        recipe=_stamp(
            "tiny",
            {
                "version": 1,
                "kind": "backbone",
                "description": "A small LLaMA of the tests.",
                "license": "apache-2.0",
                "source": {
                    "type": "built",
                    "repo_id": "dialoguellm/tiny-llama",
                    "seed": 3,
                    "vocab_size": 512,
                    "hidden_size": 64,
                    "intermediate_size": 128,
                    "num_hidden_layers": 2,
                    "num_attention_heads": 4,
                    "initializer_range": 0.2,
                    "max_position_embeddings": 512,
                },
            },
        ),
        inputs=(),
        outputs=(_file("model.safetensors"),),
        content_sha256=BASE,
        parameters=123_456,
    )


@pytest.fixture
def adapter() -> AdapterManifest:
    return AdapterManifest(
        created_by={"dialoguellm-release": "0.1.0", "peft": "0.21.2"},
        recipe=_stamp(
            "tiny",
            {
                "version": 1,
                "kind": "adapter",
                "description": "An adapter of the tests.",
                "backbone": "tiny",
                "prompt": "dialogue-v1",
                "data": {"config": "meld", "max_records": None},
                "lora": {
                    "r": 4,
                    "lora_alpha": 16,
                    "lora_dropout": 0.05,
                    "target_modules": ["q_proj", "v_proj"],
                },
                "trainer": {
                    "learning_rate": 0.0003,
                    "num_train_epochs": 1.0,
                    "per_device_train_batch_size": 8,
                    "max_length": 256,
                },
                "seed": 11,
            },
        ),
        inputs=(),
        outputs=(_file("adapter_model.safetensors"),),
        content_sha256=ADAPTER,
        figures=AdapterFigures(
            base="dialoguellm/tiny-llama",
            base_revision=None,
            base_content_sha256=BASE,
            dataset_config="meld",
            dataset_content_sha256=DATASET,
            prompt_sha256=PROMPT,
            records=4_000,
            truncated_records=7,
            trainable_parameters=2_048,
            steps=500,
            first_loss=6.25,
            last_loss=1.5,
            seed=11,
        ),
    )


def _probabilities(ece: float, temperature: float | None = None) -> Probabilities:
    errors: dict[ProbabilityMetric, float] = {"ece": ece, "brier": 0.5, "aurc": 0.125}
    figures = ProbabilityFigures(
        metrics=errors,
        intervals={name: (value / 2, value * 2) for name, value in errors.items()},
        bins=(ReliabilityBin(records=12, confidence=0.5, accuracy=0.75),) * 15,
        risk=(0.25,),
    )
    metrics: dict[MetricName, float] = {"accuracy": 0.875, "weighted_f1": 0.75}
    surest = SelectedPart(
        coverage=0.9,
        min_probability=0.375 if temperature else 0.5,
        records=11,
        dialogues=3,
        metrics=metrics,
        intervals={name: (value - 0.125, value + 0.125) for name, value in metrics.items()},
    )
    return Probabilities(temperature=temperature, all=figures, clean=figures, selected=(surest,))


@pytest.fixture
def score(score_figures_of: Callable[..., ScoreFigures]) -> ScoreManifest:
    metrics: dict[MetricName, float] = {"accuracy": 0.75, "weighted_f1": 0.70005}
    intervals: dict[MetricName, tuple[float, float]] = {
        name: (value - 0.125, value + 0.125) for name, value in metrics.items()
    }
    return ScoreManifest(
        created_by={"dialoguellm-release": "0.1.0"},
        recipe=_stamp("meld", {}),
        inputs=(),
        outputs=tuple(_file(f"figures/{name}.png") for name in ("confusion", "coverage", "reliability")),
        content_sha256="9" * 64,
        figures=score_figures_of(
            protocol={"dataset_content_sha256": DATASET, "prompt_sha256": PROMPT},
            system={
                "base": "dialoguellm/tiny-llama",
                "base_content_sha256": BASE,
                "adapter_content_sha256": ADAPTER,
                "training_sha256": "7" * 64,
                "seed": 11,
            },
            metrics=metrics,
            probabilities=_probabilities(0.25),
            calibrated=_probabilities(0.0625, temperature=1.5),
            clean=Part(records=8, dialogues=2, metrics=metrics, intervals=intervals),
            per_label={
                label: LabelFigures(precision=0.5, recall=0.25, f1=1 / 3, references=6, predictions=6.0)
                for label in ("anger", "neutral")
            },
            confusion_matrix=((3.0, 2.0, 1.0), (0.0, 6.0, 0.0)),
            breakdown={
                "speaker": {"changed": Part(records=9, dialogues=3, metrics=metrics, intervals=intervals)}
            },
        ),
    )
