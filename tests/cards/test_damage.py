"""Cards, files of scores and manifests that were damaged: read, or a problem names the file."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from dialoguellm_release.cards.check import checked_card, eval_result_problems
from dialoguellm_release.cards.model import eval_results
from dialoguellm_release.folders import MANIFEST, read_manifest
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.manifests import (
    AdapterManifest,
    BackboneManifest,
    Manifest,
    ScoreManifest,
)
from dialoguellm_release.steps.release import RenderedCard, write_card
from tests.damage import damaged, only_release_errors

GOLDEN = Path(__file__).parents[1] / "golden" / "cards"
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["dataset-published.md", "adapter.md"])
def test_a_damaged_card_is_checked_and_every_problem_names_it(name: str, tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    found = 0
    for damage, content in damaged((GOLDEN / name).read_bytes(), range(200)):
        path.write_bytes(content)
        with only_release_errors(damage, names="README.md"):
            problems = checked_card(path).problems
        assert all(str(path) in one.where for one in problems), damage
        assert all(one.code for one in problems), damage
        found += len(problems)
    assert found > 30


def test_a_damaged_card_is_kept_or_refused_when_it_is_written_again(tmp_path: Path) -> None:
    folder, out = tmp_path / "folder", tmp_path / "README.md"
    folder.mkdir()
    text = (GOLDEN / "adapter.md").read_text(encoding="utf-8")
    card = RenderedCard("adapter", text)
    write_card(card, folder, out)
    whole = out.read_bytes()
    for damage, content in damaged(whole, range(1_000, 1_150)):
        out.write_bytes(content)
        refused = True
        with only_release_errors(damage, names="README.md"):
            write_card(card, folder, out)
            refused = False
        assert out.read_bytes() == content if refused else "golden_prompt.json" in out.read_text("utf-8"), (
            damage
        )


def test_a_damaged_file_of_scores_is_read_or_named(score: ScoreManifest) -> None:
    (text,) = eval_results([score.figures], "o/data", "5" * 40).values()
    for damage, content in damaged(text.encode(), range(2_000, 2_150)):
        with only_release_errors(damage, names="meld.yaml"):
            problems = list(eval_result_problems("meld.yaml", content.decode("utf-8", errors="replace")))
        assert all("meld.yaml" in one.where and one.code for one in problems), damage


@pytest.mark.parametrize(
    ("fixture", "model"),
    [
        ("dataset", DatasetManifest),
        ("adapter", AdapterManifest),
        ("backbone", BackboneManifest),
        ("score", ScoreManifest),
    ],
)
def test_a_damaged_manifest_is_read_or_named(
    fixture: str, model: type[Manifest], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    manifest = request.getfixturevalue(fixture)
    assert isinstance(manifest, BaseModel)
    content = manifest.model_dump_json(indent=2).encode()
    for damage, broken in damaged(content, range(3_000, 3_150)):
        (tmp_path / MANIFEST).write_bytes(broken)
        with only_release_errors(damage, names=MANIFEST):
            read_manifest(tmp_path, model)
