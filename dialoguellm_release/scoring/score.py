"""A score recipe, a dataset folder and an adapter folder become a score folder."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from dialoguellm_release.backbones import Base, base_of, load_backbone
from dialoguellm_release.encoding import Encoder
from dialoguellm_release.errors import DataError, MissingExtraError, Problem
from dialoguellm_release.folders import (
    canonical_json,
    package_versions,
    read_manifest,
    sha256_of_text,
    staged,
    stamps,
    write_manifest,
    write_text,
)
from dialoguellm_release.knowledge import with_knowledge
from dialoguellm_release.prompts import Prompt, load_prompt, read_prompt
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.records import read_records, record_files
from dialoguellm_release.resources import metric_functions
from dialoguellm_release.schemas.knowledge import Knowledge
from dialoguellm_release.schemas.labels import Label
from dialoguellm_release.schemas.manifest import (
    AdapterManifest,
    DatasetManifest,
    ScoreFigures,
    ScoreManifest,
)
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.schemas.recipes.score import ScoreRecipe
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.scoring.likelihood import label_probabilities

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from transformers import PreTrainedModel


def score(
    recipe: Loaded[ScoreRecipe],
    dataset: Path,
    adapter: Path | None,
    backbone: Loaded[BackboneRecipe],
    backbone_folder: Path | None,
    out: Path,
) -> ScoreManifest:
    """Scores the records of one corpus and split, and writes the score folder; gives the manifest.

    Args:
        adapter: An adapter folder; None scores the backbone alone.
        backbone_folder: Where a backbone of our own making was built; None for one from the Hub.

    Raises:
        DataError: Dataset, adapter and backbone do not belong together, there is no such record, or a
            record does not fit.
        MissingExtraError: A library of the extra `score` is not installed.
    """
    settings = recipe.recipe
    built = read_manifest(dataset, DatasetManifest)
    trained = None if adapter is None else read_manifest(adapter, AdapterManifest)
    base = base_of(backbone.recipe, backbone_folder)
    prompt = load_prompt(built.figures.prompt) if adapter is None else read_prompt(adapter / "prompt.json")
    _check_inputs(built, dataset, trained, adapter, base, prompt)
    every_record = read_records(dataset, settings.corpus, settings.split)
    knowledge = trained.figures.knowledge if trained else Knowledge()
    label_spaces = {name: corpus.label_space for name, corpus in built.figures.corpora.items()}
    records = with_knowledge(islice(every_record, settings.max_records), knowledge, prompt, label_spaces)
    labels = label_spaces[settings.corpus]
    _check_references(records, labels)
    with staged(out, "score") as folder:
        model, tokenizer = load_backbone(backbone.recipe, backbone_folder)
        encoder = Encoder(prompt, tokenizer, settings.max_length)
        prompts = encoder.encode_all(records)
        if adapter is not None:
            model = _with_adapter(model, adapter)
        probabilities = label_probabilities(
            model.eval(), encoder, prompts, labels, settings.scorer, settings.batch_size
        )
        references = [record.output for record in records]
        predictions = [labels[index] for index in probabilities.argmax(axis=1)]
        majority_label = _commonest(references, labels)
        erc_scores = metric_functions("erc_scores").erc_scores
        figures = ScoreFigures(
            corpus=settings.corpus,
            split=settings.split,
            records=len(records),
            truncated_records=sum(prompt.is_shortened for prompt in prompts),
            metrics=erc_scores(references, predictions),
            majority=erc_scores(references, [majority_label] * len(references)),
            majority_label=majority_label,
            scorer=settings.scorer,
            dataset_content_sha256=built.content_sha256,
            prompt_sha256=prompt.sha256,
            adapter_content_sha256=None if trained is None else trained.content_sha256,
            base=base.repo_id,
            base_revision=base.revision,
            base_content_sha256=base.content_sha256,
        )
        _write_predictions(records, predictions, probabilities, labels, folder / "predictions.parquet")
        write_text(folder / "scores.json", _scores_json(figures, references, predictions, labels))
        manifest = ScoreManifest(
            created_by=package_versions("torch", "transformers", "peft", "pyarrow"),
            recipe=recipe.stamp,
            inputs=record_files(dataset, settings.corpus, settings.split),
            outputs=stamps(folder),
            content_sha256=_content_sha256(records, predictions, figures),
            figures=figures,
        )
        write_manifest(folder, manifest)
    return manifest


def _check_inputs(
    built: DatasetManifest,
    dataset: Path,
    trained: AdapterManifest | None,
    adapter: Path | None,
    base: Base,
    prompt: Prompt,
) -> None:
    problems = []
    if built.figures.prompt_sha256 != prompt.sha256:
        holder = "the prompt recipe of today" if adapter is None else f"the adapter {adapter}"
        problems.append(
            Problem(
                str(dataset),
                f"was built with another prompt than {holder} has",
                expected=f"{prompt.name}, sha256 {prompt.sha256}",
                got=f"{built.figures.prompt}, sha256 {built.figures.prompt_sha256}",
                fix="build the dataset again, or train the adapter on this one",
            )
        )
    if trained is not None:
        figures = trained.figures
        wanted = Base(figures.base, figures.base_revision, figures.base_content_sha256)
        if wanted != base:
            problems.append(
                Problem(
                    str(adapter),
                    "was trained on another backbone",
                    expected=_described(wanted),
                    got=_described(base),
                    fix="name the adapter's own backbone, or train the adapter again",
                )
            )
    if problems:
        raise DataError(problems)


def _described(base: Base) -> str:
    parts = [base.repo_id]
    if base.revision is not None:
        parts.append(f"at {base.revision}")
    if base.content_sha256 is not None:
        parts.append(f"with content {base.content_sha256}")
    return " ".join(parts)


def _check_references(records: Sequence[Record], labels: Sequence[Label]) -> None:
    outside = Counter(record.output for record in records if record.output not in labels)
    if outside:
        raise DataError(
            Problem(
                records[0].corpus,
                "the records hold labels that the label space of the corpus lacks",
                expected=", ".join(labels),
                got=", ".join(f"{label} ({count})" for label, count in sorted(outside.items())),
                fix="build the dataset again",
            )
        )


def _with_adapter(model: PreTrainedModel, adapter: Path) -> PreTrainedModel:
    try:
        from peft import PeftModel
    except ModuleNotFoundError as error:
        raise MissingExtraError("score", str(error.name)) from error
    with warnings.catch_warnings():
        # PEFT still uses a name that transformers has deprecated.
        warnings.simplefilter("ignore", FutureWarning)
        return PeftModel.from_pretrained(model, adapter)


def _commonest(references: Sequence[Label], labels: Sequence[Label]) -> Label:
    """The label with the most references; of equals, the first of the label space."""
    return max(labels, key=references.count)


def _write_predictions(
    records: Sequence[Record],
    predictions: Sequence[Label],
    probabilities: NDArray[np.float64],
    labels: Sequence[Label],
    path: Path,
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        "id": [record.id for record in records],
        "reference": [record.output for record in records],
        "prediction": predictions,
        **{f"score_{label}": probabilities[:, index] for index, label in enumerate(labels)},
    }
    pq.write_table(pa.table(columns), path)


def _scores_json(
    figures: ScoreFigures, references: Sequence[Label], predictions: Sequence[Label], labels: Sequence[Label]
) -> str:
    counts = {
        label: {"references": references.count(label), "predictions": predictions.count(label)}
        for label in labels
    }
    return json.dumps({**figures.model_dump(mode="json"), "labels": counts}, indent=2) + "\n"


def _content_sha256(records: Sequence[Record], predictions: Sequence[Label], figures: ScoreFigures) -> str:
    """The hash of what was predicted, of what and from what; not of the probabilities' last digits."""
    lines = [f"{record.id} {label}" for record, label in zip(records, predictions, strict=True)]
    return sha256_of_text("\n".join([*lines, canonical_json(figures)]))
