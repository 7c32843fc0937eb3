"""`card` on the command line: any card is checked offline, and those of our folders are rendered again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.cards.card import BEGIN, END
from dialoguellm_release.folders import read_manifest, sha256_of_text, stamps, write_manifest
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.manifests import AdapterManifest, RecipeStamp, ScoreManifest
from dialoguellm_release.steps.dataset import build_dataset

SOMEBODYS = "---\nbase_model: gpt2\nlibrary_name: timm\n---\n# A model\n\nSee [the notes](notes.md).\n"


@pytest.fixture(scope="module")
def demo_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of one corpus, as it was built; nobody may change it."""
    skipped = ("emorynlp", "dailydialog", "meisd", "iemocap")
    return build_dataset("demo", out=tmp_path_factory.mktemp("built") / "dataset", skip=skipped).folder


@pytest.fixture
def dataset(demo_dataset: Path, tmp_path: Path) -> Path:
    return shutil.copytree(demo_dataset, tmp_path / "dataset")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of somebody's repository."""
    folder = tmp_path / "clone"
    (folder / ".git").mkdir(parents=True)
    (folder / ".git" / "notes.md").touch()
    (folder / "README.md").write_text(SOMEBODYS, encoding="utf-8")
    return folder


def write_score(folder: Path, adapter: AdapterManifest, score_figures_of: Any) -> None:
    folder.mkdir()
    system = {"adapter_content_sha256": adapter.content_sha256, "base": adapter.figures.base}
    manifest = ScoreManifest(
        created_by={},
        recipe=RecipeStamp(name="meld", sha256=sha256_of_text("recipe"), resolved={}),
        inputs=(),
        outputs=stamps(folder),
        content_sha256=sha256_of_text("scores"),
        figures=score_figures_of(system=system),
    )
    write_manifest(folder, manifest)


def test_every_problem_of_every_card_is_told_at_once(run: Any, clone: Path, dataset: Path) -> None:
    card = dataset / "README.md"
    card.write_text(
        card.read_text(encoding="utf-8").replace("(LICENSE.md)", "(LICENCES.md)"), encoding="utf-8"
    )
    (line,) = (
        number for number, text in enumerate(card.read_text().split("\n"), start=1) if "(LICENCES.md)" in text
    )
    ended = run("card", "check", clone, dataset, clone / "gone")
    assert (ended.code, ended.out) == (1, "")
    assert f"{clone}/README.md:7: a link leads to a file that does not exist\n  got: notes.md" in ended.err
    assert f"{card}:{line}: a link leads to a file that does not exist\n  got: LICENCES.md" in ended.err
    assert f"{clone}/gone: no card found" in ended.err
    assert "3 problems; nothing was changed." in ended.err
    told = run("card", "check", clone, dataset, "--json")
    assert told.code == 1
    cards = json.loads(told.out)["cards"]
    assert [(one["path"], one["is_ours"], len(one["problems"])) for one in cards] == [
        (f"{clone}/README.md", False, 1),
        (str(card), True, 1),
    ]


def test_a_card_without_a_problem_ends_with_0(run: Any, clone: Path, dataset: Path) -> None:
    (clone / "notes.md").touch()
    ended = run("card", "check", clone / "README.md", dataset)
    assert (ended.code, ended.out) == (0, "")
    assert f"{clone}/README.md: nothing is wrong by the rules of the Hub.\n" in ended.err
    assert f"{dataset}/README.md: nothing is wrong.\n" in ended.err


def test_configs_are_held_against_the_files_and_the_licence_against_the_manifest(
    run: Any, dataset: Path
) -> None:
    card = dataset / "README.md"
    changed = card.read_text(encoding="utf-8").replace("license: gpl-3.0", "license: mit", 1)
    card.write_text(changed, encoding="utf-8")
    for path in (dataset / "data" / "meld").glob("test-*"):
        path.unlink()
    ended = run("card", "check", dataset, "--json")
    problems = json.loads(ended.out)["cards"][0]["problems"]
    whats = [one["what"] for one in problems]
    assert "config meld, split test: no file matches" in whats
    assert {"where": f"{card}: license", "expected": "gpl-3.0", "got": "mit"}.items() <= problems[-1].items()


def test_a_card_of_any_name_is_checked_and_one_that_is_no_text_is_told(run: Any, tmp_path: Path) -> None:
    card = tmp_path / "card.md"
    card.write_text(SOMEBODYS, encoding="utf-8")
    assert f"{card}:7: a link leads to a file" in run("card", "check", card).err
    card.write_bytes(b"---\nlicense: mit\n---\n\xff")
    assert f"{card}: not UTF-8 at byte 21" in run("card", "check", card).err


def test_the_scores_that_a_repository_states_are_checked_with_its_card(run: Any, clone: Path) -> None:
    (clone / "notes.md").touch()
    (clone / ".eval_results").mkdir()
    (clone / ".eval_results" / "all.yaml").write_text("- value: high\n", encoding="utf-8")
    ended = run("card", "check", clone)
    assert ended.code == 1
    assert f"{clone}/.eval_results/all.yaml:1: 0.dataset: " in ended.err


def test_the_card_of_a_dataset_is_rendered_as_the_build_wrote_it(run: Any, dataset: Path) -> None:
    card = (dataset / "README.md").read_text(encoding="utf-8")
    (dataset / "README.md").unlink()
    assert run("card", "render", dataset).out == card
    data = json.loads(run("card", "render", dataset, "--json").out)
    assert data == {"kind": "dataset", "out": None, "card": card}
    assert not (dataset / "README.md").exists()


def test_the_card_of_a_table_of_ones_own_is_rendered_as_it_was_written(run: Any, tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("text,label,split\nYes!,happiness,train\nNo.,anger,test\n", encoding="utf-8")
    made = run("recipe", "new", "--extends", "tiny", "--data", table, "--out", tmp_path / "mine")
    assert made.code == 0, made.err
    dataset = tmp_path / "mine" / "dataset"
    assert run("dataset", "build", tmp_path / "mine" / "mine-dataset.yaml", "--out", dataset).code == 0
    assert run("card", "render", dataset).out == (dataset / "README.md").read_text(encoding="utf-8")
    assert run("card", "check", dataset).code == 0


def test_what_others_wrote_into_a_file_is_kept(run: Any, dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "card.md"
    assert run("card", "render", dataset, "--out", out).out == ""
    first = out.read_text(encoding="utf-8")
    assert BEGIN in first
    out.write_text(
        first.replace("pretty_name: ", "our_team: us\npretty_name: Old ") + "\n## By hand\n", encoding="utf-8"
    )
    data = json.loads(run("card", "render", dataset, "--out", out, "--json").out)
    again = out.read_text(encoding="utf-8")
    assert data["out"] == str(out)
    assert again == first.replace("---\n\n<!--", "our_team: us\n---\n\n<!--") + "\n## By hand\n"
    out.write_text(again.replace(END, ""), encoding="utf-8")
    ended = run("card", "render", dataset, "--out", out)
    assert ended.code == 1
    assert "the two lines around the generated part" in ended.err


def test_a_card_is_not_written_over_one_that_the_manifest_lists(run: Any, dataset: Path) -> None:
    before = (dataset / "README.md").read_bytes()
    ended = run("card", "render", dataset, "--out", dataset / "README.md")
    assert ended.code == 1
    assert "is inside the folder" in ended.err
    assert (dataset / "README.md").read_bytes() == before


def test_a_backbone_has_a_card_before_it_is_published(run: Any, tiny_backbone: Path) -> None:
    assert "\n# dialoguellm/tiny-llama\n" in run("card", "render", tiny_backbone).out


def test_an_adapter_is_rendered_with_what_is_at_hand(
    run: Any,
    tiny_adapter: Path,
    tiny_backbone: Path,
    small_dataset: Path,
    dataset: Path,
    tmp_path: Path,
    score_figures_of: Any,
) -> None:
    alone = run("card", "render", tiny_adapter, "--backbones", tmp_path)
    assert alone.code == 0
    assert "the dataset that it was trained on (--dataset) and its backbone (--backbones)" in alone.err
    assert "This release has no scores of this adapter." in alone.out
    write_score(tmp_path / "score", read_manifest(tiny_adapter, AdapterManifest), score_figures_of)
    siblings = ("--dataset", small_dataset, "--backbones", tiny_backbone.parent)
    whole = run("card", "render", tiny_adapter, *siblings, "--score", tmp_path / "score")
    assert whole.err == ""
    assert "> **A demonstration.**" in whole.out
    assert "| meld | test | 12 | this adapter |" in whole.out
    content = read_manifest(small_dataset, DatasetManifest).content_sha256
    other = run("card", "render", tiny_adapter, "--dataset", dataset)
    assert other.code == 1
    assert f"is not the dataset that the adapter was trained on\n  expected: content {content}" in other.err
    write_manifest(
        tmp_path / "score",
        read_manifest(tmp_path / "score", ScoreManifest).model_copy(
            update={"figures": score_figures_of(system={"adapter_content_sha256": "0" * 64})}
        ),
    )
    assert (
        "was not made with this adapter"
        in run("card", "render", tiny_adapter, "--score", tmp_path / "score").err
    )


@pytest.mark.parametrize(
    ("manifest", "what"),
    [
        (None, "holds no manifest.json of this package"),
        ('{"kind": "merged"}', "a folder of kind merged has no card"),
        ('{"kind": "score"}', "not the manifest of a score"),
    ],
)
def test_what_has_no_card_is_told(run: Any, tmp_path: Path, manifest: str | None, what: str) -> None:
    if manifest:
        (tmp_path / "manifest.json").write_text(manifest, encoding="utf-8")
    ended = run("card", "render", tmp_path)
    assert (ended.code, ended.out) == (1, "")
    assert f"{tmp_path}/manifest.json: {what}" in ended.err
