"""Hydration: from what was published and the user's copies, the dataset that was built, or nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.errors import DataError
from dialoguellm_release.folders import MANIFEST, stamps
from dialoguellm_release.hydration import hydrate as hydrating
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.step import StepResult
from dialoguellm_release.steps.dataset import build_dataset, check_dataset, hydrate_dataset
from tests.dataset.copies import (
    MELD_TEST,
    a_record,
    edit,
    in_the_middle,
    restamp,
    told,
)

Dataset = StepResult[DatasetManifest]

pytestmark = pytest.mark.usefixtures("without_figures")


def test_a_hydrated_folder_is_left_alone(plain_copy: Path, own: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert not hydrate_dataset(plain_copy, own, out).was_current
    before = (out / MANIFEST).stat().st_ino
    assert hydrate_dataset(plain_copy, own, out).was_current
    assert (out / MANIFEST).stat().st_ino == before
    assert not hydrate_dataset(plain_copy, own, out, again=True).was_current
    (own / MELD_TEST).write_bytes((own / MELD_TEST).read_bytes().replace(b"\r\n", b"\n"))
    assert not hydrate_dataset(plain_copy, own, out).was_current


def test_a_copy_with_other_line_ends_is_the_same_dataset(
    plain_dataset: Dataset, plain_copy: Path, own: Path, tmp_path: Path
) -> None:
    path = own / "meisd" / "MEISD_text.csv"
    path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    made = hydrate_dataset(plain_copy, own, tmp_path / "out")
    assert made.manifest.content_sha256 == plain_dataset.manifest.content_sha256
    assert made.manifest.inputs != plain_dataset.manifest.inputs
    assert check_dataset(made.folder) == []


def test_everything_that_is_missing_is_said_at_once(plain_copy: Path, own: Path, tmp_path: Path) -> None:
    (own / "meld" / "dev_sent_emo.csv").unlink()
    (own / "meld" / "train_sent_emo.csv").unlink()
    shutil.rmtree(own / "meisd")
    said = told(plain_copy, own, tmp_path / "out")
    assert f"{own / 'meld' / 'dev_sent_emo.csv'}: is missing" in said
    assert f"{own / 'meld' / 'train_sent_emo.csv'}: is missing" in said
    assert f"dlm-release corpora fetch meld --out {own}" in said
    assert f"{own / 'meisd'}: the text of MEISD is not published" in said
    assert "expected: meisd/MEISD_text.csv\n  to do: whom to ask: the authors" in said
    assert "--skip" not in said


def test_faults_of_several_copies_come_together(plain_copy: Path, own: Path, tmp_path: Path) -> None:
    edit(own / MELD_TEST, ",neutral,neutral,", ",neutrl,neutral,")
    (own / "meisd" / "MEISD_text.csv").write_bytes(b"")
    said = told(plain_copy, own, tmp_path / "out")
    assert "unknown label" in said
    assert "MEISD_text.csv: is empty" in said


def test_the_recipe_is_that_of_the_build_and_no_bundled_one(
    publish: Callable[..., Path], synthetic_dir: Path, own: Path, tmp_path: Path
) -> None:
    built = build_dataset(
        "demo",
        synthetic_dir,
        tmp_path / "built",
        skip=["dailydialog", "iemocap"],
        overrides=["context_k=3", "corpora.meisd.split.seed=7"],
    )
    copy = publish(built, tmp_path / "copy", {"emorynlp"}, {"meld"})
    made = hydrate_dataset(copy, own, tmp_path / "out")
    assert made.manifest.recipe == built.manifest.recipe
    assert stamps(made.folder) == stamps(built.folder)


def test_a_published_copy_that_is_damaged_is_told(
    plain_dataset: Dataset, plain_copy: Path, own: Path, tmp_path: Path
) -> None:
    copy, out = tmp_path / "copy", tmp_path / "out"
    shutil.copytree(plain_copy, copy)
    rows = copy / "standoff" / "meld" / "test-00000.parquet"
    kept = rows.read_bytes()
    rows.write_bytes(kept[:-5] + b"PAR1!")
    assert f"{rows}: is not the file that was made" in told(copy, own, out)
    rows.unlink()
    assert f"{rows}: is missing, but the manifest lists it" in told(copy, own, out)
    restamp(copy)
    assert "lists no file of meld/test in standoff/meld/" in told(copy, own, out)
    rows.write_bytes(kept)
    restamp(copy)
    stamped = plain_dataset.manifest.recipe
    restamp(copy, recipe=stamped.model_copy(update={"resolved": stamped.resolved | {"context_k": 9}}))
    assert "its recipe was changed after the dataset was built" in told(copy, own, out)


def test_what_is_no_published_copy_is_told(plain_dataset: Dataset, own: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no dataset folder here" in told(tmp_path / "empty", own, tmp_path / "out")
    assert "no dataset folder here" in told(tmp_path / "not there", own, tmp_path / "out")
    (tmp_path / "empty" / MANIFEST).write_text(json.dumps({"kind": "score"}))
    assert "is of another kind of folder" in told(tmp_path / "empty", own, tmp_path / "out")
    assert "there is nothing to hydrate" in told(plain_dataset.folder, own, tmp_path / "out")


def test_a_published_copy_does_not_replace_itself(plain_copy: Path, own: Path) -> None:
    before = stamps(plain_copy)
    with pytest.raises(DataError, match="is the published copy itself"):
        hydrate_dataset(plain_copy, own, plain_copy)
    assert stamps(plain_copy) == before


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_a_stop_leaves_what_was_there(
    stop: Any, plain_copy: Path, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hydrate_dataset(plain_copy, own, tmp_path / "out")
    before = stamps(tmp_path / "out")

    def stopped(*_: object) -> None:
        raise stop

    monkeypatch.setattr(hydrating, "content_problems", stopped)
    with pytest.raises((KeyboardInterrupt, OSError)):
        hydrate_dataset(plain_copy, own, tmp_path / "out", again=True)
    assert stamps(tmp_path / "out") == before
    with pytest.raises((KeyboardInterrupt, OSError)):
        hydrate_dataset(plain_copy, own, tmp_path / "other")
    assert {path.name for path in tmp_path.iterdir()} == {"own", "out"}


def test_a_copy_that_changes_while_it_is_read_is_not_believed(
    plain_copy: Path, own: Path, tmp_path: Path, plain_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof is over what was written, not over what was compared before."""
    record = a_record(plain_dataset, "meld", in_the_middle)
    compare = hydrating.check_copies

    def early(*arguments: Any) -> None:
        compare(*arguments)
        edit(own / MELD_TEST, record.input, "Quite something else.")

    monkeypatch.setattr(hydrating, "check_copies", early)
    assert "meld/test: its records are not those of the build" in told(plain_copy, own, tmp_path / "out")
