"""Recipes: listed, loaded, shown, validated, and written for data of a user's own."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel

from dialoguellm_release.corpora.guess import DataOptions as DataOptions
from dialoguellm_release.corpora.guess import GuessedCorpus, guess_corpus
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import write_text
from dialoguellm_release.layout import CLEAN_CONFIG
from dialoguellm_release.recipes.catalogue import as_yaml as as_yaml
from dialoguellm_release.recipes.catalogue import json_schema as json_schema
from dialoguellm_release.recipes.catalogue import leaves as leaves
from dialoguellm_release.recipes.catalogue import load_any as load_any
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.recipes.catalogue import validate_recipes as validate_recipes
from dialoguellm_release.recipes.load import Loaded, is_path
from dialoguellm_release.recipes.load import as_kind as as_kind
from dialoguellm_release.recipes.load import bundled as bundled
from dialoguellm_release.schemas.labels import CorpusName, Split
from dialoguellm_release.schemas.recipes.adapter import AdapterData, AdapterRecipe, InitAdapter
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe, BuiltSource
from dialoguellm_release.schemas.recipes.dataset import CorpusRecipe, DatasetRecipe
from dialoguellm_release.schemas.release import (
    AdapterRepository,
    BackboneRepository,
    DatasetRepository,
    ReleaseRecipe,
)
from dialoguellm_release.schemas.scores import ScoreRecipe
from dialoguellm_release.step import BUILD, StrPath

HELD_OUT: tuple[Split, ...] = ("test", "validation")
"""Where a user's own data is scored, the better choice first."""

SCORED_AT_ONCE = 16
"""The batch size of the bundled score recipes."""


@dataclass(frozen=True)
class NewRecipe:
    """The recipes for data of a user's own."""

    recipe: Path  # of the adapter
    corpus: Path  # the corpus file, which says how the data is read
    dataset: Path  # of the dataset
    # Of its scores on the test split, else on the validation split; None where all is to train on.
    score: Path | None
    release: Path | None  # of all of it; None where no owner was named
    files: tuple[Path, ...]  # all that is written
    guessed: GuessedCorpus  # what was found in the data, and how it is read

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
    data: StrPath | Sequence[str],
    out: StrPath,
    *,
    context_k: int = 1,
    init_adapter: str | None = None,
    options: DataOptions | None = None,
    release: str | None = None,
    confirm: Callable[[NewRecipe], bool] | None = None,
) -> NewRecipe:
    """Writes the corpus file and the recipes to build, train and score on data of your own.

    An edited file is not overwritten.

    Args:
        parent: The adapter recipe whose settings are taken: a bundled one, or a path.
        data: CSV, TSV, JSON, JSON Lines or Parquet; a folder of such files, or the id of a dataset
            repository; or several files as `train=FILE`, `validation=FILE` and `test=FILE`.
        out: Gets `NAME-corpus.yaml`, `NAME-dataset.yaml`, `NAME.yaml` and `NAME-score.yaml`; NAME is that
            of the file or the folder. `NAME-data` gets a copy of what `datasets` loads.
        context_k: How many past utterances of the same dialogue a prompt shows.
        init_adapter: A folder or repository id of an adapter to start from; None starts with a new one.
        options: What cannot be read in the data, or should not be guessed.
        release: User or organisation of the Hub under whose name it is published: `NAME-release.yaml` is
            written too, and a backbone recipe where the backbone is one that is built and has no owner yet.
        confirm: Gets the result before anything is written, and says whether to write.

    Returns:
        The paths of the files, and what the data holds.

    Raises:
        DataError: Columns, labels or rows of the data are wrong, each named by its line; or a file exists
            with other content.

    Example:
        >>> new_recipe("tiny", "my.csv", "recipes")  # doctest: +SKIP
    """
    out, named = Path(out), [os.fspath(data)] if isinstance(data, str | os.PathLike) else list(data)
    loaded = load_recipe(parent, "adapter", AdapterRecipe)
    with tempfile.TemporaryDirectory() as scratch:
        guessed = guess_corpus(named, out, options or DataOptions(), Path(scratch))
        title, source = guessed.source.title, guessed.source
        made = NewRecipe(
            recipe=out / f"{title}.yaml",
            corpus=out / f"{title}-corpus.yaml",
            dataset=out / f"{title}-dataset.yaml",
            score=out / f"{title}-score.yaml" if set(HELD_OUT) & set(guessed.splits) else None,
            release=out / f"{title}-release.yaml" if release else None,
            files=(),
            guessed=guessed,
        )
        texts = _texts(loaded, made, context_k, init_adapter, release)
        copies = {out / f"{title}-data" / path.name: path for path in source.paths.values() if source.is_copy}
        made = replace(made, files=(*texts, *copies))
        _refuse_edited(texts, copies)
        if confirm is None or confirm(made):
            _write(texts, copies)
    return made


def _texts(
    parent: Loaded[AdapterRecipe],
    made: NewRecipe,
    context_k: int,
    init_adapter: str | None,
    release: str | None,
) -> dict[Path, str]:
    """The recipes by the path that each is written to."""
    guessed, out = made.guessed, made.recipe.parent
    entry, name = guessed.entry, guessed.source.title
    settings, trainer = parent.recipe, parent.recipe.trainer
    if "validation" not in guessed.splits:
        trainer = trainer.model_copy(update={"eval_steps": None, "load_best_model_at_end": False})
    config = CLEAN_CONFIG if settings.data.config == CLEAN_CONFIG else entry.name
    init = InitAdapter(path=init_adapter) if init_adapter else settings.init_adapter
    if init and Path(init.path).is_dir():
        init = init.model_copy(update={"path": os.path.relpath(init.path, out)})
    named = {key: getattr(settings, key) for key in ("backbone", "prompt")}
    changes = {
        **{key: os.path.relpath(name, out) for key, name in named.items() if is_path(name)},
        "description": f"{settings.backbone} on {name}, with the settings of {parent.name}.",
        "data": AdapterData(config=config, knowledge=settings.data.knowledge),
        "trainer": trainer,
        "init_adapter": init,
    }
    files = dict[Path, tuple[BaseModel, str]]()
    backbone = _named_backbone(settings, release, entry.name)
    if backbone:
        files[out / f"{name}-backbone.yaml"] = (backbone, f"The backbone of {name}.yaml, which is built.")
        changes["backbone"] = f"{name}-backbone.yaml"
    dataset = DatasetRecipe(
        version=1,
        kind="dataset",
        description=f"The utterances of {name} as instructions.",
        pretty_name=name,
        prompt=settings.prompt,
        context_k=context_k,
        corpora={
            entry.name: CorpusRecipe(
                file=made.corpus.name, split=guessed.draw, distribution="full" if release else "exclude"
            )
        },
    )
    files |= {
        made.corpus: (entry, f"How {name} is read, and what is known of it."),
        made.dataset: (dataset, f"Command: {shlex.join(made.commands[0])}"),
        made.recipe: (settings.model_copy(update=changes), f"Command: {shlex.join(made.commands[1])}"),
    }
    if made.score:
        held_out = next(split for split in HELD_OUT if split in guessed.splits)
        score = ScoreRecipe(
            version=1,
            kind="score",
            description=f"{name}, {held_out} split, headline weighted F1.",
            corpus=entry.name,
            split=held_out,
            max_length=trainer.max_length,
            batch_size=SCORED_AT_ONCE,
        )
        files[made.score] = (score, f"Command: {shlex.join(made.commands[2])}")
    if made.release and release:
        recipe = _release_of(release, made, entry.name, parent.name, backbone)
        files[made.release] = (recipe, f"Command: {shlex.join(made.commands[-1])}")
    return {path: _as_text(recipe, comment) for path, (recipe, comment) in files.items()}


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


def _refuse_edited(texts: Mapping[Path, str], copies: Mapping[Path, Path]) -> None:
    """Refuses to write where one of the files exists with other content."""
    edited = [path for path, text in texts.items() if path.exists() and not _holds(path, text.encode())]
    edited += [path for path, copy in copies.items() if path.exists() and not _holds(path, copy.read_bytes())]
    if edited:
        what, fix = "exists with other content", "rename it, or write to another folder with --out"
        raise DataError([Problem(str(path), what, fix=fix, code="recipe.exists") for path in edited])


def _write(texts: Mapping[Path, str], copies: Mapping[Path, Path]) -> None:
    for path in (*texts, *copies):
        path.parent.mkdir(parents=True, exist_ok=True)
    for path, copy in copies.items():
        shutil.copyfile(copy, path)
    for path, text in texts.items():
        write_text(path, text)


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content
