"""What `verify` finds of a release: everything in order, and each fault by its name."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import hf_hub_download

from dialoguellm_release.folders import MANIFEST, stamp, stamps
from dialoguellm_release.hub.contents import files_sha256
from dialoguellm_release.hub.verify import Verified
from dialoguellm_release.schemas.manifests import CALIBRATION
from dialoguellm_release.schemas.release import RELEASE_FILE, ReleaseFile
from dialoguellm_release.steps.release import publish, verify_release
from tests.conftest import Once
from tests.hub.codes import refuses
from tests.hub_server.accounts import Token
from tests.hub_server.server import HubServer

DATASET, ADAPTER = "datasets/dialoguellm/instructions", "models/dialoguellm/tiny"
TEST = "data/meld/test-clean"
Change = Callable[[Path], None]


@pytest.fixture(scope="module")
def pristine(demo_build: Path, once: Once) -> Path:
    """The demo release in a folder; nobody may change it."""
    return once("pristine", lambda folder: publish("demo", demo_build, str(folder / "target"))) / "target"


@pytest.fixture
def target(pristine: Path, tmp_path: Path) -> Path:
    return shutil.copytree(pristine, tmp_path / "target")


def git(path: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org")
    done = subprocess.run(
        ["git", "-C", str(path), *identity, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def meddle(repository: Path, change: Change, *, with_care: bool = True) -> str:
    """Changes a repository under its tag, as somebody may who can write there; the new commit.

    Args:
        with_care: Also makes manifest and release.json fit the change.
    """
    change(repository)
    if with_care:
        restamp(repository)
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", "a change")
    git(repository, "tag", "--force", "v1.0.0")
    return git(repository, "rev-parse", "HEAD")


def restamp(repository: Path) -> None:
    manifest = json.loads((repository / MANIFEST).read_text())
    manifest["outputs"] = [file.model_dump() for file in stamps(repository)]
    (repository / MANIFEST).write_text(json.dumps(manifest))
    release = json.loads((repository / RELEASE_FILE).read_text())
    release["files"] = [stamp(repository / one["path"], repository).model_dump() for one in release["files"]]
    release["files_sha256"] = files_sha256(ReleaseFile.model_validate_json(json.dumps(release)).files)
    (repository / RELEASE_FILE).write_text(json.dumps(release))


def verify(name: str, target: Path, **options: Any) -> Verified:
    (found,) = verify_release(f"{name}@v1.0.0", str(target), **{"sample": 0, **options})
    return found


def failed(found: Verified) -> dict[str, list[str]]:
    """What is wrong, by item."""
    return {
        verdict.name: [problem.what for problem in verdict.problems]
        for verdict in found.checks
        if verdict.outcome == "fail"
    }


def codes_of(found: Verified, item: str) -> list[str]:
    """The codes of what is wrong with an item."""
    return [problem.code for one in found.checks if one.name == item for problem in one.problems]


def outcomes(found: Verified) -> dict[str, str]:
    return {verdict.name: verdict.outcome for verdict in found.checks}


ALWAYS = {"transfer", "release.json", "hashes", "card"}
CHECKED = {
    "datasets/dialoguellm/instructions": {"content", "card licence", "corpus licences", "loading"},
    "dialoguellm/tiny-llama": {"card licence", "loading"},
    "spaces/dialoguellm/erc_scores": set[str](),
    "dialoguellm/tiny": {"content", "card licence", "links", "loading", "figures", "predictions"},
    "spaces/dialoguellm/emotion_demo": {"content", "links"},
}


def is_in_order(found: list[Verified]) -> None:
    assert [one.where for one in found] == list(CHECKED)
    for one in found:
        passed = {name for name, outcome in outcomes(one).items() if outcome == "pass"}
        assert passed == ALWAYS | CHECKED[one.where]
        assert failed(one) == {}
        assert all(verdict.note for verdict in one.checks)


def test_a_whole_release_in_a_folder_is_in_order(pristine: Path) -> None:
    is_in_order(verify_release("demo", str(pristine), sample=8))


def test_a_whole_release_on_the_hub_is_in_order(demo_build: Path, hub_server: HubServer) -> None:
    publish("demo", demo_build, "hub")
    is_in_order(verify_release("demo", sample=8))
    (found,) = verify_release("dialoguellm/instructions@v1.0.0")
    assert found.where == "datasets/dialoguellm/instructions"
    assert found.commit == hub_server.store.repositories["dataset", "dialoguellm/instructions"].tags["v1.0.0"]


def write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def flip_a_byte(repository: Path) -> None:
    (path,) = repository.glob(f"{TEST}-*.parquet")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def drop_a_row(repository: Path) -> None:
    rewrite(repository, lambda rows: rows[:-1])


def relabel(repository: Path) -> None:
    def change(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**rows[0], "output": "acceptance", "label": 11}, *rows[1:]]

    rewrite(repository, change)


def rewrite(repository: Path, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    (path,) = repository.glob(f"{TEST}-*.parquet")
    before = pq.read_table(path)
    pq.write_table(pa.Table.from_pylist(change(before.to_pylist()), schema=before.schema), path)


def other_licence(repository: Path) -> None:
    card = repository / "README.md"
    lines = card.read_text(encoding="utf-8").split("\n")
    start = next(index for index, line in enumerate(lines) if line.startswith("license:"))
    end = next(index for index in range(start + 1, len(lines)) if lines[index][0] not in "- ")
    card.write_text("\n".join([*lines[:start], "license: mit", *lines[end:]]), encoding="utf-8")


def zero_weights(repository: Path) -> None:
    path = repository / "adapter_model.safetensors"
    content = path.read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    path.write_bytes(content[:begin] + bytes(len(content) - begin))


def other_weights(repository: Path) -> None:
    path = repository / "adapter_model.safetensors"
    content = path.read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    path.write_bytes(content[:begin] + content[begin:][::-1].replace(b"\xff", b"\x3f"))


def other_answers(repository: Path) -> None:
    path = repository / "scores" / "meld-tiny" / "predictions.parquet"
    rows = pq.read_table(path).to_pydict()
    rows["prediction"] = rows["reference"]
    pq.write_table(pa.table(rows), path)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (flip_a_byte, "verify.changed_file"),
        (lambda path: next(path.glob("sft/*")).unlink(), "verify.missing_file"),
        (lambda path: write(path / "more.txt", "!"), "verify.unlisted_file"),
    ],
)
def test_a_file_that_is_another_one_is_found(target: Path, change: Change, code: str) -> None:
    meddle(target / DATASET, change, with_care=False)
    assert code in codes_of(verify("dialoguellm/instructions", target), "hashes")


def test_a_missing_row_is_found_where_all_hashes_were_made_to_fit(target: Path) -> None:
    meddle(target / DATASET, drop_a_row)
    verified = verify("dialoguellm/instructions", target)
    found = failed(verified)
    assert "dialogues and records are not the manifest's" in found["content"]
    assert "its records are not those of the build" in found["content"]
    assert "verify.other_counts" in codes_of(verified, "loading")
    assert "hashes" not in found


def test_a_label_outside_its_space_is_found(target: Path) -> None:
    meddle(target / DATASET, relabel)
    found = verify("dialoguellm/instructions", target)
    assert "its label is outside its label space" in failed(found)["content"]
    problem = next(one for one in found.problems if "label space" in one.what)
    assert problem.got == "acceptance"
    assert problem.where.startswith("datasets/dialoguellm/instructions: meld/test/")


def test_an_adapter_of_zeros_is_found(target: Path) -> None:
    meddle(target / ADAPTER, zero_weights)
    found = verify("models/dialoguellm/tiny", target, sample=4)
    assert "checks.zero_weights" in codes_of(found, "content")
    assert "predictions" in failed(found)


def test_other_weights_are_found_by_their_answers(target: Path) -> None:
    meddle(target / ADAPTER, other_weights)
    assert set(failed(verify("dialoguellm/tiny", target, sample=4))) >= {"predictions"}


def calibration(content_sha256: str, temperature: float) -> Change:
    """Adds a calibration, whose adapter and temperature are stated, to an adapter and its release.json."""
    errors = {"nll": 1.0, "ece": 0.1, "brier": 0.5}
    hashes = dict.fromkeys(("dataset_content_sha256", "score_content_sha256"), "0" * 64)
    found: dict[str, Any] = {
        "version": 1,
        "temperature": temperature,
        "corpus": "meld",
        "split": "validation",
    }
    found |= {"label_space": ["anger", "neutral"], "scorer": "first_token", "records": 500}
    found |= {**hashes, "adapter_content_sha256": content_sha256, "before": errors, "after": errors}

    def change(repository: Path) -> None:
        (repository / CALIBRATION).write_text(json.dumps(found))
        release = json.loads((repository / RELEASE_FILE).read_text())
        release["files"].append({"path": CALIBRATION})
        release["files"].sort(key=lambda one: one["path"])
        (repository / RELEASE_FILE).write_text(json.dumps(release))

    return change


@pytest.mark.parametrize(
    ("is_its_own", "temperature", "codes"),
    [
        (True, 1.5, []),
        (False, 1.5, ["calibration.other_adapter"]),
        (True, 0.0, ["calibration.damaged"]),
    ],
)
def test_a_wrong_calibration_is_found(
    is_its_own: bool, temperature: float, codes: list[str], target: Path
) -> None:
    own = json.loads((target / ADAPTER / MANIFEST).read_text())["content_sha256"]
    meddle(target / ADAPTER, calibration(own if is_its_own else "f" * 64, temperature))
    found = verify("models/dialoguellm/tiny", target)
    assert codes_of(found, "content") == codes
    assert codes_of(found, "hashes") == []
    meddle(target / ADAPTER, lambda path: write(path / CALIBRATION, "{}"), with_care=False)
    assert codes_of(verify("models/dialoguellm/tiny", target), "hashes") == ["verify.changed_file"]


@pytest.mark.parametrize("name", [DATASET, ADAPTER])
def test_a_card_with_another_licence_is_found(target: Path, name: str) -> None:
    meddle(target / name, other_licence)
    found = verify(name, target)
    assert set(failed(found)) == {"card licence"}
    assert found.problems[0].got == "mit"


def link_to(repository: Path, commit: str, content: str | None = None) -> None:
    release = json.loads((repository / RELEASE_FILE).read_text())
    link = next(one for one in release["depends_on"] if one["repository"].startswith("datasets/"))
    link["commit"] = commit
    link["content_sha256"] = content or link["content_sha256"]
    (repository / RELEASE_FILE).write_text(json.dumps(release))


def test_a_wrong_dataset_link_is_found(target: Path) -> None:
    dataset = target / DATASET
    before = git(dataset, "rev-parse", "HEAD")

    def other_content(repository: Path) -> None:
        for name in (MANIFEST, RELEASE_FILE):
            text = (repository / name).read_text()
            content = json.loads(text)["content_sha256"]
            (repository / name).write_text(text.replace(content, "1" * 64))

    other = meddle(dataset, other_content)
    git(dataset, "tag", "--force", "v1.0.0", before)
    meddle(target / ADAPTER, lambda path: link_to(path, other, "1" * 64))
    assert "verify.other_origin" in codes_of(verify("dialoguellm/tiny", target), "links")
    meddle(target / ADAPTER, lambda path: link_to(path, "2" * 40))
    assert "verify.link_not_found" in codes_of(verify("dialoguellm/tiny", target), "links")


def test_a_tag_that_moved_under_a_dependant_is_found_there_and_nowhere_else(
    target: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept.json"
    shutil.copy(target / ADAPTER / RELEASE_FILE, kept)
    of_dataset = shutil.copy(target / DATASET / RELEASE_FILE, tmp_path / "dataset.json")
    before = git(target / DATASET, "rev-parse", "HEAD")
    notes = (target / DATASET / "README.md").read_text(encoding="utf-8") + "\nA note.\n"
    after = meddle(target / DATASET, lambda path: write(path / "README.md", notes))
    assert failed(verify("dialoguellm/instructions", target)) == {}
    dependant = verify("dialoguellm/tiny", target)
    assert set(failed(dependant)) == {"links"}
    (problem,) = dependant.problems
    assert (problem.expected, problem.got) == (before, after)
    assert "the tag v1.0.0 of datasets/dialoguellm/instructions" in problem.where
    for saved in (kept, Path(of_dataset)):
        assert set(failed(verify("dialoguellm/instructions", target, saved=saved))) == {"saved"}


def test_a_saved_release_file_that_fits_passes(pristine: Path) -> None:
    for name in (DATASET, ADAPTER):
        found = verify("dialoguellm/instructions", pristine, saved=pristine / name / RELEASE_FILE)
        assert outcomes(found)["saved"] == "pass"
    space = pristine / "spaces/dialoguellm/erc_scores" / RELEASE_FILE
    found = verify("dialoguellm/instructions", pristine, saved=space)
    assert outcomes(found)["saved"] == "not checked"
    with refuses("hub.bad_release_file"):
        verify("dialoguellm/instructions", pristine, saved=pristine / DATASET / MANIFEST)


def test_scores_that_do_not_follow_from_the_answers_are_found(target: Path) -> None:
    meddle(target / ADAPTER, other_answers)
    found = verify("dialoguellm/tiny", target)
    assert failed(found).keys() == {"figures"}
    assert set(codes_of(found, "figures")) == {"verify.other_score"}


@pytest.mark.parametrize("content", [b"", b"PAR1 not a table PAR1"])
def test_a_damaged_table_is_a_problem_and_no_traceback(target: Path, content: bytes) -> None:
    path = "scores/meld-tiny/predictions.parquet"

    def damage(folder: Path) -> None:
        (folder / path).write_bytes(content)

    meddle(target / ADAPTER, damage)
    assert codes_of(verify("dialoguellm/tiny", target), "figures") == ["verify.check_failed"]


def test_a_work_tree_is_looked_at_as_it_stands(target: Path) -> None:
    (found,) = verify_release(str(target / DATASET), sample=0)
    assert (failed(found), found.commit) == ({}, None)
    flip_a_byte(target / DATASET)
    (found,) = verify_release(str(target / DATASET), sample=0)
    assert "hashes" in failed(found)


def test_a_copy_that_stands_alone_says_what_it_cannot_tell(pristine: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(pristine / ADAPTER, tmp_path / "copy", ignore=shutil.ignore_patterns(".git"))
    (found,) = verify_release(str(copy))
    assert failed(found) == {}
    alone = {name for name, outcome in outcomes(found).items() if outcome == "not checked"}
    assert alone == {
        "transfer",
        "card licence",
        "corpus licences",
        "links",
        "saved",
        "loading",
        "predictions",
    }


def test_what_needs_an_extra_says_so(pristine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    found = verify("dialoguellm/tiny", pristine, sample=4)
    notes = {verdict.name: verdict.note for verdict in found.checks if verdict.outcome == "not checked"}
    assert "extra train" in notes["loading"]
    assert "extra score" in notes["predictions"]
    assert failed(found) == {}


def test_what_is_not_there_is_said(pristine: Path, tmp_path: Path) -> None:
    for name in ("dialoguellm/nothing@v1.0.0", "dialoguellm/instructions@v9.0.0"):
        (found,) = verify_release(name, str(pristine))
        assert found.problems[0].code == "verify.not_found"
    with refuses("hub.folder_not_found"):
        verify_release("demo", str(tmp_path / "nowhere"))
    with refuses("hub.not_published"):
        verify_release(str(tmp_path))


def test_a_hub_out_of_reach_is_said() -> None:
    with refuses("hub.unreachable") as caught:
        verify_release("dialoguellm/instructions@v1.0.0")
    assert caught.value.outcome == "nothing was changed"


def test_a_name_of_several_repositories_has_to_be_told_apart(target: Path) -> None:
    shutil.copytree(target / DATASET, target / "models/dialoguellm/instructions")
    with refuses("hub.ambiguous_name") as caught:
        verify("dialoguellm/instructions", target)
    told = "datasets/dialoguellm/instructions or models/dialoguellm/instructions"
    assert caught.value.problems[0].expected == told
    assert failed(verify("datasets/dialoguellm/instructions", target)) == {}
    model = verify("models/dialoguellm/instructions", target)
    assert codes_of(model, "release.json") == ["verify.other_repository"]


def test_a_file_that_did_not_come_as_the_hub_has_it_is_found(demo_build: Path, hub_server: HubServer) -> None:
    publish("demo", demo_build, "hub")
    assert hub_server.url
    (found,) = verify_release("dialoguellm/instructions@v1.0.0", sample=0)
    assert failed(found) == {}
    for path in ("README.md", "figures/corpora.png", "manifest.json"):
        cached = Path(
            hf_hub_download("dialoguellm/instructions", path, repo_type="dataset", revision="v1.0.0")
        ).resolve()
        cached.write_bytes(cached.read_bytes() + b" ")
    (found,) = verify_release("dialoguellm/instructions@v1.0.0", sample=0)
    assert codes_of(found, "transfer") == ["verify.other_download"] * 3


def test_a_private_repository_is_not_there_for_strangers(
    demo_build: Path, hub_server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("demo", demo_build, "hub")
    hub_server.store.repositories["dataset", "dialoguellm/instructions"].visibility = "private"
    secret = hub_server.accounts.add("hf_strangerstoken", Token("stranger"))
    monkeypatch.setenv("HF_TOKEN", secret)
    (found,) = verify_release("datasets/dialoguellm/instructions@v1.0.0")
    assert found.problems[0].code == "verify.not_found"
    assert secret not in str(found)
