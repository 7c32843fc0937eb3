from __future__ import annotations

import fcntl
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dialoguellm_release.errors import PublishError
from dialoguellm_release.folders import git_blob_id
from dialoguellm_release.hub.publish import Published, publish_release
from dialoguellm_release.hub.store_folder import FolderStore, GitRepository
from tests.hub.codes import refuses

if TYPE_CHECKING:
    from tests.conftest import Ended
    from tests.hub.conftest import Build

REPOSITORIES = (
    "datasets/dialoguellm/instructions",
    "models/dialoguellm/tiny-llama",
    "spaces/dialoguellm/erc_scores",
    "models/dialoguellm/tiny",
)
DATASET = REPOSITORIES[0]


def publish(
    build: Build, target: Path, *, folder: Path | None = None, dry_run: bool = False
) -> tuple[Published, ...]:
    done = publish_release(build.recipe, folder or build.path, FolderStore(target), dry_run=dry_run)
    return done.repositories


def git(path: Path, *arguments: str) -> str:
    """Git as a user has it, to look at what was published."""
    return subprocess.run(
        ["git", "-C", str(path), *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def state(target: Path) -> dict[str, str]:
    """Branches, tags, and whether the work trees stand at the branch."""
    return {
        name: git(target / name, "for-each-ref", "--format=%(refname) %(objectname)")
        + git(target / name, "status", "--porcelain")
        for name in REPOSITORIES
        if (target / name).exists()
    }


def is_at(target: Path, tag: str) -> bool:
    """Whether every repository stands at a tag, work tree and all."""
    return all(
        git(target / name, "rev-parse", "HEAD") == git(target / name, "rev-parse", f"refs/tags/{tag}")
        and git(target / name, "rev-parse", "--abbrev-ref", "HEAD") == "main"
        and git(target / name, "status", "--porcelain") == ""
        for name in REPOSITORIES
    )


def test_a_release_makes_git_repositories_that_stand_at_its_tag(build: Build, target: Path) -> None:
    results = publish(build, target)
    assert [Path(one.where).relative_to(target).as_posix() for one in results] == list(REPOSITORIES)
    assert [one.state for one in results] == ["committed"] * 4
    assert [one.commit for one in results] == [
        git(target / name, "rev-parse", "HEAD") for name in REPOSITORIES
    ]
    assert is_at(target, "v1.0.0")
    data = "data/meld/test-clean-00000.parquet"
    assert (target / DATASET / data).read_bytes() == (build.path / "dataset" / data).read_bytes()


def test_a_second_run_changes_nothing(build: Build, published: Path) -> None:
    before = state(published)
    results = publish(build, published)
    assert [one.state for one in results] == ["unchanged"] * 4
    assert state(published) == before


def test_the_next_release_commits_only_where_something_changed(published: Path, next_build: Build) -> None:
    results = publish(next_build, published)
    assert [one.state for one in results] == ["committed", "unchanged", "unchanged", "committed"]
    assert "data/meld/test-clean-00000.parquet" in [change.path for change in results[0].changes]
    assert is_at(published, "v1.1.0")
    assert git(published / DATASET, "rev-list", "--count", "main") == "2"
    older = git(published / DATASET, "show", "v1.0.0:manifest.json")
    assert older != (published / DATASET / "manifest.json").read_text(encoding="utf-8").strip()


def test_an_older_release_that_is_there_is_left_alone(
    build: Build, target: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    publish(build, target)
    kept = shutil.copytree(build.path, tmp_path / "kept")
    next_build = request.getfixturevalue("next_build")
    publish(next_build, target)
    before = state(target)
    results = publish(build, target, folder=kept)
    assert [one.state for one in results] == ["unchanged"] * 4
    assert state(target) == before
    assert is_at(target, "v1.1.0")


def test_a_tag_does_not_move_to_other_content(published: Path, next_build: Build) -> None:
    before = state(published)
    recipe = next_build.recipe.model_copy(update={"tag": "v1.0.0"})
    with pytest.raises(PublishError) as caught:
        publish(replace(next_build, recipe=recipe), published)
    assert [problem.where for problem in caught.value.problems] == [
        str(published / DATASET),
        str(published / "models/dialoguellm/tiny"),
    ]
    problem = caught.value.problems[0]
    assert problem.got == f"commit {git(published / DATASET, 'rev-parse', 'v1.0.0')}"
    assert "data/meld/test-clean-00000.parquet" in str(problem.expected)
    assert state(published) == before


def test_a_refused_first_release_leaves_nothing_behind(build: Build, target: Path) -> None:
    (target / DATASET).mkdir(parents=True)
    (target / DATASET / "notes.txt").write_text("mine", encoding="utf-8")
    with refuses("hub.not_a_repository"):
        publish(build, target)
    assert not (target / "models").exists()
    assert (target / DATASET / "notes.txt").read_text(encoding="utf-8") == "mine"


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("survived", range(4))
@pytest.mark.parametrize(
    "method", ["write_commit", "check_out_branch", "set_ref to a branch", "set_ref to a tag"]
)
def test_a_run_that_was_cut_short_is_finished_by_the_next(
    published: Path, next_build: Build, monkeypatch: pytest.MonkeyPatch, method: str, survived: int
) -> None:
    build, target = next_build, published
    card = build.path.parent / "metrics" / "erc_scores" / "README.md"
    card.write_text(card.read_text(encoding="utf-8") + "More.\n", encoding="utf-8")
    name = method.split()[0]
    original = getattr(GitRepository, name)
    calls = 0

    def killing(self: GitRepository, *arguments: Any) -> Any:
        nonlocal calls
        if name != "set_ref" or arguments[0].startswith(f"refs/{'tags' if 'tag' in method else 'heads'}/"):
            if calls == survived:
                raise Killed
            calls += 1
        return original(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(GitRepository, name, killing)
        if survived == 3 and name != "check_out_branch" and "tag" not in method:
            publish(next_build, target)
            assert calls == 3  # the backbone did not change
        else:
            with pytest.raises(Killed):
                publish(next_build, target)
            if name == "write_commit":
                assert is_at(target, "v1.0.0")
    publish(next_build, target)
    assert is_at(target, "v1.1.0")
    assert all(git(target / one, "rev-list", "--count", "main") in ("1", "2") for one in REPOSITORIES)


def test_a_file_that_a_killed_checkout_wrote_in_part_is_mended(
    published: Path, next_build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(self: GitRepository) -> None:
        (self.path / "README.md").write_text("ha", encoding="utf-8")
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(GitRepository, "check_out_branch", half)
        with pytest.raises(Killed):
            publish(next_build, published)
    (published / DATASET / ".git" / "index.lock").touch()
    publish(next_build, published)
    assert is_at(published, "v1.1.0")


def test_a_first_release_that_was_cut_short_while_git_was_set_up_goes_on(build: Build, target: Path) -> None:
    (target / DATASET / ".git").mkdir(parents=True)
    (target / DATASET / ".git" / "HEAD").write_text("ref: refs/heads/main\n", encoding="utf-8")
    publish(build, target)
    assert is_at(target, "v1.0.0")


def test_locks_stay_while_another_publish_is_at_work(build: Build, published: Path) -> None:
    lock = published / DATASET / ".git" / "index.lock"
    lock.touch()
    with (published / ".dlm-release.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with refuses("hub.folder_locked"):
            publish(build, published)
        assert lock.exists()
    publish(build, published)
    assert not lock.exists()


def test_what_was_changed_by_hand_is_not_lost(published: Path, next_build: Build) -> None:
    card = published / DATASET / "README.md"
    card.write_text("My own words.\n", encoding="utf-8")
    with refuses("hub.edited_by_hand") as caught:
        publish(next_build, published)
    assert caught.value.problems[0].where == str(card)
    assert card.read_text(encoding="utf-8") == "My own words.\n"
    git(published / DATASET, "checkout", "--", "README.md")
    publish(next_build, published)
    assert is_at(published, "v1.1.0")


def test_an_own_file_in_the_way_of_a_new_one_is_not_lost(
    published: Path, next_build: Build, metrics: Path
) -> None:
    (metrics / "erc_scores" / "app.py").write_text("", encoding="utf-8")
    own = published / "spaces/dialoguellm/erc_scores/app.py"
    own.write_text("mine", encoding="utf-8")
    with refuses("hub.added_by_hand"):
        publish(next_build, published)
    assert own.read_text(encoding="utf-8") == "mine"


def test_deleted_files_and_a_detached_work_tree_come_back(build: Build, published: Path) -> None:
    (published / DATASET / "manifest.json").unlink()
    git(published / "models/dialoguellm/tiny", "checkout", "--quiet", "--detach")
    publish(build, published)
    assert is_at(published, "v1.0.0")


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(build: Build, target: Path) -> None:
    results = publish(build, target, dry_run=True)
    assert [(one.state, one.commit) for one in results] == [("committed", None)] * 4
    assert not target.exists()
    real = publish(build, target)
    assert [one.changes for one in results] == [one.changes for one in real]
    again = publish(build, target, dry_run=True)
    assert [(one.state, one.commit) for one in again] == [("unchanged", one.commit) for one in real]


def test_without_git_the_error_says_so(build: Build, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with refuses("hub.no_git"):
        publish(build, target)


def test_a_target_that_is_a_file_is_refused(build: Build, target: Path) -> None:
    target.write_text("", encoding="utf-8")
    with pytest.raises(PublishError) as caught:
        publish(build, target)
    assert caught.value.problems[0].where == str(target)


def test_settings_and_environment_of_the_user_do_not_reach_in(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init", "--quiet")
    home = Path(os.environ["HOME"])
    (home / ".gitconfig").write_text("[core\nno settings of git\n", encoding="utf-8")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    (home / "git").mkdir()
    (home / "git" / "attributes").write_text("* text eol=crlf\n", encoding="utf-8")
    monkeypatch.setenv("GIT_DIR", str(outer / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(outer / "index"))
    publish(build, outer / "target")
    for name in ("GIT_DIR", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name)
    (home / ".gitconfig").unlink()
    code = outer / "target" / "spaces/dialoguellm/erc_scores/erc_scores.py"
    assert code.read_bytes() == (build.path.parent / "metrics/erc_scores/erc_scores.py").read_bytes()
    assert git(outer / "target" / DATASET, "log", "--format=%an %ae %cn") == (
        "dialoguellm-release dialoguellm-release@localhost dialoguellm-release"
    )
    assert git(outer, "for-each-ref") == ""
    assert not (outer / "index").exists()


def test_hooks_of_a_published_repository_do_not_run(published: Path, next_build: Build) -> None:
    hook = published / DATASET / ".git" / "hooks" / "reference-transaction"
    hook.parent.mkdir()
    hook.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    hook.chmod(0o755)
    publish(next_build, published)
    assert is_at(published, "v1.1.0")


def test_a_file_that_changes_while_it_is_published_is_noticed(
    build: Build, published: Path, next_build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state(published)
    original = GitRepository.write_blob

    def changing(self: GitRepository, content: Path | bytes) -> str:
        (build.path / "dataset/data/meld/test-clean-00000.parquet").write_bytes(b"other")
        return original(self, content)

    monkeypatch.setattr(GitRepository, "write_blob", changing)
    with refuses("hub.changed_while_publishing", "test-clean-00000.parquet"):
        publish(next_build, published)
    assert state(published) == before


def test_the_id_of_a_blob_is_gits(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one\r\ntwo\0")
    assert (
        git_blob_id(path)
        == git_blob_id(b"one\r\ntwo\0")
        == git(tmp_path, "hash-object", "--no-filters", "file")
    )


def test_a_full_disk_is_told_and_the_next_run_goes_on(
    build: Build, target: Path, run: Callable[..., Ended]
) -> None:
    """The file system refuses a file over 3 kB, as a full one refuses any."""
    command = ["publish", "demo", "--from", str(build.path), "--to", str(target)]

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3_000, 3_000))

    full = subprocess.run(
        [sys.executable, "-m", "dialoguellm_release.cli.main", *command],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=small_files,
    )
    assert full.returncode == 1
    assert "git hash-object failed" in full.stderr
    assert "Traceback" not in full.stderr
    assert all("refs" not in held for held in state(target).values())
    done = run(*command)
    assert done.code == 0, done.err
    assert is_at(target, "v1.0.0")


def test_a_commit_made_by_hand_is_not_overwritten(published: Path, next_build: Build) -> None:
    path = published / DATASET
    (path / "croissant.json").write_text("{}", encoding="utf-8")
    git(path, "-c", "user.name=me", "-c", "user.email=me@localhost", "commit", "--quiet", "-am", "by hand")
    before = state(published)
    with refuses("hub.foreign_file", "croissant.json"):
        publish(next_build, published)
    assert state(published) == before
    git(path, "-c", "user.name=me", "-c", "user.email=me@localhost", "revert", "--no-edit", "HEAD")
    publish(next_build, published)
    assert is_at(published, "v1.1.0")
