"""The steps that lead on from an adapter or its recipe: merge it, train it elsewhere, or on other data."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from dialoguellm_release.backbones.identity import base_of, pinned
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import canonical_json, read_manifest, sha256_of_text, write_text
from dialoguellm_release.layout import CLEAN_CONFIG
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.resources import recording
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import Label, Split
from dialoguellm_release.schemas.manifests import AdapterManifest, ExportManifest, MergedManifest
from dialoguellm_release.schemas.recipes.adapter import AdapterData, AdapterRecipe, InitAdapter
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.schemas.recipes.dataset import CorpusRecipe, DatasetRecipe
from dialoguellm_release.schemas.recipes.score import ScoreRecipe
from dialoguellm_release.step import (
    BUILD,
    Inputs,
    Output,
    StepResult,
    StrPath,
    folder_name,
    main_recipe,
    run_step,
)
from dialoguellm_release.steps.backbone import built_backbone

HELD_OUT: tuple[Split, ...] = ("test", "validation")
"""Where a user's own data is scored, the better choice first."""

SCORED_AT_ONCE = 16
"""The batch size of the bundled score recipes."""


@dataclass(frozen=True)
class NewRecipe:
    """The recipes for a table of a user.

    Attributes:
        recipe: Of the adapter.
        corpus: The corpus file, which says how the table is read.
        dataset: Of the dataset.
        score: Of its scores on the test split, else on the validation split; None where all is to train on.
        records: Records of each split.
        labels: The label space.
    """

    recipe: Path
    corpus: Path
    dataset: Path
    score: Path | None
    records: dict[Split, int]
    labels: tuple[Label, ...]

    @property
    def commands(self) -> tuple[tuple[str, ...], ...]:
        """The commands that build the dataset, train on it and score, as lists of words."""
        built, trained = BUILD / self.dataset.stem, BUILD / "adapters" / self.recipe.stem
        build = ("dlm-release", "dataset", "build", str(self.dataset), "--out", str(built))
        train = ("dlm-release", "adapter", "train", str(self.recipe), "--dataset", str(built), "--out")
        if self.score is None:
            return (build, (*train, str(trained)))
        score = ("dlm-release", "score", "run", str(self.score), "--dataset", str(built))
        return (build, (*train, str(trained)), (*score, "--adapter", str(trained)))


def new_recipe(
    parent: str,
    data: StrPath,
    out: StrPath,
    *,
    context_k: int = 1,
    init_adapter: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> NewRecipe:
    """Writes the corpus file and the recipes to build, train and score on a table.

    An edited file is not overwritten.

    Args:
        parent: The adapter recipe whose settings are taken: a bundled one, or a path.
        data: CSV, TSV, JSON Lines or Parquet with a text and a label in each row, and optionally speaker,
            dialogue and split.
        out: Gets `NAME-corpus.yaml`, `NAME-dataset.yaml`, `NAME.yaml` and `NAME-score.yaml`; NAME is that
            of the file.
        context_k: How many past utterances of the same dialogue a prompt shows.
        init_adapter: A folder or repository id of an adapter to start from; None starts with a new one.
        columns: Names of columns by `text`, `label`, `speaker`, `dialogue` and `split`, where they are not
            the usual ones.

    Returns:
        The paths of the files, and what the table holds.

    Raises:
        DataError: Columns or rows of the table are wrong, each named by its line; or a file exists with
            other content.

    Example:
        >>> new_recipe("tiny", "my.csv", "recipes")  # doctest: +SKIP
    """
    from dialoguellm_release.corpora.guess import corpus_of_table

    data, out = Path(data), Path(out)
    loaded = load_recipe(parent, "adapter", AdapterRecipe)
    settings, trainer = loaded.recipe, loaded.recipe.trainer
    guessed = corpus_of_table(data, out, columns)
    entry, records = guessed.entry, guessed.records
    if not records["validation"]:
        trainer = trainer.model_copy(update={"eval_steps": None, "load_best_model_at_end": False})
    config = CLEAN_CONFIG if settings.data.config == CLEAN_CONFIG else entry.name
    changes = {
        "description": f"{settings.backbone} on {data.name}, with the settings of {loaded.name}.",
        "data": AdapterData(config=config, knowledge=settings.data.knowledge),
        "trainer": trainer,
        "init_adapter": InitAdapter(path=init_adapter) if init_adapter else settings.init_adapter,
    }
    dataset = DatasetRecipe(
        version=1,
        kind="dataset",
        description=f"The utterances of {data.name} as instructions.",
        pretty_name=data.stem,
        prompt=settings.prompt,
        context_k=context_k,
        corpora={entry.name: CorpusRecipe(file=f"{data.stem}-corpus.yaml")},
    )
    held_out = next((split for split in HELD_OUT if records[split]), None)
    made = NewRecipe(
        recipe=out / f"{data.stem}.yaml",
        corpus=out / f"{data.stem}-corpus.yaml",
        dataset=out / f"{data.stem}-dataset.yaml",
        score=out / f"{data.stem}-score.yaml" if held_out else None,
        records=records,
        labels=entry.label_space,
    )
    files = {
        made.corpus: (entry, f"How {data.name} is read, and what is known of it."),
        made.dataset: (dataset, f"Command: {shlex.join(made.commands[0])}"),
        made.recipe: (settings.model_copy(update=changes), f"Command: {shlex.join(made.commands[1])}"),
    }
    if made.score and held_out:
        score = ScoreRecipe(
            version=1,
            kind="score",
            description=f"{data.name}, {held_out} split, headline weighted F1.",
            corpus=entry.name,
            split=held_out,
            max_length=trainer.max_length,
            batch_size=SCORED_AT_ONCE,
        )
        files[made.score] = (score, f"Command: {shlex.join(made.commands[2])}")
    _write_new({path: _as_text(recipe, comment) for path, (recipe, comment) in files.items()})
    return made


def _as_text(recipe: BaseModel, comment: str) -> str:
    import yaml

    values = recipe.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)
    return f"# {comment}\n{text}"


def _write_new(texts: Mapping[Path, str]) -> None:
    """Writes files, or none where one of them exists with other content."""
    edited = [path for path, text in texts.items() if path.exists() and not _holds(path, text)]
    if edited:
        what, fix = "exists with other content", "rename it, or write to another folder with --out"
        raise DataError([Problem(str(path), what, fix=fix, code="recipe.exists") for path in edited])
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_bytes() == text.encode()


@recording()
def merge_adapter(
    adapter: StrPath,
    out: StrPath | None = None,
    *,
    backbones: StrPath = BUILD / "backbones",
    again: bool = False,
    replace: bool = False,
) -> StepResult[MergedManifest]:
    """The folder of a model with an adapter in its weights, proven to answer as base and adapter do.

    Args:
        adapter: Folder that `train_adapter` made.
        out: None is `build/merged/NAME`.
        backbones: Where the backbones are that were built here.
        again: Merge even where the folder is current.
        replace: Replace the merged model of another adapter's recipe.

    Returns:
        The folder and its manifest.

    Raises:
        DataError: There is no adapter, its base is not available, or the merged model answers otherwise.
        MissingExtraError: The extra `train` is not installed.

    Example:
        >>> merge_adapter("build/adapters/tiny")  # doctest: +SKIP
        StepResult(build/merged/tiny: merged, new, content 4a0c2d3e4a5b)
    """
    from dialoguellm_release.training import merge

    adapter = Path(adapter)
    trained = read_manifest(adapter, AdapterManifest)
    name = str(trained.recipe.resolved["backbone"])
    backbone = load_recipe(name, "backbone", BackboneRecipe)
    folder = built_backbone(name, backbone, Path(backbones))
    base = base_of(pinned(backbone.recipe, trained.figures.base_revision), folder)
    inputs = Inputs(
        trained.recipe,
        folders={"adapter": trained.content_sha256, "backbone": canonical_json(base.as_data())},
        packages=("torch", "transformers", "peft"),
    )

    def make(target: Path) -> Output:
        merged = merge.merge_adapter(adapter, backbone, folder, target)
        return Output(merged.content_sha256, {"figures": merged.figures}, trained.outputs)

    target = Path(out or BUILD / "merged" / adapter.name)
    return run_step(MergedManifest, target, inputs, make, again=again, replace=replace)


@recording()
def export_training(
    recipe: StrPath,
    tool: str,
    dataset: StrPath = BUILD / "dataset",
    out: StrPath | None = None,
    *,
    tokenizer: StrPath | None = None,
    backbones: StrPath = BUILD / "backbones",
    overrides: Sequence[str] = (),
    replace: bool = False,
) -> StepResult[ExportManifest]:
    """Writes an adapter recipe's training text for another tool, and a configuration for it.

    Args:
        recipe: Name of a bundled adapter recipe, or a path.
        tool: `trl`, `messages` (for chat models), `axolotl` or `llama-factory`.
        dataset: Folder that `build_dataset` made.
        out: None is `build/exports/TOOL-NAME`.
        tokenizer: Folder of the backbone's tokenizer; None takes one that is on this machine already.
        backbones: Where backbones are built.
        overrides: Settings `key.key=value` of the recipe.
        replace: Replace the export of another recipe or for another tool.

    Returns:
        The folder and its manifest.

    Raises:
        DataError: There is no such tool, no tokenizer, a record does not fit, or the tool would train on
            other tokens.

    Example:
        >>> export_training("tiny", "trl")  # doctest: +SKIP
        StepResult(build/exports/trl-tiny: export, new, content 2f0c2d3e4a5b)
    """
    from dialoguellm_release.backbones.load import local_tokenizer
    from dialoguellm_release.training import export

    if tool not in export.TOOLS:
        known = ", ".join(export.TOOLS)
        raise DataError(Problem("TOOL", "no such tool", known, tool, code="training.no_tool"))
    loaded = main_recipe(recipe, "adapter", AdapterRecipe, overrides)
    backbone = main_recipe(loaded.recipe.backbone, "backbone", BackboneRecipe)
    named = Path(tokenizer) if tokenizer else None
    found = local_tokenizer(backbone.recipe, Path(backbones) / backbone.name, named)
    if found is None:
        fix = "name its folder with --tokenizer"
        what = "its tokenizer is not on this machine"
        raise DataError(Problem(backbone.name, what, fix=fix, code="training.no_tokenizer"))
    data = Path(dataset)
    built = read_manifest(data, DatasetManifest)
    # The tokenizer is an input as much as the dataset; its name says nothing of its content.
    backend = getattr(found, "backend_tokenizer", None)
    content = sha256_of_text(backend.to_str() if backend else canonical_json(found.get_vocab()))
    inputs = Inputs(
        loaded.stamp,
        folders={"dataset": built.content_sha256, "tokenizer": content},
        settings={"tool": tool, "dataset": built.request, "backbone": backbone.name},
        packages=export.PACKAGES,
    )

    def make(folder: Path) -> Output:
        made = export.export_training(loaded, backbone, found, data, tool, folder)
        return Output(made.content_sha256, {"figures": made.figures}, made.files)

    target = Path(out or BUILD / "exports" / f"{tool}-{folder_name(loaded.name, overrides)}")
    return run_step(ExportManifest, target, inputs, make, replace=replace)
