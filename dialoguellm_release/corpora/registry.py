"""The registry: one YAML file a corpus, beside its reader."""

from __future__ import annotations

from pathlib import Path

from dialoguellm_release.recipes.load import load_file
from dialoguellm_release.resources import cached
from dialoguellm_release.schemas.corpus import CorpusEntry
from dialoguellm_release.schemas.labels import CorpusName


@cached
def corpus_entry(name: CorpusName) -> CorpusEntry:
    """What is known of a corpus before a file of it is opened."""
    return load_file(Path(__file__).with_name(f"{name}.yaml"), CorpusEntry).recipe
