"""Recipes: listed, loaded, shown, validated, and written for a table of a user."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import write_text
from dialoguellm_release.layout import CLEAN_CONFIG
from dialoguellm_release.recipes.catalogue import as_yaml as as_yaml
from dialoguellm_release.recipes.catalogue import json_schema as json_schema
from dialoguellm_release.recipes.catalogue import leaves as leaves
from dialoguellm_release.recipes.catalogue import load_any as load_any
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.recipes.catalogue import validate_recipes as validate_recipes
from dialoguellm_release.recipes.names import as_kind as as_kind
from dialoguellm_release.recipes.names import bundled as bundled
from dialoguellm_release.recipes.names import is_path
from dialoguellm_release.schemas.labels import CorpusName, Label, Split
from dialoguellm_release.schemas.recipes.adapter import AdapterData, AdapterRecipe, InitAdapter
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe, BuiltSource
from dialoguellm_release.schemas.recipes.dataset import CorpusRecipe, DatasetRecipe
from dialoguellm_release.schemas.recipes.release import (
    AdapterRepository,
    BackboneRepository,
    DatasetRepository,
    ReleaseRecipe,
)
from dialoguellm_release.schemas.recipes.score import ScoreRecipe
from dialoguellm_release.step import (
    BUILD,
    StrPath,
)

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
        release: Of all of it; None where no owner was named.
        records: Records of each split.
        labels: The label space.
    """

    recipe: Path
    corpus: Path
    dataset: Path
    score: Path | None
    release: Path | None
    records: dict[Split, int]
    labels: tuple[Label, ...]

    @property
    def commands(self) -> tuple[tuple[str, ...], ...]:
        """The commands that build the dataset, train on it, score and publish, as lists of words."""
        built, trained = BUILD / self.dataset.stem, BUILD / "adapters" / self.recipe.stem
        build = ("dlm-release", "dataset", "build", str(self.dataset), "--out", str(built))
        train = ("dlm-release", "adapter", "train", str(self.recipe), "--dataset", str(built), "--out")
        commands = [build, (*train, str(trained))]
        if self.score:
            score = ("dlm-release", "score", "run", str(self.score), "--dataset", str(built))
            commands.append((*score, "--adapter", str(trained)))
        if self.release:
            publish = ("dlm-release", "publish", str(self.release), "--from", str(BUILD), "--to", "hub")
            commands.append((*publish, "--dry-run"))
        return tuple(commands)


def new_recipe(
    parent: str,
    data: StrPath,
    out: StrPath,
    *,
    context_k: int = 1,
    init_adapter: str | None = None,
    columns: Mapping[str, str] | None = None,
    release: str | None = None,
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
        release: User or organisation of the Hub under whose name it is published: `NAME-release.yaml` is
            written too, and a backbone recipe where the backbone is one that is built and has no owner yet.

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
    init = InitAdapter(path=init_adapter) if init_adapter else settings.init_adapter
    if init and Path(init.path).is_dir():
        init = init.model_copy(update={"path": os.path.relpath(init.path, out)})
    named = {key: getattr(settings, key) for key in ("backbone", "prompt")}
    changes = {
        **{key: os.path.relpath(name, out) for key, name in named.items() if is_path(name)},
        "description": f"{settings.backbone} on {data.name}, with the settings of {loaded.name}.",
        "data": AdapterData(config=config, knowledge=settings.data.knowledge),
        "trainer": trainer,
        "init_adapter": init,
    }
    name, files = data.stem, dict[Path, tuple[BaseModel, str]]()
    backbone = _named_backbone(settings, release, entry.name)
    if backbone:
        files[out / f"{name}-backbone.yaml"] = (backbone, f"The backbone of {name}.yaml, which is built.")
        changes["backbone"] = f"{name}-backbone.yaml"
    dataset = DatasetRecipe(
        version=1,
        kind="dataset",
        description=f"The utterances of {data.name} as instructions.",
        pretty_name=data.stem,
        prompt=settings.prompt,
        context_k=context_k,
        corpora={
            entry.name: CorpusRecipe(
                file=f"{data.stem}-corpus.yaml", distribution="full" if release else "exclude"
            )
        },
    )
    held_out = next((split for split in HELD_OUT if records[split]), None)
    made = NewRecipe(
        recipe=out / f"{data.stem}.yaml",
        corpus=out / f"{data.stem}-corpus.yaml",
        dataset=out / f"{data.stem}-dataset.yaml",
        score=out / f"{data.stem}-score.yaml" if held_out else None,
        release=out / f"{data.stem}-release.yaml" if release else None,
        records=records,
        labels=entry.label_space,
    )
    files |= {
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
    if made.release and release:
        recipe = _release_of(release, made, entry.name, loaded.name, backbone)
        files[made.release] = (recipe, f"Command: {shlex.join(made.commands[-1])}")
    _write_new({path: _as_text(recipe, comment) for path, (recipe, comment) in files.items()})
    return made


def _named_backbone(settings: AdapterRecipe, owner: str | None, corpus: CorpusName) -> BackboneRecipe | None:
    """The backbone under the owner's name where it is built, so that it can be published with the adapter."""
    if owner is None:
        return None
    if not re.fullmatch(r"[\w.-]+", owner):
        what, expected = "is not the name of a user or organisation", "letters, digits, - _ ."
        raise DataError(Problem("--release", what, expected, owner, code="recipe.bad_owner"))
    backbone = load_recipe(settings.backbone, "backbone", BackboneRecipe).recipe
    if not isinstance(backbone.source, BuiltSource):
        return None
    source = backbone.source.model_copy(update={"repo_id": f"{owner}/{corpus}-backbone"})
    return backbone.model_copy(update={"source": source})


def _release_of(
    owner: str, made: NewRecipe, corpus: CorpusName, parent: str, backbone: BackboneRecipe | None
) -> ReleaseRecipe:
    """The release of a dataset and an adapter under an owner, from the folders that the commands make."""
    dataset = f"{owner}/{corpus}"
    depends_on = [f"datasets/{dataset}", *([backbone.source.repo_id] if backbone else [])]
    scores = [f"scores/{made.score.stem}-{made.recipe.stem}"] if made.score else []
    named = re.sub(r"[^\w.-]+", "-", f"{corpus}-{parent}")
    folder = f"backbones/{made.recipe.stem}-backbone"
    return ReleaseRecipe(
        version=1,
        kind="release",
        description=f"The dataset of {made.recipe.stem}, and {parent} tuned on it.",
        tag="v1.0.0",
        changelog="The first release.",
        dataset=DatasetRepository(repo_id=dataset, folder=made.dataset.stem),
        backbones=(BackboneRepository(repo_id=backbone.source.repo_id, folder=folder),) if backbone else (),
        adapters=(
            AdapterRepository(
                repo_id=f"{owner}/{named}",
                folder=f"adapters/{made.recipe.stem}",
                scores=tuple(scores),
                depends_on=tuple(depends_on),
            ),
        ),
    )


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
