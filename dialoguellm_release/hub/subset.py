"""The part of a dataset that may be published: the corpora whose licences let their text be passed on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dialoguellm_release.cards.check import CARD
from dialoguellm_release.cards.data_files import data_file
from dialoguellm_release.errors import Problem, PublishError
from dialoguellm_release.folders import combined_sha256
from dialoguellm_release.schemas.corpus import CorpusEntry
from dialoguellm_release.schemas.labels import SPLITS, CorpusName, Split
from dialoguellm_release.schemas.manifest import (
    CROISSANT,
    FIGURE_FILES,
    DatasetManifest,
    PublishedSubset,
)

_RENDERED_ANEW = (CARD, CROISSANT)
"""Files that tell of the whole build; a copy gets its own."""


def publishable_part(
    manifest: DatasetManifest, corpora: Mapping[CorpusName, CorpusEntry], folder: Path
) -> DatasetManifest:
    """The manifest of the published copy: the data files that may leave, and what they hold.

    Figures and `content_sha256` stay those of the whole build, so that a copy can be traced to it. Pictures
    of counts (`FIGURE_FILES`, by their exact names) leave as well: a count is nobody's text.

    Args:
        corpora: The registry's entries; a corpus leaves only where both it and the build allow it.
        folder: For error messages.

    Raises:
        PublishError: Nothing may leave, or of a file it cannot be told what it holds.
    """
    figures = manifest.figures.corpora
    allowed = [
        name
        for name, corpus in figures.items()
        if corpus.may_redistribute and corpora[name].license.may_redistribute
    ]
    if not allowed:
        problem = Problem(str(folder), "no corpus in it may be passed on", got=", ".join(figures) or "none")
        raise PublishError(problem)
    kept, problems = [], []
    for file in manifest.outputs:
        held = data_file(file.path)
        if held is None and file.path not in (*_RENDERED_ANEW, *FIGURE_FILES):
            what = "nobody knows whether its text may be passed on: it belongs to no corpus"
            problems.append(Problem(str(folder / file.path), what, fix="build the dataset again"))
        if file.path in FIGURE_FILES or (held is not None and held.corpus in allowed):
            kept.append(file)
    if problems:
        raise PublishError(problems)
    sizes = [(split, size) for name in allowed for split, size in figures[name].splits.items()]
    present: list[Split] = [split for split in SPLITS if split in dict(sizes)]
    published = PublishedSubset(
        left_out=tuple(name for name in figures if name not in allowed),
        records={name: sum(size.utterances for split, size in sizes if split == name) for name in present},
        dialogues={name: sum(size.dialogues for split, size in sizes if split == name) for name in present},
        published_sha256=combined_sha256(
            (f"{name}/{split}", digest)
            for name in allowed
            for split, digest in figures[name].content_sha256.items()
        ),
    )
    return manifest.model_copy(update={"outputs": tuple(kept), "published": published})
