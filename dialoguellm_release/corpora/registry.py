"""Corpus files: the bundled ones in `recipes/corpora/`, and those that a dataset recipe names by a path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dialoguellm_release.errors import Problem, RecipeError
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.recipes.load import Loaded, is_path, load_file
from dialoguellm_release.resources import cached, resource_folder
from dialoguellm_release.schemas.corpus import CorpusEntry
from dialoguellm_release.schemas.labels import CorpusName
from dialoguellm_release.schemas.recipes.dataset import CorpusRecipe, DatasetRecipe, PromptRecipe


def bundled_corpora() -> tuple[CorpusName, ...]:
    """The names of the corpora that have a bundled file, sorted."""
    folder = resource_folder("recipes") / "corpora"
    return tuple(sorted(path.stem for path in folder.glob("*.yaml")))


@cached
def corpus_entry(name: CorpusName) -> CorpusEntry:
    """The bundled file of a corpus."""
    path = resource_folder("recipes") / "corpora" / f"{name}.yaml"
    if not path.is_file():
        expected = f"one of {', '.join(bundled_corpora())}, or a corpus with `file:`"
        fix = f"state the path of its corpus file: corpora.{name}.file"
        raise RecipeError(
            Problem(name, "no bundled corpus has this name", expected, fix=fix, code="corpora.unknown_name")
        )
    return load_file(path, CorpusEntry).recipe


def corpus_entries(recipe: DatasetRecipe | None = None) -> dict[CorpusName, CorpusEntry]:
    """The entries of the corpora of a dataset by name; None for all bundled ones.

    A bundled corpus is described by its bundled file, whatever a manifest says.
    """
    if recipe is None:
        return {name: corpus_entry(name) for name in bundled_corpora()}
    return {name: entry_of(name, corpus) for name, corpus in recipe.corpora.items()}


def entry_of(name: CorpusName, corpus: CorpusRecipe) -> CorpusEntry:
    """The entry of one corpus of a dataset."""
    return corpus.entry or corpus_entry(name)


def bundled_entry(name: CorpusName) -> CorpusEntry | None:
    """The bundled file of a corpus; None for a corpus of a user."""
    return corpus_entry(name) if name in bundled_corpora() else None


def title_of(name: CorpusName) -> str:
    """The title of a bundled corpus; the name of another one."""
    entry = bundled_entry(name)
    return entry.title if entry else name


@dataclass(frozen=True)
class CorpusFolders:
    """Where the native files of the corpora of a dataset are."""

    sources: Path | None  # holds one sub-folder a corpus; None where each corpus file states its own folder
    own: Mapping[CorpusName, Path] = field(default_factory=dict)  # the folders that corpus files state

    def __getitem__(self, name: CorpusName) -> Path:
        folder = self.own.get(name)
        if folder is None:
            assert self.sources is not None
            folder = self.sources / name
        return folder

    def lacking(self, names: Iterable[CorpusName]) -> list[CorpusName]:
        """Corpora whose folder is unknown without `sources`."""
        return [name for name in names if self.sources is None and name not in self.own]


def load_dataset_recipe(
    name: str, overrides: Sequence[str] = ()
) -> tuple[Loaded[DatasetRecipe], dict[CorpusName, Path]]:
    """A dataset recipe with its corpus files and prompt in it, and the folders that corpus files state."""
    loaded = load_recipe(name, "dataset", DatasetRecipe, overrides)
    corpora, folders, problems = dict(loaded.recipe.corpora), dict[CorpusName, Path](), list[Problem]()
    for corpus, options in loaded.recipe.corpora.items():
        if options.file is None:
            continue
        where = loaded.origins.get(("corpora", corpus, "file"))
        base = Path() if where is None or where.file.startswith("--set") else Path(where.file).parent
        path = base / options.file
        if not path.is_file():
            what = f"corpora.{corpus}.file names no file"
            problems.append(Problem(str(where or name), what, got=str(path), code="corpora.no_corpus_file"))
            continue
        entry = load_file(path, CorpusEntry).recipe
        if entry.name != corpus:
            what = "the corpus file has another name than the dataset recipe gives the corpus"
            problems.append(Problem(str(path), what, corpus, entry.name, code="corpora.name_differs"))
        corpora[corpus] = options.model_copy(
            update={"file": None, "entry": entry.model_copy(update={"data": None})}
        )
        if entry.data is not None:
            folders[corpus] = path.parent / entry.data
    if problems:
        raise RecipeError(problems)
    changes: dict[str, object] = {"corpora": corpora}
    if is_path(loaded.recipe.prompt):
        prompt = load_recipe(loaded.recipe.prompt, "prompt", PromptRecipe)
        changes |= {"prompt": prompt.name, "own_prompt": prompt.recipe}
    recipe = loaded.recipe.model_copy(update=changes)
    for corpus in corpora:
        entry_of(corpus, corpora[corpus])
    return replace(loaded, recipe=recipe), folders
