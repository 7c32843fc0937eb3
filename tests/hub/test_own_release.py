"""A user's corpus and adapter under an owner of their own: published, verified, loaded, hydrated."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dialoguellm_release import publish
from dialoguellm_release.errors import DataError, PublishError
from dialoguellm_release.hub.checks import Check
from dialoguellm_release.layout import CROISSANT
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.schemas.corpus import CorpusEntry
from dialoguellm_release.steps.adapter import train_adapter
from dialoguellm_release.steps.dataset import build_dataset, check_dataset, hydrate_dataset
from dialoguellm_release.steps.recipe import DataOptions, new_recipe
from dialoguellm_release.steps.release import verify_release
from dialoguellm_release.steps.score import ModelChoice, score
from tests.dataset.test_scripts import SENTENCES
from tests.hub_server.accounts import Token
from tests.hub_server.server import HubServer
from tests.own_corpus import LABELS, write_own_corpus

OWNER = "river-lab"
RELEASE = f"""\
version: 1
kind: release
description: Talk.
tag: v1.0.0
changelog: The first release.
dataset: {{repo_id: {OWNER}/talk, folder: dataset}}
"""
ANSWERS = ("redistribute", "share_alike", "non_commercial", "research_only", "signed_form")
UNSTATED: dict[str, object] = {
    "id": "LicenseRef-unknown",
    "name": "not stated",
    "stated_in": "nowhere",
    "verified": False,
    **dict.fromkeys(ANSWERS, "unknown"),
}


def made(folder: Path, **changes: Any) -> Path:
    """A build of a Hindi corpus, whose prompt file is gone, with the release recipe beside it."""
    recipe = write_own_corpus(folder / "own", "hi", **changes)
    build_dataset(recipe, folder / "own", folder / "build" / "dataset")
    (folder / "own" / "my-prompt.yaml").unlink()
    (folder / "release.yaml").write_text(RELEASE, encoding="utf-8")
    return folder / "build"


def failed(checks: Sequence[Check]) -> list[str]:
    return [problem.code for check in checks for problem in check.problems]


def test_a_corpus_that_states_its_licence_is_published_and_verified(tmp_path: Path) -> None:
    """With a title and labels in its own script too."""
    labels = dict(zip(LABELS, ("क्रोध", "खुशी", "दुख", "आश्चर्य"), strict=True))
    build = made(tmp_path, title="बातचीत", label_space=list(labels.values()), label_map=labels)
    publish(tmp_path / "release.yaml", build, tmp_path / "to")
    (found,) = verify_release(tmp_path / "release.yaml", tmp_path / "to")
    assert failed(found.checks) == []
    assert {check.name for check in found.checks if check.outcome == "pass"} >= {
        "content",
        "corpus licences",
        "loading",
    }
    copy = tmp_path / "to" / "datasets" / OWNER / "talk"
    card = (copy / "README.md").read_text(encoding="utf-8")
    assert "license: cc-by-4.0" in card
    assert "- बातचीत: Tester et al. (2026): A Talk in Four Scenes." in card
    assert ", ".join(labels.values()) in card
    described = json.loads((copy / CROISSANT).read_text(encoding="utf-8"))
    assert described["citeAs"].endswith("बातचीत: Tester et al. (2026): A Talk in Four Scenes.")
    assert (copy / "LICENSE.md").read_text(encoding="utf-8").count("its readme") == 2


def test_a_corpus_without_a_stated_licence_is_refused_with_what_to_do(tmp_path: Path) -> None:
    build = made(tmp_path, text_license=UNSTATED, label_license=UNSTATED)
    with pytest.raises(PublishError) as raised:
        publish(tmp_path / "release.yaml", build, tmp_path / "to")
    (problem,) = raised.value.problems
    assert problem.code == "licenses.not_allowed"
    assert problem.fix is not None
    assert "state it in its corpus file" in problem.fix
    assert not (tmp_path / "to" / "datasets").exists()


def test_a_corpus_file_of_ones_own_does_not_free_a_known_corpus(tmp_path: Path) -> None:
    recipe = write_own_corpus(tmp_path / "own", "hi", name="iemocap")
    stated = json.loads(recipe.read_text(encoding="utf-8"))
    stated["corpora"]["iemocap"] = stated["corpora"].pop("talk")
    recipe.write_text(json.dumps(stated), encoding="utf-8")
    (tmp_path / "own" / "talk").rename(tmp_path / "own" / "iemocap")
    build_dataset(recipe, tmp_path / "own", tmp_path / "build" / "dataset")
    (tmp_path / "release.yaml").write_text(RELEASE, encoding="utf-8")
    with pytest.raises(PublishError) as raised:
        publish(tmp_path / "release.yaml", tmp_path / "build", tmp_path / "to")
    assert [problem.code for problem in raised.value.problems] == ["licenses.known_corpus"]


@pytest.mark.parametrize("beside", [[], pytest.param(["meld"], marks=pytest.mark.slow)])
def test_a_corpus_whose_text_stays_is_hydrated_from_a_copy(
    beside: list[str], tmp_path: Path, synthetic_dir: Path
) -> None:
    """Published alone or beside a bundled corpus with its text."""
    own = tmp_path / "own"
    recipe = write_own_corpus(own, "zh", text_license=UNSTATED, distribution="standoff")
    stated = json.loads(recipe.read_text(encoding="utf-8"))
    for name in beside:
        stated["corpora"][name] = {"distribution": "full"}
        (own / name).symlink_to(synthetic_dir / name)
    recipe.write_text(json.dumps(stated), encoding="utf-8")
    built = build_dataset(recipe, own, tmp_path / "build" / "dataset").manifest
    (own / "my-prompt.yaml").unlink()
    (tmp_path / "release.yaml").write_text(RELEASE, encoding="utf-8")
    publish(tmp_path / "release.yaml", tmp_path / "build", tmp_path / "to")
    (found,) = verify_release(tmp_path / "release.yaml", tmp_path / "to")
    assert failed(found.checks) == []
    copy = tmp_path / "to" / "datasets" / OWNER / "talk"
    card = (copy / "README.md").read_text(encoding="utf-8")
    assert "- zh-Hans\n" in card
    assert "A Talk in Four Scenes" in card
    assert all(sentence not in card for sentence in SENTENCES["zh"])
    with pytest.raises(DataError) as raised:
        hydrate_dataset(copy, tmp_path / "nothing", tmp_path / "full")
    (missing,) = raised.value.problems
    assert (missing.code, missing.expected) == ("hydration.copy_missing", "talk/talk.jsonl")
    assert missing.fix is not None
    assert "the publishers of this copy" in missing.fix
    full = hydrate_dataset(copy, own, tmp_path / "full")
    assert full.manifest.content_sha256 == built.content_sha256
    assert check_dataset(full.folder) == []


def test_lost_rows_without_text_are_noticed(tmp_path: Path) -> None:
    build = made(tmp_path, text_license=UNSTATED, distribution="standoff")
    publish(tmp_path / "release.yaml", build, tmp_path / "to")
    (path,) = (tmp_path / "to" / "datasets" / OWNER / "talk" / "standoff" / "talk").glob("test-*.parquet")
    pq.write_table(pq.read_table(path).slice(1), path)
    (found,) = verify_release(path.parents[2], tmp_path / "to")
    assert "verify.other_counts" in failed(found.checks)


@pytest.mark.slow
def test_a_table_and_an_adapter_of_it_under_another_owner(
    hub_server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From `recipe new`, a corpus file that was edited and a prompt in Hindi to readers of the Hub."""
    from datasets import load_dataset
    from huggingface_hub import hf_hub_download
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    monkeypatch.chdir(tmp_path)
    write_own_corpus(tmp_path / "own", "hi")
    options = DataOptions(
        columns={"text": "said", "label": "felt", "speaker": "who", "dialogue": "scene", "split": "part"}
    )
    new = new_recipe("tiny", "own/talk/talk.jsonl", "mine", options=options, release=OWNER)
    assert new.score
    assert new.release
    stated = load_recipe("own/talk.yaml", "corpus", CorpusEntry).recipe
    known = ("title", "citation", "language", "text_license", "label_license")
    entry = load_recipe(str(new.corpus), "corpus", CorpusEntry).recipe
    edited = entry.model_copy(update={name: getattr(stated, name) for name in known})
    new.corpus.write_text(edited.model_dump_json(exclude_defaults=True), encoding="utf-8")
    for recipe in (new.dataset, new.recipe):
        text = recipe.read_text(encoding="utf-8")
        recipe.write_text(text.replace("dialogue-v1", "../own/my-prompt.yaml"), encoding="utf-8")
    built = build_dataset(new.dataset, out="build/talk-dataset")
    adapter = train_adapter(
        new.recipe, built.folder, "build/adapters/talk", overrides=["trainer.max_steps=2"]
    )
    (tmp_path / "own" / "my-prompt.yaml").unlink()
    scored = score(new.score, built.folder, ModelChoice(adapter.folder))
    bare = score(
        new.score, built.folder, ModelChoice(backbone=str(tmp_path / "mine" / "talk-backbone.yaml")), "bare"
    )
    assert bare.manifest.figures.protocol.prompt_sha256 == scored.manifest.figures.protocol.prompt_sha256
    monkeypatch.setenv("HF_TOKEN", hub_server.accounts.add("hf_river", Token("asha", organizations=(OWNER,))))
    publish(new.release, "build", "hub")
    monkeypatch.delenv("HF_TOKEN")
    verified = verify_release(new.release, "hub", sample=2)
    assert [one.where for one in verified] == [
        f"datasets/{OWNER}/talk",
        f"{OWNER}/talk-backbone",
        f"{OWNER}/talk-tiny",
    ]
    assert [failed(one.checks) for one in verified] == [[], [], []]
    loaded = load_dataset(f"{OWNER}/talk", revision="v1.0.0")
    assert {name: len(rows) for name, rows in loaded.items()} == {"train": 4, "validation": 2, "test": 2}
    assert loaded["test"]["input"] == SENTENCES["hi"][6:]
    base = AutoModelForCausalLM.from_pretrained(f"{OWNER}/talk-backbone")
    model = PeftModel.from_pretrained(base, f"{OWNER}/talk-tiny", revision="v1.0.0")
    assert model.peft_config["default"].base_model_name_or_path == f"{OWNER}/talk-backbone"
    assert AutoTokenizer.from_pretrained(f"{OWNER}/talk-tiny").chat_template
    card = Path(hf_hub_download(f"{OWNER}/talk-tiny", "README.md")).read_text(encoding="utf-8")
    assert "- **Language:** hi\n" in card
    published = json.loads(Path(hf_hub_download(f"{OWNER}/talk-tiny", "manifest.json")).read_text("utf-8"))
    named = published["recipe"]["resolved"]
    assert (named["prompt"], named["backbone"]) == ("my-prompt", "talk-backbone")
    assert not [text for text in (card, json.dumps(published)) if str(tmp_path) in text or "own/my" in text]
