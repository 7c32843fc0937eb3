"""What of a dataset may be published by its licences: everything, rows without text, or nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import ValidationError

from dialoguellm_release.cards.dataset import recipe_of
from dialoguellm_release.corpora.registry import bundled_entry
from dialoguellm_release.errors import Problem, PublishError, problems_of
from dialoguellm_release.folders import canonical_json, combined_sha256, sha256_of_text
from dialoguellm_release.hydration.standoff import write_standoff
from dialoguellm_release.layout import (
    AUDIT,
    CARD,
    CROISSANT,
    FIGURE_FILES,
    LICENSES,
    DataFile,
    data_file,
    standoff_file,
)
from dialoguellm_release.leakage.audit import audit_as_json, publishable_audit
from dialoguellm_release.record_columns import record_schema, sft_schema, standoff_schema
from dialoguellm_release.schemas.audit import Audit
from dialoguellm_release.schemas.corpus import DISTRIBUTIONS, CorpusEntry, Distribution
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest, PublishedSubset
from dialoguellm_release.schemas.labels import SPLITS, CorpusName, Split
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe
from dialoguellm_release.schemas.release import Visibility

_AGAIN = "build the dataset again"
_UNKNOWN_FILE = "belongs to no corpus, so it is unknown whether its text may be redistributed"


def license_problems(
    folder: Path,
    manifest: DatasetManifest,
    recipe: DatasetRecipe,
    corpora: Mapping[CorpusName, CorpusEntry],
    visibility: Visibility,
) -> Iterator[Problem]:
    """Where more of a corpus would be published than its licences allow, or that is unknown.

    A right that the recipe states counts in a private repository only. The corpus files decide, whatever a
    manifest says.
    """
    if sha256_of_text(canonical_json(dict(manifest.recipe.resolved))) != manifest.recipe.sha256:
        where, what = f"{folder}: recipe {manifest.recipe.name}", "was changed after the build"
        yield Problem(where, what, fix=_AGAIN, code="licenses.recipe_changed")
    for name, figures in manifest.figures.corpora.items():
        where = f"{folder}: {name}"
        if name not in recipe.corpora:
            what = "is in the dataset, but not in its recipe"
            yield Problem(where, what, fix=_AGAIN, code="licenses.not_in_recipe")
            continue
        entry, text, labels = corpora[name], corpora[name].text_license, corpora[name].label_license
        known = f"{text.id}, may be redistributed: {text.redistribute == 'yes'}"
        stated = f"{figures.license}, may be redistributed: {figures.may_redistribute}"
        if stated != known:
            what = "its manifest states another licence than the corpus file"
            yield Problem(where, what, known, stated, _AGAIN, code="licenses.other_license")
        asked, has_right = recipe.corpora[name].distribution, name in recipe.rights
        allowed = DISTRIBUTIONS[: DISTRIBUTIONS.index(entry.allowed) + 1]
        if asked not in allowed and not (visibility == "private" and has_right):
            what = (
                f"the recipe {manifest.recipe.name} publishes more of {entry.title} than its licences allow "
                f"(text: {text.id}, may be redistributed: {text.redistribute}; "
                f"labels: {labels.id}, may be redistributed: {labels.redistribute})"
            )
            private = (
                f"rights.{name} counts in a private repository only: set dataset.visibility in the release"
                if has_right
                else f"if you hold the right, say which in the recipe under rights.{name}, and set "
                "dataset.visibility to private in the release"
            )
            other = (
                "if its licence allows more, state it in its corpus file and build again; else, "
                if recipe.corpora[name].entry
                else ""
            )
            fix = f"{other}build with --set corpora.{name}.distribution={entry.allowed}; or, {private}"
            where, expected = f"{folder}: corpora.{name}.distribution", " or ".join(allowed)
            yield Problem(where, what, expected, asked, fix, code="licenses.not_allowed")
        known_as = bundled_entry(name) if recipe.corpora[name].entry and asked in allowed else None
        if known_as and _is_refused(known_as, asked):
            what = f"a corpus file of your own allows what the licences of {known_as.title} do not"
            where, fix = f"{folder}: corpora.{name}", "give another corpus another name"
            yield Problem(where, what, known_as.allowed, asked, fix, code="licenses.known_corpus")


def _is_refused(entry: CorpusEntry, asked: Distribution) -> bool:
    """Whether a licence says no to what is asked; what is unknown here may be known to others."""
    sent = {
        "full": (entry.text_license, entry.label_license),
        "standoff": (entry.label_license,),
        "exclude": (),
    }
    return any(terms.redistribute == "no" for terms in sent[asked])


def row_problems(path: Path, held: DataFile) -> Iterator[Problem]:
    """Where a data file has other columns than a build writes, or rows of another corpus or split."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:  # pq.read_table and pa.scalar import pandas
            ids = file.read(columns=["id"])["id"]
    except (pa.ArrowException, KeyError) as error:
        what = f"its rows cannot be read: {error}"
        yield Problem(str(path), what, fix=_AGAIN, code="licenses.unreadable_rows")
        return
    yield from _column_problems(path, (sft_schema() if held.holds == "sft" else record_schema()).names)
    prefix = f"{held.corpus}/{held.split}/"
    strays = ids.filter(pc.invert(pc.starts_with(ids, prefix)), null_selection_behavior="emit_null")
    if len(strays):
        what = "holds rows of another corpus or split than its path says"
        expected, got = f"ids that begin with {prefix}", str(strays[0].as_py())
        yield Problem(str(path), what, expected, got, _AGAIN, code="licenses.foreign_rows")


def _column_problems(path: Path, columns: list[str]) -> Iterator[Problem]:
    import pyarrow.parquet as pq

    if (names := pq.read_schema(path).names) != columns:
        what, code = "has other columns than a build writes", "licenses.other_columns"
        yield Problem(str(path), what, ", ".join(columns), ", ".join(names), _AGAIN, code=code)


def copy_problems(
    folder: Path,
    manifest: DatasetManifest,
    corpora: Mapping[CorpusName, CorpusEntry],
    visibility: Visibility,
) -> Iterator[Problem]:
    """Where a published copy has more of a corpus than its recipe and its corpus file allow."""
    recipe = recipe_of(manifest, DatasetRecipe)
    yield from license_problems(folder, manifest, recipe, corpora, visibility)
    asked = {name: one.distribution for name, one in recipe.corpora.items()}
    for path in sorted(path for path in folder.rglob("*.parquet") if ".git" not in path.parts):
        name = path.relative_to(folder).as_posix()
        if held := data_file(name):
            yield from row_problems(path, held)
            if asked.get(held.corpus) != "full":
                what = f"holds text of {held.corpus}, which may not be redistributed"
                yield Problem(name, what, code="licenses.withheld_text")
        elif standoff := standoff_file(name):
            yield from _column_problems(path, standoff_schema().names)
            if asked.get(standoff.corpus, "exclude") == "exclude":
                what = f"holds labels of {standoff.corpus}, which may not be redistributed"
                yield Problem(name, what, code="licenses.withheld_labels")
        else:
            yield Problem(name, _UNKNOWN_FILE, code="licenses.unknown_file")


_RENDERED_AGAIN = (CARD, CROISSANT, LICENSES, AUDIT)
"""Files about the whole build; a published copy gets its own."""


def publishable_part(
    manifest: DatasetManifest,
    corpora: Mapping[CorpusName, CorpusEntry],
    visibility: Visibility,
    folder: Path,
) -> DatasetManifest:
    """The manifest of the published copy: the data files that are published as they are, and their counts.

    Figures and `content_sha256` stay those of the whole build, so that a copy can be traced to it. Pictures
    of counts (`FIGURE_FILES`, by their exact names) are published as well: they show no text. The rows of
    `published.standoff` are not among the files: they are made for the copy.
    """
    if manifest.published is not None:
        what = "is a published copy, which does not have all that its manifest counts"
        fix = "name the folder that dlm-release dataset build made"
        raise PublishError(Problem(str(folder), what, fix=fix, code="licenses.already_published"))
    recipe, figures = recipe_of(manifest, DatasetRecipe), manifest.figures.corpora
    problems = list(license_problems(folder, manifest, recipe, corpora, visibility))
    for file in manifest.outputs:
        if data_file(file.path) is None and file.path not in (*_RENDERED_AGAIN, *FIGURE_FILES):
            where = str(folder / file.path)
            problems.append(Problem(where, _UNKNOWN_FILE, fix=_AGAIN, code="licenses.unknown_file"))
    if problems:
        raise PublishError(problems)
    asked = {name: one.distribution for name, one in recipe.corpora.items() if name in figures}
    full = [name for name in figures if asked[name] == "full"]
    if not any(one != "exclude" for one in asked.values()):
        what = "its recipe publishes no corpus"
        expected, got = (
            "distribution: full or standoff for one corpus at least",
            ", ".join(figures) or "no corpus",
        )
        fix, code = "set it in the dataset recipe, and build the dataset again", "licenses.nothing_to_publish"
        raise PublishError(Problem(str(folder), what, expected, got, fix, code=code))
    held = [(file, data_file(file.path)) for file in manifest.outputs]
    data = [(file, one) for file, one in held if one and asked[one.corpus] != "exclude"]
    if problems := [found for file, one in data for found in row_problems(folder / file.path, one)]:
        raise PublishError(problems)
    published_paths = {file.path for file, one in data if one.corpus in full} | set(FIGURE_FILES)
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
    outputs = tuple(file for file in manifest.outputs if file.path in published_paths)
    return manifest.model_copy(update={"outputs": outputs, "published": published})


def standoff_rows(manifest: DatasetManifest, corpora: Sequence[CorpusName], folder: Path) -> dict[str, bytes]:
    """The files without text of some corpora of a build, by path in the repository."""
    with TemporaryDirectory(prefix="dlm-release-") as scratch:
        written = write_standoff(folder, manifest, corpora, Path(scratch))
        return {file.path: (Path(scratch) / file.path).read_bytes() for file in written}


_RECORD_ID = re.compile(rf"[a-z][a-z0-9_]*/({'|'.join(SPLITS)})/[^/\s]+/\d+")


def published_audit(path: Path, published: PublishedSubset) -> str:
    """The text of `audit.json` in a published copy.

    Why: the id of a withheld record beside that of a published one would reveal the text of the first.
    """
    where, what = str(path), "is not the audit of a dataset, so it is unknown whose text is in it"
    try:
        audit = Audit.model_validate_json(path.read_bytes())
    except ValidationError as error:
        problems = problems_of(error, where, what, code="licenses.bad_audit", fix=_AGAIN)
        raise PublishError(problems) from error
    ids = [one for group in audit.duplicates for one in group.ids]
    ids += [one.id for group in audit.conflicts for one in group.records]
    if strays := [one for one in ids if not _RECORD_ID.fullmatch(one)]:
        raise PublishError(Problem(where, what, got=strays[0], fix=_AGAIN, code="licenses.bad_audit"))
    return audit_as_json(publishable_audit(audit, published.standoff, published.left_out))
