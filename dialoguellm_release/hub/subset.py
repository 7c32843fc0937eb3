"""What of a dataset may be published: per corpus everything, rows without text, or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from dialoguellm_release.cards.check import CARD
from dialoguellm_release.cards.provenance import recipe_of
from dialoguellm_release.errors import Problem, PublishError
from dialoguellm_release.folders import combined_sha256
from dialoguellm_release.hub.license_gate import license_problems, row_problems
from dialoguellm_release.hub.planned import PlannedFile
from dialoguellm_release.hydration.standoff import write_standoff
from dialoguellm_release.layout import AUDIT, CROISSANT, FIGURE_FILES, LICENSES, DataFile, data_file
from dialoguellm_release.schemas.corpus import CorpusEntry
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest, PublishedSubset
from dialoguellm_release.schemas.labels import SPLITS, CorpusName, Split
from dialoguellm_release.schemas.manifests import FileStamp
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe
from dialoguellm_release.schemas.recipes.release import Visibility

_RENDERED_ANEW = (CARD, CROISSANT, LICENSES, AUDIT)
"""Files that tell of the whole build; a copy gets its own."""


def publishable_part(
    manifest: DatasetManifest,
    corpora: Mapping[CorpusName, CorpusEntry],
    visibility: Visibility,
    folder: Path,
) -> DatasetManifest:
    """The manifest of the published copy: the data files that leave as they are, and what they hold.

    Figures and `content_sha256` stay those of the whole build, so that a copy can be traced to it. Pictures
    of counts (`FIGURE_FILES`, by their exact names) leave as well: a count is nobody's text. The rows of
    `published.standoff` are not among the files: they are made for the copy.

    Args:
        corpora: The registry's entries.
        visibility: Of the repository.
        folder: Where the dataset lies.

    Raises:
        PublishError: The recipe asks for more than may leave, nothing leaves, or a file is not what its
            path says, so that nobody knows what of whom it holds.
        CardError: The dataset was built by a recipe of another version.
    """
    if manifest.published is not None:
        what = "is a published copy, and does not hold what its manifest tells of"
        fix = "name the folder that dlm-release dataset build made"
        raise PublishError(Problem(str(folder), what, fix=fix))
    recipe, figures = recipe_of(manifest, DatasetRecipe), manifest.figures.corpora
    problems = [
        *license_problems(folder, manifest, recipe, corpora, visibility),
        *_stray_files(folder, manifest.outputs),
    ]
    if problems:
        raise PublishError(problems)
    asked = {name: one.distribution for name, one in recipe.corpora.named().items() if name in figures}
    full = [name for name in figures if asked[name] == "full"]
    if not full:
        raise PublishError(_nothing_leaves(folder, figures))
    held = [(file, data_file(file.path)) for file in manifest.outputs]
    data = [(file, one) for file, one in held if one and asked[one.corpus] != "exclude"]
    if problems := list(_row_problems(folder, data)):
        raise PublishError(problems)
    leaving = {file.path for file, one in data if one.corpus in full} | set(FIGURE_FILES)
    sizes = [(split, size) for name in full for split, size in figures[name].splits.items()]
    present: list[Split] = [split for split in SPLITS if split in dict(sizes)]
    published = PublishedSubset(
        left_out=tuple(name for name in figures if asked[name] == "exclude"),
        standoff=tuple(name for name in figures if asked[name] == "standoff"),
        records={name: sum(size.utterances for split, size in sizes if split == name) for name in present},
        dialogues={name: sum(size.dialogues for split, size in sizes if split == name) for name in present},
        published_sha256=combined_sha256(
            (f"{name}/{split}", digest)
            for name in full
            for split, digest in figures[name].content_sha256.items()
        ),
    )
    outputs = tuple(file for file in manifest.outputs if file.path in leaving)
    return manifest.model_copy(update={"outputs": outputs, "published": published})


def standoff_rows(
    manifest: DatasetManifest, corpora: Sequence[CorpusName], folder: Path
) -> dict[str, PlannedFile]:
    """The files without text of the corpora that leave so, by their paths in the repository.

    Args:
        manifest: Of the whole build.
        folder: Where the dataset lies.
    """
    with TemporaryDirectory(prefix="dlm-release-") as scratch:
        written = write_standoff(folder, manifest, corpora, Path(scratch))
        return {file.path: PlannedFile.made((Path(scratch) / file.path).read_bytes()) for file in written}


def _nothing_leaves(folder: Path, names: Mapping[CorpusName, object]) -> Problem:
    return Problem(
        str(folder),
        "its recipe lets the text of no corpus leave",
        expected="distribution: full for one corpus at least",
        got=", ".join(names) or "no corpus",
        fix="set it in the dataset recipe, and build the dataset again",
    )


def _stray_files(folder: Path, files: Sequence[FileStamp]) -> Iterator[Problem]:
    """Files of which it cannot be told whose text they hold."""
    for file in files:
        if data_file(file.path) is None and file.path not in (*_RENDERED_ANEW, *FIGURE_FILES):
            what = "nobody knows whether its text may be passed on: it belongs to no corpus"
            yield Problem(str(folder / file.path), what, fix="build the dataset again")


def _row_problems(folder: Path, data: Sequence[tuple[FileStamp, DataFile]]) -> Iterator[Problem]:
    for file, held in data:
        yield from row_problems(folder / file.path, held)
