"""The configs that a card lists over the data files of a dataset folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from dialoguellm_release.layout import (
    DEFAULT_CONFIG,
    SFT_CONFIG,
    STANDOFF_CONFIG,
    config_files,
    config_names,
    data_file,
    standoff_file,
)
from dialoguellm_release.schemas.labels import SPLITS, CorpusName, Split


def corpora_in(paths: Iterable[str], corpora: Iterable[CorpusName]) -> tuple[CorpusName, ...]:
    """Those of the corpora that have records among the files."""
    found = {file.corpus for file in map(data_file, paths) if file and not file.is_sft}
    return tuple(corpus for corpus in corpora if corpus in found)


def configs(
    paths: Sequence[str], corpora: Sequence[CorpusName], content: str, prompt_sha256: str, build: str
) -> list[dict[str, object]]:
    """The `configs:` of a card: `default` (all corpora), `clean`, one a corpus, `sft`, `standoff`.

    One that has no files is left out.

    Why: `datasets` caches a local folder by its name and these entries, not by its files; with the hashes
    in the description it notices that the content is another.

    Args:
        corpora: Those of the dataset, in its order.
        content: Hash of the records.
        prompt_sha256: Hash of the prompt, which shapes the rows of `sft`.
        build: Hash of the records of the whole build, which shapes the rows of `standoff`.
    """
    found: list[dict[str, object]] = []
    for name in config_names(corpora):
        data_files = [
            {"split": split, "path": globs}
            for split in SPLITS
            if (globs := _globs(paths, name, split, corpora))
        ]
        if not data_files:
            continue
        entry: dict[str, object] = {"config_name": name}
        if name == DEFAULT_CONFIG:
            entry["default"] = True
        prompt = f" prompt {prompt_sha256}" if name == SFT_CONFIG else ""
        entry["description"] = f"content {content}{prompt}"
        entry["data_files"] = data_files
        found.append(entry)
    return [*found, *_standoff_config(paths, build)]


def _standoff_config(paths: Iterable[str], build: str) -> Iterator[dict[str, object]]:
    files = [file for file in map(standoff_file, paths) if file]
    splits = [split for split in SPLITS if any(file.split == split for file in files)]
    if splits:
        yield {
            "config_name": STANDOFF_CONFIG,
            "description": f"content {build}",
            "data_files": [
                {"split": split, "path": _once(file.glob for file in files if file.split == split)}
                for split in splits
            ],
        }


def _globs(paths: Iterable[str], config: str, split: Split, corpora: Sequence[CorpusName]) -> list[str]:
    files = map(data_file, config_files(paths, config, split, corpora))
    return _once(file.glob for file in files if file)


def _once(globs: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(globs))
