"""What CONTRIBUTING says is needed for a corpus, a backbone, a metric and a describer is enough."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from dialoguellm_release.cards.check import check_our_card
from dialoguellm_release.errors import RecipeError
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.records import read_records
from dialoguellm_release.schemas.labels import LABELS
from dialoguellm_release.schemas.scores import METRICS, MetricName
from dialoguellm_release.schemas.video import ServedDescriber, VideoRecipe
from dialoguellm_release.steps.adapter import check_adapter
from dialoguellm_release.steps.dataset import audit_dataset, build_dataset, check_dataset
from dialoguellm_release.steps.release import check_cards

ROOT = Path(__file__).parents[1]
TABLE = """\
scene,turn,who,line,mood,part
s1,0,Ada,The ferry left without us again.,frustrated,train
s1,1,Bo,Then we walk along the shore and sing.,amused,train
s2,0,Ada,Somebody painted my bicycle bright green!,amused,dev
s3,0,Bo,I waited for two hours in the rain.,frustrated,test
"""


def blocks(language: str) -> list[str]:
    """The code blocks of CONTRIBUTING in a language."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def test_a_corpus_is_one_file(tmp_path: Path) -> None:
    corpus, dataset = blocks("yaml")[:2]
    (tmp_path / "data" / "ferry").mkdir(parents=True)
    (tmp_path / "data" / "ferry" / "lines.csv").write_text(TABLE, encoding="utf-8")
    (tmp_path / "ferry.yaml").write_text(corpus, encoding="utf-8")
    (tmp_path / "dataset.yaml").write_text(dataset, encoding="utf-8")
    built = build_dataset(tmp_path / "dataset.yaml", tmp_path / "data", tmp_path / "built")
    figures = built.manifest.figures
    assert figures.records == {"train": 2, "validation": 1, "test": 1}
    assert figures.class_labels == (*LABELS, "amused")
    assert check_dataset(built.folder) == []
    assert len(audit_dataset(built.folder).overlaps) == 2
    second = list(read_records(built.folder, "ferry", "train"))[1]
    assert (second.id, second.label, second.source_label) == ("ferry/train/s1/1", "amused", "amused")
    assert second.context == ("Ada: The ferry left without us again.",)
    card = (built.folder / "README.md").read_text(encoding="utf-8")
    assert check_our_card(card, [file.path for file in built.manifest.outputs]) == []
    assert all(not checked.problems for checked in check_cards([built.folder]))
    assert "lines that passengers of an invented ferry say" in card
    assert "- en" in card.split("---")[1]


def test_a_corpus_beside_a_bundled_one(tmp_path: Path, synthetic_dir: Path) -> None:
    corpus, dataset = blocks("yaml")[:2]
    data = tmp_path / "data"
    (data / "ferry").mkdir(parents=True)
    (data / "ferry" / "lines.csv").write_text(TABLE, encoding="utf-8")
    for name in ("meld", "masac"):
        (data / name).symlink_to(synthetic_dir / name)
    (tmp_path / "ferry.yaml").write_text(corpus, encoding="utf-8")
    more = dataset + "  masac: {}\n  meld: {distribution: full}\n"
    (tmp_path / "dataset.yaml").write_text(more, encoding="utf-8")
    built = build_dataset(tmp_path / "dataset.yaml", data, tmp_path / "built")
    figures = built.manifest.figures
    assert list(figures.corpora) == ["ferry", "masac", "meld"]
    assert figures.class_labels == (*LABELS, "amused", "contempt")
    assert check_dataset(built.folder) == []


def test_a_corpus_file_with_another_name_is_refused(tmp_path: Path) -> None:
    corpus, dataset = blocks("yaml")[:2]
    (tmp_path / "ferry.yaml").write_text(corpus.replace("name: ferry", "name: boat"), encoding="utf-8")
    (tmp_path / "dataset.yaml").write_text(dataset, encoding="utf-8")
    with pytest.raises(RecipeError) as raised:
        build_dataset(tmp_path / "dataset.yaml", tmp_path, tmp_path / "built")
    assert [problem.code for problem in raised.value.problems] == ["corpora.name_differs"]


def test_twenty_corpora_in_one_dataset(tmp_path: Path) -> None:
    corpus, dataset = blocks("yaml")[:2]
    head, names = dataset[: dataset.index("corpora:")], [f"ferry_{number}" for number in range(20)]
    for name in names:
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "lines.csv").write_text(TABLE, encoding="utf-8")
        text = corpus.replace("name: ferry", f"name: {name}")
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    listed = "".join(f"  {name}: {{file: {name}.yaml}}\n" for name in names)
    (tmp_path / "dataset.yaml").write_text(f"{head}corpora:\n{listed}", encoding="utf-8")
    built = build_dataset(tmp_path / "dataset.yaml", tmp_path / "data", tmp_path / "built")
    assert check_dataset(built.folder) == []
    overlaps = audit_dataset(built.folder).overlaps
    assert len(overlaps) == 20 * 2 * 20
    assert not any(row.utterances_found for row in overlaps)
    assert built.manifest.figures.audit is not None
    last = built.manifest.figures.corpora["ferry_19"].parts["train"]
    assert (last.clean, last.duplicates) == (0, 2)


def test_masac_from_one_file(tmp_path: Path, synthetic_dir: Path) -> None:
    overrides = ["corpora.masac.expect=null"]
    built = build_dataset("masac", synthetic_dir, tmp_path / "built", overrides=overrides)
    figures = built.manifest.figures
    assert {split: size.dialogues for split, size in figures.corpora["masac"].splits.items()} == {
        "train": 8,
        "validation": 3,
    }
    assert figures.class_labels == (*LABELS, "contempt")
    assert figures.corpora["masac"].labels["train"]["contempt"] > 0
    assert check_dataset(built.folder) == []
    mapped = ["label_space=basic7", "relabel.contempt=disgust", *overrides]
    seven = build_dataset("masac", synthetic_dir, tmp_path / "seven", overrides=mapped).manifest.figures
    assert seven.class_labels == LABELS
    counts = [labels.get("contempt", 0) for labels in figures.corpora["masac"].labels.values()]
    assert seven.relabelled == {"contempt -> disgust": sum(counts)}


def test_a_backbone_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ferry.yaml").write_text(blocks("yaml")[2], encoding="utf-8")
    check = check_adapter("tiny", overrides=[f"backbone={tmp_path / 'ferry.yaml'}"])
    attention, mlp, norms = 64 * 64 * 2 + 64 * 32 * 2, 3 * 64 * 128, 2 * 64
    assert check.parameters == 2 * 1000 * 64 + 2 * (attention + mlp + norms) + 64


def test_a_describer_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "ferry.yaml").write_text(blocks("yaml")[3], encoding="utf-8")
    recipe = load_recipe(str(tmp_path / "ferry.yaml"), "video", VideoRecipe).recipe
    assert isinstance(recipe.describer, ServedDescriber)
    assert (recipe.describer.model, recipe.describer.type) == ("your-name/ferry-vision", "chat")
    assert recipe.prompt.name == "describe-v1"


def test_a_metric_that_is_named_is_shown() -> None:
    assert set(METRICS) == set(get_args(MetricName))


@pytest.mark.corpora
def test_masac_itself(corpora_dir: Path, tmp_path: Path) -> None:
    figures = build_dataset("masac", corpora_dir, tmp_path / "built").manifest.figures
    sizes = {split: (one.dialogues, one.utterances) for split, one in figures.corpora["masac"].splits.items()}
    assert sizes == {"train": (343, 8506), "validation": (46, 1354)}
    assert figures.corpora["masac"].labels["train"]["contempt"] == 542


def test_parallel_lists_that_differ_are_refused(tmp_path: Path, synthetic_dir: Path) -> None:
    from dialoguellm_release.errors import DataError

    folder = tmp_path / "masac"
    folder.mkdir()
    for name in ("train", "val"):
        text = (synthetic_dir / "masac" / f"MaSaC_{name}_erc.json").read_text(encoding="utf-8")
        document: Any = json.loads(text)
        document[0]["emotions"].pop()
        (folder / f"MaSaC_{name}_erc.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(DataError) as raised:
        build_dataset("masac", tmp_path, tmp_path / "built")
    assert [problem.code for problem in raised.value.problems] == ["corpora.lists_differ"] * 2
