"""The bundled corpus files, one YAML file a corpus in `recipes/corpora/`."""

from __future__ import annotations

from collections.abc import Iterable

from dialoguellm_release.recipes.load import load_file
from dialoguellm_release.resources import cached, resource_folder
from dialoguellm_release.schemas.corpus import CorpusEntry
from dialoguellm_release.schemas.labels import CorpusName


def bundled_corpora() -> tuple[CorpusName, ...]:
    """The names of the corpora that have a bundled file, sorted."""
    folder = resource_folder("recipes") / "corpora"
    return tuple(sorted(path.stem for path in folder.glob("*.yaml")))


def corpus_entries(names: Iterable[CorpusName] | None = None) -> dict[CorpusName, CorpusEntry]:
    """The bundled entries of some corpora by name, those without one left out; None takes all."""
    known = bundled_corpora()
    return {name: corpus_entry(name) for name in (known if names is None else names) if name in known}


@cached
def corpus_entry(name: CorpusName) -> CorpusEntry:
    """What is known of a corpus before a file of it is opened."""
    return load_file(resource_folder("recipes") / "corpora" / f"{name}.yaml", CorpusEntry).recipe
