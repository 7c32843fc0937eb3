"""Whether a repository rests on what it says it was made from, and whether a tag was moved since."""

from __future__ import annotations

from collections.abc import Iterator

from dialoguellm_release.errors import Problem
from dialoguellm_release.hub.copies import Copy
from dialoguellm_release.hub.places import Place
from dialoguellm_release.hub.verdicts import Verdict, not_checked, verdict_on
from dialoguellm_release.schemas.manifests import AdapterManifest
from dialoguellm_release.schemas.release import RELEASE_FILE, Link, ReleaseFile


def link_verdict(copy: Copy) -> Verdict:
    """Whether each commit that `release.json` names is there, under the same tag, with the same content."""
    place, links = copy.place, copy.release.depends_on
    if not links:
        return verdict_on("links", _origin_problems(copy), "it was made from nothing else of the release")
    if place is None:
        return not_checked("links", "a folder stands alone: the others of its release are not known")
    tag = _tag_of(copy, place)
    problems = [problem for link in links for problem in _link_problems(copy, place, link, tag)]
    problems += _origin_problems(copy)
    compared = f"and against the tag {tag}" if tag else "but against no tag: none was asked for"
    return verdict_on("links", problems, f"{len(links)} commits and their content, {compared}")


def saved_verdict(copy: Copy, saved: ReleaseFile | None) -> Verdict:
    """Whether the repository is the one that a `release.json` kept from before describes or names."""
    if saved is None:
        return not_checked("saved", "no release.json from before was given (--release)")
    if copy.name is None:
        return not_checked("saved", "the folder does not tell which repository it is")
    if saved.repository == copy.name:
        problems = []
        if saved != copy.release:
            what = "is not the repository that the saved release.json describes: the revision was moved"
            got = f"files {copy.release.files_sha256}"
            problems.append(Problem(RELEASE_FILE, what, f"files {saved.files_sha256}", got))
        return verdict_on("saved", problems, "against the saved release.json of the repository itself")
    links = [link for link in saved.depends_on if link.repository == copy.name]
    if not links:
        return not_checked("saved", f"the saved release.json of {saved.repository} does not name it")
    problems = [_moved(copy.name, link, copy.commit) for link in links if link.commit != copy.commit]
    return verdict_on("saved", problems, f"against the saved release.json of {saved.repository}")


def _tag_of(copy: Copy, place: Place) -> str | None:
    """The tag that was asked for; None where it was a branch or a commit."""
    if copy.name is None or copy.revision is None or not place.is_tag(copy.name, copy.revision):
        return None
    return copy.revision


def _link_problems(copy: Copy, place: Place, link: Link, tag: str | None) -> Iterator[Problem]:
    there = copy.at(link)
    if there is None:
        yield Problem(RELEASE_FILE, f"{link.repository} has no commit {link.commit}, or it may not be seen")
        return
    if there.release.repository != link.repository:
        what = f"what stands at {link.commit} of {link.repository} names itself otherwise"
        yield Problem(RELEASE_FILE, what, link.repository, there.release.repository)
    if there.release.content_sha256 != link.content_sha256:
        what = f"{link.repository} at {link.commit} holds other content than it was made from"
        yield Problem(RELEASE_FILE, what, link.content_sha256, there.release.content_sha256)
    if tag and (tagged := place.commit_of(link.repository, tag)) != link.commit:
        yield _moved(f"the tag {tag} of {link.repository}", link, tagged)


def _origin_problems(copy: Copy) -> Iterator[Problem]:
    """Links of an adapter that do not lead to what its own manifest says it was trained on."""
    adapter = copy.adapter
    if adapter is None:
        return
    for what, expected, found in _origins(copy, adapter):
        if found and expected not in found:
            yield Problem(RELEASE_FILE, f"links to another {what} than it was trained on", expected, found[0])


def _origins(copy: Copy, adapter: AdapterManifest) -> Iterator[tuple[str, str, list[str]]]:
    """What the adapter's manifest states, and what is found at the end of the links."""
    figures = adapter.figures
    datasets = [one.dataset for one in copy.linked if one.dataset]
    yield "dataset", figures.dataset_content_sha256, [one.content_sha256 for one in datasets]
    yield "prompt", figures.prompt_sha256, [one.figures.prompt_sha256 for one in datasets]
    if figures.base_content_sha256 is not None:
        backbones = [one.backbone.content_sha256 for one in copy.linked if one.backbone]
        yield "base", figures.base_content_sha256, backbones or ["no backbone at all"]
    named = copy.release.base
    if named is not None:
        yield "base", figures.base, [named.repo_id]
        yield "base's revision", str(figures.base_revision), [str(named.revision)]


def _moved(what: str, link: Link, commit: str | None) -> Problem:
    return Problem(
        what,
        "stands on another commit than the one that was built upon: it was moved",
        expected=link.commit,
        got=commit or "no commit",
    )
