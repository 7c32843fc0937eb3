"""A dataset folder looked through again: files, records, counts, hashes, contexts, `sft` table and ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from dialoguellm_release.dataset.check_ledger import AGAIN, Recollection
from dialoguellm_release.dataset.check_split import SplitCheck
from dialoguellm_release.errors import Problem
from dialoguellm_release.folders import combined_sha256, file_problems
from dialoguellm_release.layout import config_files
from dialoguellm_release.prompts import load_prompt
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.recipes.dataset import CleanRules


def dataset_problems(
    folder: Path, manifest: DatasetManifest, rules: CleanRules, advance: Callable[[int], None]
) -> Iterator[Problem]:
    """Everything in a dataset folder that is not as its manifest, its schema and its recipe say.

    Of a published copy, only the corpora that it holds are looked at.

    Args:
        rules: The recipe's rules of the clean part.
        advance: Told how many records are done more.
    """
    yield from file_problems(folder, manifest)
    figures = manifest.figures
    prompt = load_prompt(figures.prompt)
    if prompt.sha256 != figures.prompt_sha256:
        what = f"was built with another {figures.prompt} than the one that is installed"
        yield Problem(str(folder), what, figures.prompt_sha256, prompt.sha256, AGAIN)
    digests: dict[str, str] = {}
    seen = Recollection(tuple(figures.corpora))
    paths = [file.path for file in manifest.outputs]
    for name, corpus in figures.corpora.items():
        for split in corpus.splits:
            files = config_files(paths, name, split, (name,))
            if not files and manifest.published is not None:
                continue
            checked = SplitCheck(folder, name, split, corpus, prompt, figures.class_labels)
            yield from checked.problems(files, seen, advance)
            digests[f"{name}/{split}"] = checked.content
    expected = manifest.published.published_sha256 if manifest.published else manifest.content_sha256
    got = combined_sha256(digests.items())
    if got != expected:
        yield Problem(str(folder), "its records are not those of the build", expected, got, AGAIN)
    yield from seen.problems(folder, manifest, rules)
