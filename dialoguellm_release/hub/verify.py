"""What anybody can check of a published repository, item by item."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from dialoguellm_release.cards.provenance import recipe_of
from dialoguellm_release.cards.standing import problems_in
from dialoguellm_release.corpora.registry import corpus_entry
from dialoguellm_release.dataset.check import dataset_problems
from dialoguellm_release.errors import DataError, Problem, PublishError
from dialoguellm_release.folders import MANIFEST, file_problems, stamp, stamps
from dialoguellm_release.hub.copies import Copy, read_release_file
from dialoguellm_release.hub.file_gates import pickle_problems
from dialoguellm_release.hub.gates import adapter_problems, label_problems
from dialoguellm_release.hub.license_gate import copy_problems
from dialoguellm_release.hub.links import files_sha256
from dialoguellm_release.hub.lookup import Absent, look_up
from dialoguellm_release.hub.verdicts import Verdict, not_checked, verdict_on
from dialoguellm_release.hub.verify_card import license_verdict
from dialoguellm_release.hub.verify_links import link_verdict, saved_verdict
from dialoguellm_release.hub.verify_loading import loading_verdict
from dialoguellm_release.hub.verify_scores import answers_verdict, figures_verdict
from dialoguellm_release.progress import progress
from dialoguellm_release.prompts import read_prompt
from dialoguellm_release.schemas.labels import CORPORA
from dialoguellm_release.schemas.manifests import AdapterManifest, Manifest
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe
from dialoguellm_release.schemas.release import RELEASE_FILE, ReleaseFile


@dataclass(frozen=True)
class Verified:
    """What was found of one repository.

    Attributes:
        where: Its name, or the folder.
        revision: As asked for; None for a folder as it stands.
        commit: None likewise.
    """

    where: str
    revision: str | None
    commit: str | None
    verdicts: tuple[Verdict, ...]

    @property
    def problems(self) -> list[Problem]:
        """Everything that is wrong, with the repository in front."""
        return [
            Problem(f"{self.where}: {one.where}", one.what, one.expected, one.got, one.fix)
            for verdict in self.verdicts
            for one in verdict.problems
        ]


def verify_release(what: str, at: str, *, sample: int, saved: Path | None) -> list[Verified]:
    """What was found of each repository that is meant.

    Args:
        what: A folder, a repository `owner/name@v1.0.0`, or a release recipe.
        at: `hub`, or a folder that was published to.
        sample: How many records of each score folder are scored again; 0 for none.
        saved: A `release.json` that was kept from before; None for none.

    Raises:
        DataError: What is meant cannot be told, or the saved file is no `release.json`.
        PublishError: The Hub cannot be reached or does not answer.
        RecipeError: There is no such release recipe.
    """
    kept = read_release_file(saved) if saved else None
    with tempfile.TemporaryDirectory(prefix="dlm-verify-") as scratch, _nothing_was_changed():
        found = look_up(what, at, Path(scratch) / "files")
        return [
            absent(one)
            if isinstance(one, Absent)
            else verify_copy(one, sample, kept, Path(scratch) / f"{index}")
            for index, one in enumerate(found)
        ]


@contextmanager
def _nothing_was_changed() -> Iterator[None]:
    """Lets what the Hub refuses be told as what it is here: a check that was not made."""
    try:
        yield
    except PublishError as error:
        raise PublishError(error.problems, outcome="nothing was changed") from error


def verify_copy(copy: Copy, sample: int, saved: ReleaseFile | None, scratch: Path) -> Verified:
    """The verdicts on one repository.

    Args:
        sample: How many records are scored again; 0 for none.
        saved: A `release.json` that was kept from before; None for none.
        scratch: An empty folder for what loading and scoring write.
    """
    items: list[tuple[str, Callable[[], Verdict]]] = [
        ("transfer", lambda: _transfer_verdict(copy)),
        ("release.json", lambda: verdict_on("release.json", _release_problems(copy), "names itself")),
        ("hashes", lambda: verdict_on("hashes", _hash_problems(copy), "every file, against both lists")),
        ("content", lambda: _content_verdict(copy)),
        ("card", lambda: _card_verdict(copy)),
        ("card licence", lambda: license_verdict(copy)),
        ("corpus licences", lambda: _licences_verdict(copy)),
        ("links", lambda: link_verdict(copy)),
        ("saved", lambda: saved_verdict(copy, saved)),
        ("loading", lambda: loading_verdict(copy, scratch / "loading")),
        ("figures", lambda: figures_verdict(copy)),
        ("answers", lambda: answers_verdict(copy, sample, scratch / "answers")),
    ]
    verdicts = [_made(name, check, copy.folder) for name, check in items]
    return Verified(copy.name or str(copy.folder), copy.revision, copy.commit, tuple(verdicts))


def absent(one: Absent) -> Verified:
    """The verdict on a repository or a revision that is not there."""
    what = f"there is no revision {one.revision}, or it may not be seen with this token"
    problem = Problem(f"{one.place}/{one.name}", what)
    return Verified(one.name, one.revision, None, (verdict_on("transfer", [problem]),))


def _made(name: str, check: Callable[[], Verdict], folder: Path) -> Verdict:
    """A verdict; what a check cannot get over is its problem.

    Why no advice but for a transfer: it is for who made the folder, and may be gone with the scratch folder
    that the paths lead to.
    """
    try:
        verdict = check()
    except (DataError, PublishError) as error:
        verdict = verdict_on(name, error.problems)
    told = tuple(
        replace(
            problem,
            where=problem.where.removeprefix(f"{folder}/"),
            fix=problem.fix if name == "transfer" else None,
        )
        for problem in verdict.problems
    )
    return replace(verdict, problems=told)


def _transfer_verdict(copy: Copy) -> Verdict:
    if copy.place is None or copy.commit is None or copy.name is None:
        return not_checked("transfer", "a folder as it stands")
    problems = copy.place.transfer_problems(copy.name, copy.commit, copy.folder)
    return verdict_on("transfer", problems, f"commit {copy.commit} of {copy.place.title}")


def _release_problems(copy: Copy) -> Iterator[Problem]:
    release = copy.release
    if copy.name is not None and release.repository != copy.name:
        what = "names another repository than the one that it lies in"
        yield Problem(RELEASE_FILE, what, copy.name, release.repository)
    for manifest in _manifests(copy):
        if manifest.content_sha256 != release.content_sha256:
            what = "states another content than the manifest"
            yield Problem(RELEASE_FILE, what, manifest.content_sha256, release.content_sha256)


def _hash_problems(copy: Copy) -> Iterator[Problem]:
    found = list(stamps(copy.folder))
    if (copy.folder / MANIFEST).is_file():
        found.append(stamp(copy.folder / MANIFEST, copy.folder))
    listed = {file.path: file for file in copy.release.files}
    there = {file.path: file for file in found}
    for path in sorted({*listed, *there}):
        if path not in there:
            yield Problem(path, "is missing, but release.json lists it")
        elif path not in listed:
            yield Problem(path, "is not in release.json")
        elif there[path] != listed[path]:
            what = "is not the file that was published"
            yield Problem(path, what, f"sha256 {listed[path].sha256}", f"sha256 {there[path].sha256}")
        yield from pickle_problems(path, copy.folder / path) if path in there else ()
    if (total := files_sha256(copy.release.files)) != copy.release.files_sha256:
        yield Problem(
            RELEASE_FILE, "its files do not give its files_sha256", copy.release.files_sha256, total
        )
    reported = {path for path in {*listed, *there} if listed.get(path) != there.get(path)}
    for manifest in _manifests(copy):
        for problem in file_problems(copy.folder, manifest):
            if problem.where.removeprefix(f"{copy.folder}/") not in reported:
                yield problem


def _content_verdict(copy: Copy) -> Verdict:
    if dataset := copy.dataset:
        records = sum((dataset.published or dataset.figures).records.values())
        hashes = set(file_problems(copy.folder, dataset))
        with progress(f"checking {copy.name or copy.folder}", records) as advance:
            rules = recipe_of(dataset, DatasetRecipe).clean
            found = dataset_problems(copy.folder, dataset, rules, advance)
            problems = [problem for problem in found if problem not in hashes]
        return verdict_on("content", problems, f"schema, counts, labels and contexts of {records:,} records")
    if adapter := copy.adapter:
        return verdict_on("content", _adapter_problems(copy, adapter), "weights, base, prompt, losses")
    return not_checked(
        "content", "a backbone of random weights" if copy.backbone else "a metric has no records"
    )


def _adapter_problems(copy: Copy, adapter: AdapterManifest) -> Iterator[Problem]:
    yield from adapter_problems(copy.folder, adapter)
    yield from label_problems(copy.folder, adapter)
    prompt = read_prompt(copy.folder / "prompt.json")
    if prompt.sha256 != adapter.figures.prompt_sha256:
        what = "is not the prompt that the adapter was trained with"
        yield Problem("prompt.json", what, adapter.figures.prompt_sha256, prompt.sha256)


def _card_verdict(copy: Copy) -> Verdict:
    problems = problems_in(copy.folder, is_ours=True)
    return verdict_on("card", problems, "metadata, configs, links, pictures, paths")


def _licences_verdict(copy: Copy) -> Verdict:
    if copy.dataset is None:
        return not_checked("corpus licences", "holds no text of a corpus")
    registry = {name: corpus_entry(name) for name in CORPORA}
    problems = copy_problems(copy.folder, copy.dataset, registry, copy.visibility)
    return verdict_on("corpus licences", problems, "each corpus against the registry")


def _manifests(copy: Copy) -> Sequence[Manifest]:
    return [one for one in (copy.dataset, copy.backbone, copy.adapter) if one is not None]
