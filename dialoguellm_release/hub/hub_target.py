"""The Hugging Face Hub as a target, or whatever `HF_ENDPOINT` names, by way of `huggingface_hub`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext

from huggingface_hub import HfApi, get_session, get_token, hf_hub_url
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

from dialoguellm_release.errors import Problem, PublishError
from dialoguellm_release.hub import hub_collection
from dialoguellm_release.hub.compare import changes
from dialoguellm_release.hub.contents import PlannedFile, PlannedRepository
from dialoguellm_release.hub.git import BRANCH
from dialoguellm_release.hub.hub_client import (
    FAILURES,
    is_stale,
    may_pass,
    no_token,
    patiently,
    pause,
    told,
    waits,
)
from dialoguellm_release.hub.hub_upload import Uploads, uses_xet
from dialoguellm_release.hub.targets import (
    HUBS_OWN,
    TRAILER,
    UNFINISHED,
    Advance,
    CollectionPage,
    Standing,
    StoredFile,
    Tree,
)
from dialoguellm_release.layout import CARD
from dialoguellm_release.schemas.recipes.release import Collection
from dialoguellm_release.schemas.release import RepositoryName, repository_of

_HUBS_FIRST_COMMIT = "initial commit"
"""The title of the commit that the Hub makes in a new repository, with a card and a page in a Space."""


class HubTarget:
    """The Hub with the token of this machine (`HF_TOKEN`, or `hf auth login`)."""

    def __init__(self) -> None:
        self._api = HfApi()

    @property
    def shows_uploads(self) -> bool:
        """Xet can only be followed by the progress bars of `huggingface_hub`."""
        return uses_xet()

    def alone(self) -> nullcontext[None]:
        """The Hub has no locks: each commit names its parent instead."""
        return nullcontext()

    def repository(self, name: RepositoryName) -> HubRepository:
        """One repository, there or not."""
        return HubRepository(self._api, name)

    def access_problems(self, names: Sequence[RepositoryName]) -> list[Problem]:
        """Why the token may not write: there is none, it is wrong, only reads, or is somebody else's."""
        if get_token() is None:
            return [no_token()]
        with told(self._api.endpoint):
            found = patiently(self._api.whoami)
        role = found.get("auth", {}).get("accessToken", {}).get("role")
        if role == "read":
            fix = "hf auth login, with a token that may write"
            return [Problem("HF_TOKEN", "the token may only read", fix=fix)]
        if role != "write":
            return []  # what a fine-grained token may do is told by the Hub, repository by repository
        owners = [found["name"], *(one["name"] for one in found.get("orgs", []))]
        return [
            Problem(
                self.repository(name).where,
                "belongs to somebody else than the token",
                expected=f"one of {', '.join(owners)}",
                got=owner,
                fix="use a token of a member, or change repo_id in the release recipe",
            )
            for name in names
            if (owner := repository_of(name)[1].split("/")[0]) not in owners
        ]

    def page_of(self, collection: Collection) -> CollectionPage:
        """The page of a collection, as far as this token may see it."""
        return hub_collection.page_of(self._api, collection)

    def collect(self, collection: Collection, description: str, names: Sequence[RepositoryName]) -> None:
        """Lists the repositories on a page of the Hub, which is made where it is not there."""
        hub_collection.collect(self._api, collection, description, names)


class HubRepository:
    """A repository on the Hub."""

    def __init__(self, api: HfApi, name: RepositoryName) -> None:
        self._api = api
        self._type, self._id = repository_of(name)
        self._uploads = Uploads(api, self._type, self._id)
        self.where = f"{api.endpoint}/{name}"

    def look(self, tag: str) -> Standing | None:
        """What is there; None where the repository is not, or may not be seen with this token."""
        try:
            with told(self.where):
                info = patiently(lambda: self._api.repo_info(self._id, repo_type=self._type))
                branches, tags = self._refs()
        except PublishError as error:
            if isinstance(error.__cause__, RepositoryNotFoundError):
                return None
            raise
        head, tagged = branches.get(BRANCH), tags.get(tag)
        files = self.files_at(head) if head else {}
        tagged_files = files if tagged == head else self.files_at(tagged) if tagged else {}
        card_at, cards = (tagged, tagged_files) if tagged else (head, files)
        return Standing(
            head=head,
            files=files,
            released=self._released(head, files) if head and not tagged else None,
            tagged=tagged,
            tagged_files=tagged_files,
            card=self.text_at(card_at, CARD) if card_at and CARD in cards else None,
            visibility="private" if info.private else "public",
            gated=getattr(info, "gated", None) or False,
        )

    def refusals(self, _standing: Standing | None, _paths: Sequence[str]) -> Iterator[Problem]:
        """Nothing beyond what is compared everywhere."""
        yield from ()

    def prepare(self, planned: PlannedRepository, standing: Standing | None, sdk: str) -> None:
        """Makes it where it is not there, closed as planned before anything is in it."""
        if standing is not None:
            return
        with told(self.where):
            patiently(
                lambda: self._api.create_repo(
                    self._id,
                    repo_type=self._type,
                    visibility=planned.visibility,
                    space_sdk=sdk if self._type == "space" else None,
                    exist_ok=True,
                )
            )
            if planned.gated:
                patiently(
                    lambda: self._api.update_repo_settings(
                        self._id, gated=planned.gated, repo_type=self._type
                    )
                )

    def upload(self, files: Mapping[str, PlannedFile], advance: Advance) -> None:
        """Brings the content of large files; small ones travel in the commit itself."""
        with told(self.where):
            self._uploads.send(files, advance)

    def commit(
        self, files: Mapping[str, PlannedFile], changed: Sequence[str], parent: str | None, message: str
    ) -> str:
        """One commit on top of `parent`; one whose answer was lost is known by its tree.

        Why not `upload_folder`: with Xet it may make several commits of one folder.
        """
        summary, _, description = message.partition("\n")
        additions = {path: files[path] for path in changed if path in files}
        deletions = [path for path in changed if path not in files]

        def attempt() -> str:
            with warnings.catch_warnings():
                # An adapter has the predictions behind its scores with it.
                warnings.filterwarnings("ignore", "It seems that you are about to commit a data file")
                made = self._api.create_commit(
                    self._id,
                    self._uploads.operations(additions, deletions),
                    commit_message=summary,
                    commit_description=description.strip(),
                    repo_type=self._type,
                    parent_commit=parent,
                )
            return made.oid

        with told(self.where):
            for wait_s in waits():
                try:
                    return attempt()
                except FAILURES as error:
                    if not (is_stale(error) or may_pass(error)):
                        raise
                    found = self._head()
                    if found != parent:
                        return self._recognised(found, files)
                    pause(error, wait_s)
            return attempt()

    def files_at(self, commit: str) -> Tree:
        """The files of a commit, as the Hub lists them."""
        with told(self.where):
            listed = list(
                self._api.list_repo_tree(self._id, recursive=True, revision=commit, repo_type=self._type)
            )
        return {
            one.path: StoredFile(
                one.size, one.lfs.sha256 if one.lfs else None, None if one.lfs else one.blob_id
            )
            for one in listed
            if isinstance(one, RepoFile) and one.path not in HUBS_OWN
        }

    def text_at(self, commit: str, path: str) -> str:
        """The text of a file that a commit holds."""
        url = hf_hub_url(self._id, path, repo_type=self._type, revision=commit, endpoint=self._api.endpoint)

        def get() -> str:
            answer = get_session().get(url, headers=build_hf_headers())
            hf_raise_for_status(answer)
            return answer.content.decode("utf-8", errors="replace")

        with told(self.where):
            return patiently(get)

    def show(self, _commit: str) -> None:
        """On the Hub the branch moves with the commit."""

    def set_tag(self, tag: str, commit: str, message: str) -> str:
        """Sets a tag where there is none; the commit that it then stands on, as the Hub lists it."""
        with told(self.where):
            patiently(
                lambda: self._api.create_tag(
                    self._id,
                    tag=tag,
                    tag_message=message,
                    revision=commit,
                    repo_type=self._type,
                    exist_ok=True,
                )
            )
            return self._refs()[1].get(tag, "")

    def _refs(self) -> tuple[dict[str, str], dict[str, str]]:
        """The commits of branches and of tags."""
        refs = patiently(lambda: self._api.list_repo_refs(self._id, repo_type=self._type))
        return (
            {one.name: one.target_commit for one in refs.branches},
            {one.name: one.target_commit for one in refs.tags},
        )

    def _head(self) -> str | None:
        return self._refs()[0].get(BRANCH)

    def _released(self, head: str, files: Tree) -> Tree | None:
        """The files of the newest commit that a release made, or the Hub in a new repository."""
        with told(self.where):
            commits = self._api.list_repo_commits(self._id, repo_type=self._type, revision=head)
        known = (one for one in commits if TRAILER in one.message or one.title == _HUBS_FIRST_COMMIT)
        newest = next((one.commit_id for one in known), None)
        if newest is None:
            return None
        return files if newest == head else self.files_at(newest)

    def _recognised(self, found: str | None, files: Mapping[str, PlannedFile]) -> str:
        """A commit on top of the parent that holds what was sent: ours, whose answer did not arrive."""
        if found and not changes(files, self.files_at(found)):
            return found
        problem = Problem(
            self.where,
            "somebody else made a commit in the meantime",
            got=f"commit {found}",
            fix="look at it, then run the same command again: it plans anew",
        )
        raise PublishError(problem, UNFINISHED)
