"""Verifies a published repository, item by item."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from dialoguellm_release.cards.card import split_card
from dialoguellm_release.cards.check import check_our_card, problems_in
from dialoguellm_release.cards.dataset import dataset_license_metadata, hub_license, recipe_of
from dialoguellm_release.cards.model import adapter_license
from dialoguellm_release.corpora.registry import corpus_entries
from dialoguellm_release.dataset.check import content_problems
from dialoguellm_release.errors import Problem, ReleaseError
from dialoguellm_release.folders import MANIFEST, file_problems, git_blob_id, sha256_of, stamp, stamps
from dialoguellm_release.hub.apps import APP_ADAPTERS, app_problems
from dialoguellm_release.hub.checks import (
    Check,
    adapter_problems,
    check_of,
    label_problems,
    not_checked,
    pickle_problems,
    problems_of,
)
from dialoguellm_release.hub.contents import files_sha256, read_release_file
from dialoguellm_release.hub.licenses import copy_problems
from dialoguellm_release.hub.lookup import Absent, Copy, find_published
from dialoguellm_release.hub.secrets import secret_problems
from dialoguellm_release.hub.store import UNCHANGED, Store, outcome
from dialoguellm_release.hub.verify_models import figures_check, loading_check, predictions_check
from dialoguellm_release.layout import CARD
from dialoguellm_release.progress import progress
from dialoguellm_release.prompts import read_prompt
from dialoguellm_release.records import paused_garbage_collection
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.manifests import CALIBRATION, AdapterManifest, Manifest
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe
from dialoguellm_release.schemas.release import RELEASE_FILE, Link, ReleaseFile

CARD_LICENSE = "card licence"


def license_check(copy: Copy) -> Check:
    """Whether the card states the licence of data and base."""
    if copy.dataset:
        registry = corpus_entries(recipe_of(copy.dataset, DatasetRecipe))
        expected = dataset_license_metadata(copy.dataset, registry)
        source = "of the corpora in it"
    elif copy.backbone:
        expected = {"license": hub_license(recipe_of(copy.backbone, BackboneRecipe).license)}
        source = "of its recipe"
    elif copy.adapter:
        if copy.store is None:
            return not_checked(CARD_LICENSE, "for a single folder, its dataset and base are unknown")
        dataset = next((one.dataset for one in copy.linked if one.dataset), None)
        backbone = next((one.backbone for one in copy.linked if one.backbone), None)
        expected = adapter_license(copy.adapter, dataset, backbone)
        source = "of data and base"
    else:
        return not_checked(CARD_LICENSE, "a Space has no licence of others")
    metadata, _ = split_card((copy.folder / CARD).read_text(encoding="utf-8"))
    problems = []
    for key in ("license", "license_name", "license_link"):
        if metadata.get(key) != expected.get(key):
            stated = str(expected.get(key, "nothing")), str(metadata.get(key, "nothing"))
            what = f"is not the licence {source}"
            problems.append(Problem(f"{CARD}: {key}", what, *stated, code="verify.card_license"))
    return check_of(CARD_LICENSE, problems, f"against that {source}")


def link_check(copy: Copy) -> Check:
    """Whether each commit that `release.json` names exists, at the same tag, with the same content."""
    store, links = copy.store, copy.release.depends_on
    if not links:
        if problems := list(_origin_problems(copy)):
            return check_of("links", problems)
        return not_checked("links", "it was made from nothing else of the release")
    if store is None:
        return not_checked("links", "for a single folder, the rest of its release is unknown")
    tag = _tag_of(copy, store)
    problems = [problem for link in links for problem in _link_problems(copy, store, link, tag)]
    problems += _origin_problems(copy)
    compared = f"and against the tag {tag}" if tag else "but against no tag: none was asked for"
    return check_of("links", problems, f"{len(links)} commits and their content, {compared}")


def saved_check(copy: Copy, saved: ReleaseFile | None) -> Check:
    """Whether the repository is the one that a saved `release.json` describes or links to."""
    if saved is None:
        return not_checked("saved", "no saved release.json was given (--release)")
    if copy.name is None:
        return not_checked("saved", "the folder does not say which repository it is")
    if saved.repository == copy.name:
        problems = []
        if saved != copy.release:
            what = "is not what the saved release.json describes: the revision was moved"
            hashes = f"files {saved.files_sha256}", f"files {copy.release.files_sha256}"
            problems.append(Problem(RELEASE_FILE, what, *hashes, code="verify.saved_differs"))
        return check_of("saved", problems, "against the saved release.json of the repository itself")
    links = [link for link in saved.depends_on if link.repository == copy.name]
    if not links:
        return not_checked("saved", f"the saved release.json of {saved.repository} does not name it")
    problems = [_moved(copy.name, link, copy.commit) for link in links if link.commit != copy.commit]
    return check_of("saved", problems, f"against the saved release.json of {saved.repository}")


def _tag_of(copy: Copy, store: Store) -> str | None:
    """The tag that was asked for; None for a branch or a commit."""
    if copy.name is None or copy.revision is None:
        return None
    found = store.resolve(copy.name, copy.revision)
    return copy.revision if found and found.is_tag else None


def _link_problems(copy: Copy, store: Store, link: Link, tag: str | None) -> Iterator[Problem]:
    there = copy.at(link)
    if there is None:
        what = f"{link.repository} has no commit {link.commit}, or this token may not see it"
        yield Problem(RELEASE_FILE, what, code="verify.link_not_found")
        return
    if there.release.repository != link.repository:
        what = f"{link.repository} at {link.commit} says that it is another repository"
        got, code = there.release.repository, "verify.link_to_another"
        yield Problem(RELEASE_FILE, what, link.repository, got, code=code)
    if there.release.content_sha256 != link.content_sha256:
        what = f"{link.repository} at {link.commit} has other content than this was made from"
        got, code = there.release.content_sha256, "verify.link_has_other_content"
        yield Problem(RELEASE_FILE, what, link.content_sha256, got, code=code)
    if tag:
        tagged = store.resolve(link.repository, tag)
        if tagged is None or tagged.commit != link.commit:
            yield _moved(f"the tag {tag} of {link.repository}", link, tagged.commit if tagged else None)


def _origin_problems(copy: Copy) -> Iterator[Problem]:
    """Links of an adapter that differ from what its manifest says it was trained on."""
    if copy.adapter is None:
        return
    figures, named = copy.adapter.figures, copy.release.base
    datasets = [one.dataset for one in copy.linked if one.dataset]
    stated = [
        ("dataset", figures.dataset_content_sha256, [one.content_sha256 for one in datasets]),
        ("prompt", figures.prompt_sha256, [one.figures.prompt_sha256 for one in datasets]),
    ]
    if figures.base_content_sha256 is not None and not figures.base_is_folder:
        backbones = [one.backbone.content_sha256 for one in copy.linked if one.backbone]
        stated.append(("base", figures.base_content_sha256, backbones or ["no backbone at all"]))
    if named is not None:
        stated.append(("base", figures.base, [named.repo_id]))
        stated.append(("base's revision", str(figures.base_revision), [str(named.revision)]))
    for what, expected, found in stated:
        if found and expected not in found:
            problem = f"links to another {what} than it was trained on"
            yield Problem(RELEASE_FILE, problem, expected, found[0], code="verify.other_origin")


def _moved(where: str, link: Link, commit: str | None) -> Problem:
    what = "is at another commit than the one that was linked to: it was moved"
    return Problem(where, what, link.commit, commit or "no commit", code="verify.tag_moved")


@dataclass(frozen=True)
class Verified:
    """The checks of one repository."""

    where: str
    revision: str | None
    commit: str | None
    checks: tuple[Check, ...]

    @property
    def problems(self) -> list[Problem]:
        """Every problem, with the repository in front."""
        return [replace(one, where=f"{self.where}: {one.where}") for one in problems_of(self.checks)]


def verify_release(what: str, at: str, *, sample: int, saved: Path | None) -> list[Verified]:
    """Verifies a published repository, or all of a release; see `steps.release.verify_release`."""
    before = read_release_file(saved) if saved else None
    with tempfile.TemporaryDirectory(prefix="dlm-verify-") as scratch, outcome(UNCHANGED):
        found = find_published(what, at, Path(scratch) / "files")
        return [
            absent(one)
            if isinstance(one, Absent)
            else verify_copy(one, sample, before, Path(scratch) / f"{index}")
            for index, one in enumerate(found)
        ]


def verify_copy(copy: Copy, sample: int, saved: ReleaseFile | None, scratch: Path) -> Verified:
    """The checks on one repository."""
    what_of_a_card = "metadata, configs, links, pictures, paths"
    items: dict[str, Callable[[], Check]] = {
        "transfer": lambda: _transfer_check(copy),
        "release.json": lambda: check_of("release.json", _release_problems(copy), "names itself"),
        "hashes": lambda: check_of("hashes", _hash_problems(copy), "every file, by both lists"),
        "content": lambda: _content_check(copy),
        "card": lambda: check_of("card", problems_in(copy.folder, check_our_card), what_of_a_card),
        CARD_LICENSE: lambda: license_check(copy),
        "corpus licences": lambda: _licences_check(copy),
        "links": lambda: link_check(copy),
        "saved": lambda: saved_check(copy, saved),
        "loading": lambda: loading_check(copy, scratch / "loading"),
        "figures": lambda: figures_check(copy),
        "predictions": lambda: predictions_check(copy, sample, scratch / "predictions"),
    }
    made: dict[str, Callable[[], Check]] = {
        name: partial(_made, name, check, copy.folder) for name, check in items.items()
    }
    with ThreadPoolExecutor(1, "loading") as beside:
        if copy.dataset:  # reading it is work of Arrow, which goes on beside the other checks
            made["loading"] = beside.submit(made["loading"]).result
        checks = [check() for check in made.values()]
    return Verified(copy.name or str(copy.folder), copy.revision, copy.commit, tuple(checks))


def absent(one: Absent) -> Verified:
    """The check of a repository or a revision that does not exist."""
    what = f"has no revision {one.revision}, or this token may not see it"
    problem = Problem(one.where, what, code="verify.not_found")
    return Verified(one.name, one.revision, None, (check_of("transfer", [problem]),))


def _made(name: str, check: Callable[[], Check], folder: Path) -> Check:
    """Makes a check; what it raises is its problem.

    Why no advice except for a transfer: it is for the owner of the folder, and the scratch folder that its
    paths are in is removed.
    """
    try:
        found = check()
    except ReleaseError as error:
        found = check_of(name, error.problems)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SystemExit) as error:
        # A repository is foreign data: a library may raise anything on it.
        what = f"could not be checked: {type(error).__name__}: {error}"
        found = check_of(name, [Problem(name, what, code="verify.check_failed")])
    shown = [replace(one, where=one.where.removeprefix(f"{folder}/")) for one in found.problems]
    if name != "transfer":
        shown = [replace(one, fix=None) for one in shown]
    return replace(found, problems=tuple(shown))


def _transfer_check(copy: Copy) -> Check:
    """Finds files that are missing after the download, or whose hash is not the one that the store lists."""
    if copy.store is None or copy.commit is None or copy.name is None:
        return not_checked("transfer", "a work tree was not transferred")
    fix, problems = "delete it from the cache (hf cache) and verify again", []
    for file, stored in copy.store.tree(copy.name, copy.commit).items():
        path = copy.folder / file
        if not path.is_file():
            what, code = "is missing after the download", "verify.not_downloaded"
            problems.append(Problem(file, what, f"hash {stored.hash}", fix=fix, code=code))
        elif (got := sha256_of(path) if stored.is_lfs else git_blob_id(path)) != stored.hash:
            what, code = "is not the file that the store lists", "verify.other_download"
            problems.append(Problem(file, what, stored.hash, got, fix, code=code))
    return check_of("transfer", problems, f"commit {copy.commit} of {copy.store.where(copy.name)}")


def _release_problems(copy: Copy) -> Iterator[Problem]:
    release = copy.release
    if copy.name is not None and release.repository != copy.name:
        what, code = "names another repository than the one it is in", "verify.other_repository"
        yield Problem(RELEASE_FILE, what, copy.name, release.repository, code=code)
    for manifest in _manifests(copy):
        if manifest.content_sha256 != release.content_sha256:
            what, expected = "states other content than the manifest", manifest.content_sha256
            yield Problem(RELEASE_FILE, what, expected, release.content_sha256, code="verify.other_content")


def _hash_problems(copy: Copy) -> Iterator[Problem]:
    in_no_manifest = [one for name in (MANIFEST, CALIBRATION) if (one := copy.folder / name).is_file()]
    found = [*stamps(copy.folder), *(stamp(one, copy.folder) for one in in_no_manifest)]
    listed = {file.path: file for file in copy.release.files}
    if not listed:
        yield Problem(RELEASE_FILE, "lists no files", code="verify.nothing_listed")
    there = {file.path: file for file in found}
    for path in sorted({*listed, *there}):
        if path not in there:
            yield Problem(path, "is missing, but release.json lists it", code="verify.missing_file")
        elif path not in listed:
            yield Problem(path, "is not in release.json", code="verify.unlisted_file")
        elif there[path] != listed[path]:
            expected, got = f"sha256 {listed[path].sha256}", f"sha256 {there[path].sha256}"
            what, code = "is not the file that was published", "verify.changed_file"
            yield Problem(path, what, expected, got, code=code)
        yield from pickle_problems(path, copy.folder / path) if path in there else ()
    if (total := files_sha256(copy.release.files)) != copy.release.files_sha256:
        what, expected = "files_sha256 is not the hash of its files", copy.release.files_sha256
        yield Problem(RELEASE_FILE, what, expected, total, code="verify.bad_files_sha256")
    reported = {path for path in {*listed, *there} if listed.get(path) != there.get(path)}
    for manifest in _manifests(copy):
        for problem in file_problems(copy.folder, manifest):
            if problem.where.removeprefix(f"{copy.folder}/") not in reported:
                yield problem


def _content_check(copy: Copy) -> Check:
    if dataset := copy.dataset:
        records = sum((dataset.published or dataset.figures).records.values())
        text_free = list(_standoff_problems(copy.folder, dataset))
        if not records and not (dataset.published and dataset.published.standoff):
            return check_of("content", [Problem(MANIFEST, "counts no records", code="verify.no_records")])
        with (
            progress(f"checking {copy.name or copy.folder}", records) as advance,
            paused_garbage_collection(),
        ):
            rules = recipe_of(dataset, DatasetRecipe).clean
            problems = list(content_problems(copy.folder, dataset, rules, advance))
        note = f"schema, counts, labels and contexts of {records:,} records"
        return check_of("content", [*problems, *text_free], note)
    if adapter := copy.adapter:
        return check_of("content", _adapter_problems(copy, adapter), "weights, base, prompt, losses")
    if (copy.folder / APP_ADAPTERS).is_file():
        return check_of("content", _app_problems(copy), "metadata, requirements, adapters, secrets")
    return not_checked("content", "a backbone has no records" if copy.backbone else "a metric has no records")


def _standoff_problems(folder: Path, dataset: DatasetManifest) -> Iterator[Problem]:
    """Where there are more or fewer rows without text than records of the build."""
    import pyarrow.parquet as pq

    for name in dataset.published.standoff if dataset.published else ():
        for split, sizes in dataset.figures.corpora[name].splits.items():
            where, files = f"standoff/{name}/{split}", folder.glob(f"standoff/{name}/{split}-*.parquet")
            if (got := sum(pq.read_metadata(path).num_rows for path in files)) != sizes.utterances:
                what, code = "has other counts than the manifest", "verify.other_counts"
                yield Problem(where, what, f"{sizes.utterances:,} rows", f"{got:,} rows", code=code)


def _app_problems(copy: Copy) -> Iterator[Problem]:
    files = [file.path for file in stamps(copy.folder)]
    yield from app_problems(files, lambda path: (copy.folder / path).read_text(encoding="utf-8"))
    for path in files:
        yield from secret_problems(path, copy.folder / path)


def _adapter_problems(copy: Copy, adapter: AdapterManifest) -> Iterator[Problem]:
    yield from adapter_problems(copy.folder, adapter)
    yield from label_problems(copy.folder, adapter)
    prompt = read_prompt(copy.folder / "prompt.json")
    if prompt.sha256 != adapter.figures.prompt_sha256:
        what = "is not the prompt that the adapter was trained with"
        expected = adapter.figures.prompt_sha256
        yield Problem("prompt.json", what, expected, prompt.sha256, code="verify.other_prompt")


def _licences_check(copy: Copy) -> Check:
    if copy.dataset is None:
        return not_checked("corpus licences", "has no text of a corpus")
    registry = corpus_entries(recipe_of(copy.dataset, DatasetRecipe))
    problems = copy_problems(copy.folder, copy.dataset, registry, copy.visibility)
    return check_of("corpus licences", problems, "each corpus against its corpus file")


def _manifests(copy: Copy) -> Sequence[Manifest]:
    return [one for one in (copy.dataset, copy.backbone, copy.adapter) if one is not None]
