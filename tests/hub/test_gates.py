"""The gates: what each one lets pass and what it does not."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dialoguellm_release.folders import read_manifest, write_manifest
from dialoguellm_release.hub import checks as hub_checks
from dialoguellm_release.hub.checks import leaving_problems, pickle_problems, size_problems, weight_problems
from dialoguellm_release.hub.contents import UNKNOWN_COMMIT, PlannedFile
from dialoguellm_release.hub.plan import plan_release
from dialoguellm_release.hub.publish import publish_release
from dialoguellm_release.hub.secrets import secret_problems
from dialoguellm_release.hub.store_folder import FolderStore
from dialoguellm_release.schemas.manifests import CALIBRATION, AdapterManifest, Calibration, CalibrationErrors
from dialoguellm_release.schemas.release import ReleaseFile
from tests.hub.codes import refuses

if TYPE_CHECKING:
    from tests.hub.conftest import Build

TOKEN = "hf_" + "aB3" * 12
KEY = "-----BEGIN RSA " + "PRIVATE KEY-----"
HOME = "/" + "home/somebody/build"


def checks(build: Build) -> dict[str, str]:
    """The worst outcome of each gate."""
    found: dict[str, str] = {}
    for verdict in plan_release(build.recipe, build.path).checks:
        if found.get(verdict.name) != "fail":
            found[verdict.name] = verdict.outcome
    return found


def restate(build: Build, **figures: Any) -> None:
    folder = build.path / "adapters" / "tiny"
    manifest = read_manifest(folder, AdapterManifest)
    changed = manifest.figures.model_copy(update=figures)
    write_manifest(folder, manifest.model_copy(update={"figures": changed}))


def test_a_good_release_passes_every_gate_and_each_says_what_it_looked_at(build: Build) -> None:
    plan = plan_release(build.recipe, build.path)
    assert {verdict.outcome for verdict in plan.checks} == {"pass"}
    of_folders = {"hashes", "weights", "label survival", "origin", "scores"}
    of_repositories = {"licences", "card", "secrets", "pickles", "sizes"}
    assert {verdict.name for verdict in plan.checks} == of_folders | of_repositories
    assert all(verdict.note for verdict in plan.checks)


def test_an_adapter_that_was_never_scored_does_not_leave(build: Build, tmp_path: Path) -> None:
    adapters = tuple(one.model_copy(update={"scores": ()}) for one in build.recipe.adapters)
    recipe = build.recipe.model_copy(update={"adapters": adapters})
    with refuses("checks.not_scored"):
        publish_release(recipe, build.path, FolderStore(tmp_path / "target"))
    assert not list((tmp_path / "target").glob("*/*"))


def calibrated(adapter: Path, content_sha256: str) -> None:
    """Writes a calibration of an adapter of some content into an adapter folder."""
    errors = CalibrationErrors(nll=1.0, ece=0.1, brier=0.5)
    found = Calibration(
        temperature=1.5,
        corpus="meld",
        split="validation",
        label_space=("anger", "neutral"),
        scorer="first_token",
        records=500,
        dataset_content_sha256="0" * 64,
        adapter_content_sha256=content_sha256,
        score_content_sha256="1" * 64,
        before=errors,
        after=errors,
    )
    (adapter / CALIBRATION).write_text(found.model_dump_json(), encoding="utf-8")


def test_a_calibration_is_published_with_its_adapter_and_in_no_manifest(build: Build, target: Path) -> None:
    adapter = build.path / "adapters" / "tiny"
    calibrated(adapter, read_manifest(adapter, AdapterManifest).content_sha256)
    assert checks(build)["hashes"] == checks(build)["weights"] == "pass"
    publish_release(build.recipe, build.path, FolderStore(target))
    published = target / "models" / "dialoguellm" / "tiny"
    assert (published / CALIBRATION).read_bytes() == (adapter / CALIBRATION).read_bytes()
    assert CALIBRATION not in {file.path for file in read_manifest(published, AdapterManifest).outputs}
    release = ReleaseFile.model_validate_json((published / "release.json").read_bytes())
    assert CALIBRATION in {file.path for file in release.files}


def test_the_calibration_of_another_adapter_stops_the_release(build: Build, target: Path) -> None:
    calibrated(build.path / "adapters" / "tiny", "f" * 64)
    with refuses("calibration.other_adapter", "calibration.json"):
        publish_release(build.recipe, build.path, FolderStore(target))


@pytest.mark.parametrize(
    ("figures", "what"),
    [
        ({"records": 0}, "was trained on no records"),
        ({"steps": 0}, "was trained on no steps"),
        ({"last_loss": 0.0}, "its last loss is 0.0"),
        ({"first_loss": 0.0}, "its first loss is 0.0"),
    ],
)
def test_a_training_without_labels_is_found(build: Build, figures: dict[str, Any], what: str) -> None:
    restate(build, **figures)
    (failed,) = [one for one in plan_release(build.recipe, build.path).checks if one.outcome == "fail"]
    assert failed.name == "label survival"
    assert failed.problems[0].what.startswith(what)


def test_where_a_gate_fails_nothing_is_planned_but_every_verdict_of_the_folders_is_given(
    build: Build,
) -> None:
    restate(build, steps=0, prompt_sha256="0" * 64)
    plan = plan_release(build.recipe, build.path)
    assert plan.repositories == ()
    assert checks(build) == {
        "hashes": "pass", "weights": "pass", "label survival": "fail", "origin": "fail", "scores": "fail"
    }  # fmt: skip


def safetensors(path: Path, dtype: str, numbers: bytes, shape: list[int], name: str) -> Path:
    entry = {"dtype": dtype, "shape": shape, "data_offsets": [0, len(numbers)]}
    header = json.dumps({"__metadata__": {"format": "pt"}, name: entry}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + numbers)
    return path


ONE = {"F32": struct.pack("<f", 1.0), "F16": struct.pack("<e", 1.0), "BF16": b"\x80\x3f"}
NAN = {"F32": struct.pack("<f", float("nan")), "F16": struct.pack("<e", float("nan")), "BF16": b"\xc0\x7f"}
INFINITY = {
    "F32": struct.pack("<f", float("-inf")), "F16": struct.pack("<e", float("inf")), "BF16": b"\x80\xff"
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_zeros_and_what_is_no_number_are_found_in_every_type(tmp_path: Path, dtype: str) -> None:
    def found(numbers: bytes, name: str = "x.lora_B.weight") -> list[str]:
        path = safetensors(tmp_path / "a.safetensors", dtype, numbers, [2, 1], name)
        return [one.code for one in weight_problems(path)]

    zero, size = bytes(len(ONE[dtype])), len(ONE[dtype])
    minus_zero = bytes(size - 1) + b"\x80"
    assert found(ONE[dtype] + zero) == []
    for nothing in (zero + zero, minus_zero + zero):
        assert found(nothing) == ["checks.zero_weights"]
    for odd in (NAN[dtype], INFINITY[dtype]):
        assert found(ONE[dtype] + odd) == ["checks.nan_in_weights"]
    assert found(ONE[dtype] * 2, "x.weight") == ["checks.no_lora"]


def test_other_ranks_and_types_are_found(tmp_path: Path) -> None:
    path = safetensors(tmp_path / "a.safetensors", "F32", ONE["F32"] * 4, [2, 2], "x.lora_B.weight")
    assert list(weight_problems(path, rank=2)) == []
    assert [one.got for one in weight_problems(path, rank=8)] == ["2"]
    path = safetensors(tmp_path / "b.safetensors", "I64", bytes(8), [1], "x.lora_B.weight")
    assert [one.got for one in weight_problems(path)] == ["I64"]


@pytest.mark.parametrize(
    "text",
    [
        TOKEN,
        "sk-" + "proj-" + "a1B2" * 8,
        "AKIA" + "A1B2C3D4E5F6G7H8",
        "ghp_" + "a1B2" * 10,
        KEY,
        HOME,
        "/" + "Users/somebody/build",
        "path: /" + "root/build",
        "C:" + r"\Users\somebody",
    ],
)
def test_secrets_and_paths_are_found_in_any_file_and_never_shown(tmp_path: Path, text: str) -> None:
    content = f"before {text} after".encode()
    (as_bytes,) = secret_problems("notes.txt", content)
    binary = tmp_path / "a.bin"
    binary.write_bytes(os.urandom(1 << 10) + b"\0" + content)
    (in_file,) = secret_problems("a.bin", binary)
    assert (as_bytes.what, as_bytes.where) == (in_file.what, "notes.txt")
    table = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"a": [["x"], [content.decode()]], "b": [1, 2]}), table)
    (in_rows,) = secret_problems("rows.parquet", table)
    assert in_rows.what == as_bytes.what
    if "path" not in as_bytes.what:
        assert text not in str(as_bytes)


def test_a_secret_across_two_parts_of_a_file_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dialoguellm_release.hub.secrets._PART", 64)
    path = tmp_path / "a.txt"
    path.write_text("x" * 50 + " " + TOKEN + " " + "y" * 100)
    assert [one.what for one in secret_problems("a.txt", path)] == ["holds a token of the Hub"]


@pytest.mark.parametrize(
    "text", ["hf_short", "task-oriented-" + "x" * 30, "see https://example.org/" + "home/page", "hf_xet"]
)
def test_harmless_text_passes(text: str) -> None:
    assert list(secret_problems("notes.txt", text.encode())) == []


def test_a_secret_in_a_folder_of_the_build_stops_the_release(build: Build, metrics: Path) -> None:
    (metrics / "erc_scores" / "settings.txt").write_text(f"token = {TOKEN}")
    with refuses("checks.secret", "spaces/dialoguellm/erc_scores: settings.txt") as caught:
        publish_release(build.recipe, build.path, FolderStore(build.path.parent / "target"))
    assert TOKEN not in str(caught.value)


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"a": 1}))


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"")


@pytest.mark.parametrize("write", [pickled, zipped])
def test_a_pickle_is_known_by_its_content(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write(tmp_path / "weights.safetensors")
    (problem,) = pickle_problems("weights.safetensors", tmp_path / "weights.safetensors")
    assert problem.what.startswith("may be a pickle")


def test_other_zips_and_texts_are_no_pickles(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", "a")
    (tmp_path / "b.txt").write_bytes(b"PK\x03\x04 is how a zip begins")
    for name in ("a.zip", "b.txt"):
        assert list(pickle_problems(name, tmp_path / name)) == []
    assert list(pickle_problems("c.txt", b"text")) == []


def test_what_is_too_large_or_too_many_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = PlannedFile(tmp_path, hub_checks.LARGEST_FILE + 1, "")
    assert [one.where for one in size_problems({"a.bin": large})] == ["a.bin"]
    monkeypatch.setattr(hub_checks, "MOST_FILES_A_FOLDER", 2)
    small = PlannedFile.rendered("")
    many = {f"{folder}/{index}": small for folder in ("a", "b") for index in range(2 + (folder == "b"))}
    assert [(one.where, one.got) for one in size_problems(many)] == [("b", "3")]


def test_a_corpus_that_may_not_leave_is_seen_in_any_repository() -> None:
    data = ["data/meld/test-clean-00000.parquet", "data/meisd/test-clean-00000.parquet", "README.md"]
    assert [one.where for one in leaving_problems("datasets/o/d", data, {"meisd"}, {})] == [
        f"datasets/o/d: {data[1]}"
    ]
    answers = [f"scores/{name}/predictions.parquet" for name in ("a", "b")]
    found = leaving_problems(
        "o/m", [*answers, "scores/b/scores.json"], {"meisd"}, {"a": "meld", "b": "meisd"}
    )
    assert [one.where for one in found] == [f"o/m: {answers[1]}"]


def test_release_files_name_commits_of_what_they_rest_on_and_nothing_else(build: Build) -> None:
    plan = plan_release(build.recipe, build.path)
    by_name = {one.name: one for one in plan.repositories}
    commits = {name: f"{index}" * 40 for index, name in enumerate(by_name, start=1)}

    def release(name: str, known: dict[str, str]) -> ReleaseFile:
        content = by_name[name].files_at(known)["release.json"].content
        assert isinstance(content, bytes)
        return ReleaseFile.model_validate_json(content)

    assert list(by_name)[-1] == "dialoguellm/tiny"
    for name in list(by_name)[:-1]:
        assert release(name, commits).depends_on == ()
        assert release(name, commits) == release(name, {})
    adapter = release("dialoguellm/tiny", commits)
    assert {link.repository: link.commit for link in adapter.depends_on} == {
        name: commit for name, commit in commits.items() if name != "dialoguellm/tiny"
    }
    dataset = release("datasets/dialoguellm/instructions", {})
    assert adapter.depends_on[0].content_sha256 == dataset.content_sha256 == build.dataset.content_sha256
    assert (adapter.base, [one.name for one in adapter.scores]) == (None, ["meld-tiny"])
    assert {link.commit for link in release("dialoguellm/tiny", {}).depends_on} == {UNKNOWN_COMMIT}


def test_what_others_wrote_into_a_card_is_kept_in_the_plan(build: Build) -> None:
    name = "dialoguellm/tiny"
    theirs = {name: "---\ndoi: '10.1'\n---\n# Thanks\n"}
    plan = plan_release(build.recipe, build.path, theirs)
    card = next(one for one in plan.repositories if one.name == name).files_at({})["README.md"].content
    assert isinstance(card, bytes)
    assert "doi: '10.1'\n" in card.decode()
    assert card.decode().endswith("\n# Thanks\n")


def test_the_folder_of_a_backbone_of_ours_must_be_in_the_release(build: Build) -> None:
    adapters = tuple(
        one.model_copy(update={"depends_on": ("datasets/dialoguellm/instructions",)})
        for one in build.recipe.adapters
    )
    recipe = build.recipe.model_copy(update={"backbones": (), "adapters": adapters})
    shutil.rmtree(build.path / "backbones")
    plan = plan_release(recipe, build.path)
    (failed,) = [one for one in plan.checks if one.outcome == "fail"]
    assert failed.problems[0].code == "checks.base_not_in_release"
