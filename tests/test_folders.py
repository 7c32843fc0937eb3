from __future__ import annotations

import fcntl
from pathlib import Path
from typing import get_args

import pytest

from dialoguellm_release import folders
from dialoguellm_release.errors import DataError
from dialoguellm_release.schemas.base import Kind
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.manifests import BackboneManifest, RecipeStamp

STAMP = RecipeStamp(name="test", sha256="0" * 64, resolved={})


def make(out: Path, text: str) -> None:
    with folders.staged(out, "backbone") as folder:
        (folder / "file.txt").write_text(text)
        manifest = BackboneManifest(
            created_by=folders.package_versions(),
            recipe=STAMP,
            inputs=(),
            outputs=folders.stamps(folder),
            content_sha256="1" * 64,
            parameters=1,
        )
        folders.write_manifest(folder, manifest)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_folder_appears_whole_and_is_replaced_whole(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    make(out, "one")
    make(out, "two")
    assert (out / "file.txt").read_text() == "two"
    assert names(out.parent) == {"out"}


def test_whoever_may_enter_the_folder_may_read_its_files(tmp_path: Path) -> None:
    with folders.staged(tmp_path / "out", "backbone") as folder:
        (folder / "weights").touch(mode=0o600)
    out = tmp_path / "out"
    assert (out / "weights").stat().st_mode & 0o777 == out.stat().st_mode & 0o666


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, OSError])
def test_a_failure_leaves_the_old_folder(tmp_path: Path, failure: type[BaseException]) -> None:
    out = tmp_path / "out"
    make(out, "one")
    with pytest.raises(failure), folders.staged(out, "backbone") as folder:
        (folder / "file.txt").write_text("half")
        raise failure
    assert (out / "file.txt").read_text() == "one"
    assert names(tmp_path) == {"out"}


def test_what_a_killed_run_left_is_cleared(tmp_path: Path) -> None:
    out = tmp_path / "out"
    make(out, "one")
    out.rename(tmp_path / ".out.previous")
    (tmp_path / ".out.partial").mkdir()
    (tmp_path / ".out.partial" / "half.txt").write_text("half")
    with pytest.raises(RuntimeError), folders.staged(out, "backbone") as folder:
        assert names(folder) == set()
        assert (out / "file.txt").read_text() == "one"
        raise RuntimeError
    assert names(tmp_path) == {"out"}


@pytest.fixture
def placed(tmp_path: Path) -> Path:
    """A folder whose run was killed just after it had placed it."""
    out = tmp_path / "out"
    make(out, "one")
    (tmp_path / ".out.previous").mkdir()
    (tmp_path / ".out.previous" / "file.txt").write_text("large")
    (tmp_path / ".out.lock").touch()
    return out


def test_what_a_run_left_that_was_killed_at_its_end_is_cleared(placed: Path, tmp_path: Path) -> None:
    folders.clear_left_over(placed)
    assert (placed / "file.txt").read_text() == "one"
    assert names(tmp_path) == {"out"}


def test_what_a_run_at_work_has_beside_its_folder_stays(placed: Path, tmp_path: Path) -> None:
    with (tmp_path / ".out.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        folders.clear_left_over(placed)
    assert names(tmp_path) == {"out", ".out.previous", ".out.lock"}


def test_a_foreign_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with (
        pytest.raises(DataError, match="holds something that this step did not make"),
        folders.staged(tmp_path, "backbone"),
    ):
        pass
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_folder_of_another_kind_is_not_replaced(tmp_path: Path) -> None:
    make(tmp_path / "out", "one")
    with (
        pytest.raises(DataError, match="nothing, an empty folder, or a folder of kind dataset"),
        folders.staged(tmp_path / "out", "dataset"),
    ):
        pass
    assert (tmp_path / "out" / "file.txt").read_text() == "one"


def test_a_run_cut_off_between_old_and_new_puts_the_old_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    make(out, "one")
    rename = Path.rename

    def cut_off(self: Path, target: Path) -> Path:
        if self.name == ".out.partial":
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", cut_off)
        with pytest.raises(KeyboardInterrupt):
            make(out, "two")
    assert (out / "file.txt").read_text() == "one"
    assert names(tmp_path) == {"out"}


def test_two_runs_do_not_write_one_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with (tmp_path / ".out.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="another run is writing here"), folders.staged(out, "backbone"):
            pass
    assert not out.exists()


def test_a_text_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "card.md"
    folders.write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        folders.write_text(path, "new \udc80")
    assert path.read_text() == "old"
    assert names(tmp_path) == {"card.md"}


def test_every_kind_of_folder_has_its_manifest_and_its_command() -> None:
    assert set(folders.MANIFESTS) == set(folders.MADE_BY) == set(get_args(Kind))
    for kind, model in folders.MANIFESTS.items():
        assert model.model_fields["kind"].default == kind


def test_manifests_are_checked_when_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="manifest.json: no dataset folder here"):
        folders.read_manifest(tmp_path, DatasetManifest)
    make(tmp_path / "out", "one")
    with pytest.raises(DataError, match="is of another kind of folder") as raised:
        folders.read_manifest(tmp_path / "out", DatasetManifest)
    assert (raised.value.problems[0].expected, raised.value.problems[0].got) == ("dataset", "backbone")
    (tmp_path / "out" / folders.MANIFEST).write_text('{"kind": "dataset"}')
    with pytest.raises(DataError, match="not the manifest of a dataset"):
        folders.read_manifest(tmp_path / "out", DatasetManifest)


def test_the_combined_hash_does_not_depend_on_the_order() -> None:
    parts = [("meld/train", "a"), ("meld/test", "b")]
    assert folders.combined_sha256(parts) == folders.combined_sha256(reversed(parts))
    assert folders.combined_sha256(parts) != folders.combined_sha256(
        [("meld/train", "b"), ("meld/test", "a")]
    )
