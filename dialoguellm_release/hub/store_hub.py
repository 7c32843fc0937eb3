"""The Hugging Face Hub as a store, or the Hub that `HF_ENDPOINT` names."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import cast, get_args

from huggingface_hub import Collection as HubCollection
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    RepoCard,
    get_session,
    get_token,
    hf_hub_url,
    snapshot_download,
    utils,
)
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.hf_api import RepoFile

from dialoguellm_release.errors import Problem, PublishError
from dialoguellm_release.hub.compare import changes
from dialoguellm_release.hub.contents import PlannedFile, RepoPlan
from dialoguellm_release.hub.hub_errors import (
    FAILURES,
    NOT_SUPPORTED,
    POLICY,
    Result,
    hub_errors,
    is_transient,
    no_token,
    pause,
    retry,
    status_of,
    uses_xet,
    without_secrets,
)
from dialoguellm_release.hub.store import (
    BRANCH,
    HUB_FILES,
    TRAILER,
    UNFINISHED,
    Advance,
    Collected,
    RepoState,
    Revision,
    Store,
    StoredFile,
    Tree,
)
from dialoguellm_release.layout import CARD
from dialoguellm_release.progress import progress
from dialoguellm_release.schemas.release import (
    Collection,
    RepositoryName,
    RepoType,
    Visibility,
    repository_name,
    repository_of,
)

_FIRST_COMMIT = "initial commit"
"""The title of the commit that the Hub makes in a new repository, with a card and a page in a Space."""

_XET_ATTEMPTS = ("HF_XET_CLIENT_RETRY_MAX_ATTEMPTS", "3")
"""By default `hf_xet` retries each of three layers of requests for up to six minutes."""


class HubStore(Store):
    """The Hub with the token of this machine (`HF_TOKEN`, or `hf auth login`)."""

    has_collections = True

    def __init__(self) -> None:
        self._api = HfApi()
        self._sent: dict[tuple[RepositoryName, str], tuple[PlannedFile, CommitOperationAdd]] = {}
        os.environ.setdefault(*_XET_ATTEMPTS)

    @property
    def shows_uploads(self) -> bool:
        """On a terminal the bars of `huggingface_hub` are shown, the only ones that can follow Xet."""
        return sys.stderr.isatty()

    def where(self, name: RepositoryName) -> str:
        """The address of a repository."""
        return f"{self._api.endpoint}/{name}"

    def access_problems(self, names: Sequence[RepositoryName]) -> list[Problem]:
        """Why the token may not write: there is none, it is wrong, only reads, or has another owner."""
        if get_token() is None:
            return [no_token()]
        with hub_errors(self._api.endpoint):
            found = retry(self._api.whoami)
        role = found.get("auth", {}).get("accessToken", {}).get("role")
        if role == "read":
            fix = "hf auth login, with a token that may write"
            return [Problem("HF_TOKEN", "the token may only read", fix=fix, code="hub.read_only_token")]
        if role != "write":
            return []  # The Hub decides for each repository what a fine-grained token may do.
        owners = [found["name"], *(one["name"] for one in found.get("orgs", []))]
        what, expected = "the token belongs to another owner", f"one of {', '.join(owners)}"
        fix, code = "use a token of a member, or change repo_id in the release recipe", "hub.other_owner"
        return [
            Problem(self.where(name), what, expected, owner, fix, code=code)
            for name in names
            if (owner := repository_of(name)[1].split("/")[0]) not in owners
        ]

    def state(self, name: RepositoryName, tag: str) -> RepoState | None:
        """The state of a repository; None where it does not exist, or this token may not see it."""
        with hub_errors(self.where(name)):
            try:
                info = self._ask(name, self._api.repo_info)
                branches, tags = self._refs(name)
            except GatedRepoError:
                raise
            except RepositoryNotFoundError:
                return None
        head, tagged = branches.get(BRANCH), tags.get(tag)
        files = self.tree(name, head) if head else {}
        tagged_files = files if tagged == head else self.tree(name, tagged) if tagged else {}
        card_at, cards = (tagged, tagged_files) if tagged else (head, files)
        released, is_fresh = self._released(name, head, files) if head and not tagged else (None, False)
        return RepoState(
            head=head,
            files=files,
            released=released,
            tagged=tagged,
            tagged_files=tagged_files,
            card=self.read(name, card_at, CARD) if card_at and CARD in cards else None,
            visibility="private" if info.private else "public",
            gated=getattr(info, "gated", None) or False,
            is_fresh=is_fresh,
        )

    def card_problems(self, name: RepositoryName, card: str) -> Iterator[Problem]:
        """Why the Hub would refuse a card; nothing on a Hub that does not validate cards."""
        repo_type, where = repository_of(name)[0], f"{self.where(name)}: {CARD}"
        try:
            with _where_supported(), hub_errors(where):
                retry(lambda: RepoCard(card, ignore_metadata_errors=True).validate(repo_type))
        except ValueError as error:
            got = without_secrets(str(error))
            yield Problem(where, "the Hub refuses this card", got=got, code="hub.card_refused")

    def resolve(self, name: RepositoryName, revision: str) -> Revision | None:
        """The commit of a tag, a branch or a commit id; None where it does not exist."""
        with hub_errors(self.where(name)):
            try:
                branches, tags = self._refs(name)
                if revision in tags:
                    return Revision(tags[revision], is_tag=True)
                if revision in branches:
                    return Revision(branches[revision], is_tag=False)
                found = self._ask(name, self._api.repo_info, revision=revision)
            except GatedRepoError:
                raise
            except (RepositoryNotFoundError, RevisionNotFoundError):
                return None
        return Revision(found.sha, is_tag=False) if found.sha else None

    def visibility(self, name: RepositoryName) -> Visibility:
        """Who may read a repository."""
        with hub_errors(self.where(name)):
            return "private" if self._ask(name, self._api.repo_info).private else "public"

    def tree(self, name: RepositoryName, commit: str) -> Tree:
        """The files of a commit, as the Hub lists them."""
        repo_type, repo_id = repository_of(name)
        list_tree = partial(self._api.list_repo_tree, repo_id, recursive=True, repo_type=repo_type)
        with hub_errors(self.where(name)):
            listed = retry(lambda: list(list_tree(revision=commit)))
        files = [one for one in listed if isinstance(one, RepoFile) and one.path not in HUB_FILES]
        return {
            one.path: StoredFile(one.size, one.lfs.sha256 if one.lfs else one.blob_id, one.lfs is not None)
            for one in files
        }

    def read(self, name: RepositoryName, commit: str, path: str) -> str:
        """The text of a file of a commit."""
        repo_type, repo_id = repository_of(name)
        url = hf_hub_url(repo_id, path, repo_type=repo_type, revision=commit, endpoint=self._api.endpoint)

        def get() -> str:
            answer = get_session().get(url, headers=utils.build_hf_headers())
            utils.hf_raise_for_status(answer)
            return answer.content.decode("utf-8", errors="replace")

        with hub_errors(self.where(name)):
            return retry(get)

    def download(self, name: RepositoryName, commit: str, only: Sequence[str] | None = None) -> Path:
        """A folder with the files of a commit, in the cache of `huggingface_hub`."""
        repo_type, repo_id = repository_of(name)
        lines = nullcontext() if self.shows_uploads else progress(f"downloading {name}", None)
        with hub_errors(self.where(name)), _bars_on_a_terminal(), lines:
            patterns = list(only) if only else None
            found = snapshot_download(repo_id, repo_type=repo_type, revision=commit, allow_patterns=patterns)
        return Path(found)

    def create(self, plan: RepoPlan, state: RepoState | None, sdk: str) -> None:
        """Creates a repository, with visibility and gating as planned before it holds anything.

        A run that stopped between the two requests left a repository without gating: a fresh one is gated.
        """
        create = partial(self._api.create_repo, visibility=plan.visibility, exist_ok=True)
        space_sdk = sdk if repository_of(plan.name)[0] == "space" else None
        with hub_errors(self.where(plan.name), writing=True):
            if state is None:
                self._ask(plan.name, create, space_sdk=space_sdk)
            if plan.gated and (state is None or (state.is_fresh and state.gated != plan.gated)):
                self._ask(plan.name, self._api.update_repo_settings, gated=plan.gated)

    def put(self, name: RepositoryName, files: Mapping[str, PlannedFile], advance: Advance) -> None:
        """Uploads large files; small ones travel in the commit itself."""
        if not files:
            return
        repo_type, repo_id = repository_of(name)
        operations = {path: _addition(path, file) for path, file in files.items()}
        self._sent |= {(name, path): (files[path], one) for path, one in operations.items()}
        with hub_errors(self.where(name), writing=True), _bars_on_a_terminal():
            additions = list(operations.values())
            self._api.preupload_lfs_files(repo_id, additions, repo_type=repo_type, revision=BRANCH)
        for file in files.values():
            advance(file.size)

    def commit(
        self,
        name: RepositoryName,
        files: Mapping[str, PlannedFile],
        changed: Sequence[str],
        parent: str | None,
        message: str,
    ) -> str:
        """Makes one commit on top of `parent`; one whose answer was lost is recognised by its files.

        Why not `upload_folder`: with Xet it may make several commits of one folder.
        """
        repo_type, repo_id = repository_of(name)
        summary, _, description = message.partition("\n")
        create = partial(self._api.create_commit, repo_id, repo_type=repo_type, parent_commit=parent)
        create = partial(create, commit_message=summary, commit_description=description.strip())

        def attempt() -> str:
            with warnings.catch_warnings():
                # An adapter's repository has the predictions behind its scores.
                warnings.filterwarnings("ignore", "It seems that you are about to commit a data file")
                return create(operations=self._operations(name, files, changed)).oid

        with hub_errors(self.where(name), writing=True):
            for wait_s in POLICY.waits():
                try:
                    return attempt()
                except FAILURES as error:
                    is_stale = status_of(error) == 412
                    if not (is_stale or is_transient(error)):
                        raise
                    head = self._refs(name)[0].get(BRANCH)
                    if head != parent:
                        return self._recognised(name, head, files)
                    pause(error, wait_s)
            return attempt()

    def tag(self, name: RepositoryName, tag: str, commit: str, message: str) -> None:
        """Sets a tag; a tag that exists is kept."""
        create = partial(self._api.create_tag, tag=tag, tag_message=message, exist_ok=True)
        with hub_errors(self.where(name), writing=True):
            self._ask(name, create, revision=commit)

    def collected(self, collection: Collection, names: Sequence[RepositoryName]) -> Collected | None:
        """What a release of these repositories would change in a collection; None without collections."""
        where = self._collections_of(collection)
        with _where_supported(), hub_errors(f"{where}: {collection.title}"):
            pages = retry(lambda: list(self._api.list_collections(owner=collection.namespace)))
            slug = next((one.slug for one in pages if one.title == collection.title), None)
            # The list has only a few items of each.
            page = retry(lambda: self._api.get_collection(slug)) if slug else None
            listed = _listed(page) if page else set()
            added = tuple(name for name in names if name not in listed)
            return Collected(collection.title, page.url if page else where, page is None, added)
        return None

    def collect(self, collection: Collection, description: str, names: Sequence[RepositoryName]) -> bool:
        """Adds repositories to a collection, created if needed; False on a Hub without collections."""
        where, namespace = self._collections_of(collection), collection.namespace
        create = partial(self._api.create_collection, collection.title, namespace=namespace)
        add = self._api.add_collection_item
        with _where_supported(), hub_errors(f"{where}: {collection.title}", writing=True):
            page = retry(partial(create, description=description, exists_ok=True))
            listed = _listed(page)
            for name in names:
                if name not in listed:
                    repo_type, repo_id = repository_of(name)
                    retry(partial(add, page.slug, repo_id, repo_type, exists_ok=True))
            return True
        return False

    def _collections_of(self, collection: Collection) -> str:
        return f"{self._api.endpoint}/collections/{collection.namespace}"

    def _ask(self, name: RepositoryName, request: Callable[..., Result], **options: object) -> Result:
        """The result of a request about a repository, tried again where its failure may pass."""
        repo_type, repo_id = repository_of(name)
        return retry(partial(request, repo_id, repo_type=repo_type, **options))

    def _refs(self, name: RepositoryName) -> tuple[dict[str, str], dict[str, str]]:
        """The commits of branches and of tags."""
        refs = self._ask(name, self._api.list_repo_refs)
        return (
            {one.name: one.target_commit for one in refs.branches},
            {one.name: one.target_commit for one in refs.tags},
        )

    def _released(self, name: RepositoryName, head: str, files: Tree) -> tuple[Tree | None, bool]:
        """The files of the newest commit by a release or the Hub, and whether it is the only commit."""
        repo_type, repo_id = repository_of(name)
        with hub_errors(self.where(name)):
            commits = self._api.list_repo_commits(repo_id, repo_type=repo_type, revision=head)
        known = (one for one in commits if TRAILER in one.message or one.title == _FIRST_COMMIT)
        newest = next((one.commit_id for one in known), None)
        if newest is None:
            return None, False
        is_fresh = len(commits) == 1 and commits[0].title == _FIRST_COMMIT
        return (files if newest == head else self.tree(name, newest)), is_fresh

    def _operations(
        self, name: RepositoryName, files: Mapping[str, PlannedFile], changed: Sequence[str]
    ) -> list[CommitOperationAdd | CommitOperationDelete]:
        """What a commit does; the content of a file that `put` sent is not sent again."""
        operations: list[CommitOperationAdd | CommitOperationDelete] = []
        for path in changed:
            file, sent = files.get(path), self._sent.get((name, path))
            if file is None:
                operations.append(CommitOperationDelete(path, is_folder=False))
            else:
                operations.append(sent[1] if sent and sent[0] == file else _addition(path, file))
        return operations

    def _recognised(self, name: RepositoryName, head: str | None, files: Mapping[str, PlannedFile]) -> str:
        """The commit on top of the parent, if it holds what was sent: ours, whose answer did not arrive."""
        if head and not changes(files, self.tree(name, head)):
            return head
        what, got = "somebody else made a commit in the meantime", f"commit {head}"
        fix = "look at that commit, then run the same command again"
        problem = Problem(self.where(name), what, got=got, fix=fix, code="hub.other_commit")
        raise PublishError(problem, UNFINISHED)


@contextmanager
def _where_supported() -> Iterator[None]:
    """Ends the block where the Hub does not have what it asks for."""
    try:
        yield
    except PublishError as error:
        if status_of(error.__cause__) not in NOT_SUPPORTED:
            raise


def _listed(page: HubCollection) -> set[RepositoryName]:
    """The repositories of a collection, which may have papers and other collections as well."""
    return {
        repository_name(cast("RepoType", item.item_type), item.item_id)
        for item in page.items
        if item.item_type in get_args(RepoType)
    }


def _addition(path: str, file: PlannedFile) -> CommitOperationAdd:
    """The addition of a file whose hash is known.

    Why Xet hashes again: it does so while it reads, so the hash is that of what was sent.
    """
    operation = CommitOperationAdd(path, file.content)
    if not uses_xet():
        operation.upload_info.sha256 = bytes.fromhex(file.sha256)
    return operation


@contextmanager
def _bars_on_a_terminal() -> Iterator[None]:
    """Shows the progress bars of `huggingface_hub` on a terminal only."""
    if sys.stderr.isatty() or utils.are_progress_bars_disabled():
        yield
        return
    utils.disable_progress_bars()
    try:
        yield
    finally:
        utils.enable_progress_bars()
