"""`dlm-release demo`: the whole path once, and what it published read back by the libraries of the field."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dialoguellm_release.folders import read_manifest
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import LABELS
from dialoguellm_release.schemas.manifests import AdapterManifest, ScoreManifest

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def release(made: tuple[Path, str]) -> Path:
    return made[0] / "release"


def test_the_screen_shows_what_was_made(made: tuple[Path, str]) -> None:
    out, screen = made
    score = read_manifest(out / "scores" / "meld-tiny", ScoreManifest)
    assert f"{100 * score.figures.metrics['weighted_f1']:.2f}" in screen
    assert read_manifest(out / "dataset", DatasetManifest).content_sha256 in screen
    for line in ("load_dataset(", "AutoModelForCausalLM.from_pretrained(", "PeftModel.from_pretrained("):
        assert line in screen


def test_the_lines_on_the_screen_load_it(made: tuple[Path, str]) -> None:
    lines = made[1].split("Load it\n")[1].strip().splitlines()
    assert len(lines) == 3
    names: dict[str, object] = {}
    exec("\n".join(lines), names)
    assert len(names["dataset"]) > 100  # type: ignore[arg-type]
    assert names["dataset"].features["label"].names == list(LABELS)  # type: ignore[attr-defined]
    assert sum("lora_" in name for name, _ in names["model"].named_parameters()) > 0  # type: ignore[attr-defined]


def test_the_published_adapter_answers_as_the_scored_one(made: tuple[Path, str], release: Path) -> None:
    """Read anew from the release, base and tokenizer too, it gives the probabilities of the score folder."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    models = release / "models" / "dialoguellm"
    base = AutoModelForCausalLM.from_pretrained(models / "tiny-llama")
    model = PeftModel.from_pretrained(base, models / "tiny").eval()
    tokenizer = AutoTokenizer.from_pretrained(models / "tiny")
    scored = pq.read_table(made[0] / "scores" / "meld-tiny" / "predictions.parquet").to_pylist()[:20]
    sft = {
        row["id"]: row["prompt"]
        for path in sorted(
            (release / "datasets" / "dialoguellm" / "instructions" / "sft").glob("test-meld-*")
        )
        for row in pq.read_table(path).to_pylist()
    }
    labels = LABELS[:7]
    first_ids = [tokenizer(f" {label}", add_special_tokens=False).input_ids[0] for label in labels]
    for row in scored:
        with torch.inference_mode():
            logits = model(**tokenizer(sft[row["id"]], return_tensors="pt")).logits[0, -1]
        found = dict(zip(labels, logits[first_ids].softmax(-1).tolist(), strict=True))
        assert {label: row[f"score_{label}"] for label in labels} == pytest.approx(found, abs=1e-5)
        assert row["prediction"] == max(found, key=lambda label: found[label])


def test_every_published_config_loads(made: tuple[Path, str], release: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    folder = release / "datasets" / "dialoguellm" / "instructions"
    built = read_manifest(made[0] / "dataset", DatasetManifest).figures.corpora
    for corpus in ("meld", "emorynlp", "dailydialog"):
        loaded = load_dataset(str(folder), corpus, cache_dir=str(tmp_path))
        assert {split: len(rows) for split, rows in loaded.items()} == {
            split: sizes.utterances for split, sizes in built[corpus].splits.items()
        }
    default = load_dataset(str(folder), cache_dir=str(tmp_path))
    assert set(default["train"]["corpus"]) == {"meld", "emorynlp", "dailydialog"}
    assert len(load_dataset(str(folder), "sft", cache_dir=str(tmp_path))["test"]) == len(default["test"])
    with pytest.raises(ValueError, match="meisd"):
        load_dataset(str(folder), "meisd", cache_dir=str(tmp_path))


def test_no_word_of_a_withheld_corpus_is_in_the_release(made: tuple[Path, str], release: Path) -> None:
    def texts(corpus: str) -> set[str]:
        files = sorted((made[0] / "dataset" / "data" / corpus).glob("*.parquet"))
        return {text for path in files for text in pq.read_table(path).to_pydict()["input"]}

    free = "\n".join(texts("meld") | texts("emorynlp") | texts("dailydialog"))
    withheld = {text for text in texts("meisd") | texts("iemocap") if text not in free}
    assert len(withheld) > 100
    published = [path for path in sorted(release.rglob("*")) if path.suffix in (".parquet", ".json", ".md")]
    assert len(published) > 20
    shown: set[str] = set()
    for path in published:
        if path.suffix == ".parquet":
            columns = pq.read_table(path).to_pydict()
            shown |= {text for name in ("input", "prompt") for text in columns.get(name, ())}
        else:
            shown.add(path.read_text(encoding="utf-8"))
    everything = "\n".join(shown)
    assert not [text for text in withheld if len(text.split()) >= 5 and text in everything]


def test_the_metric_of_the_release_gives_the_scores(made: tuple[Path, str], release: Path) -> None:
    import evaluate

    metric = evaluate.load(str(release / "spaces" / "dialoguellm" / "erc_scores"))
    rows = pq.read_table(made[0] / "scores" / "meld-tiny" / "predictions.parquet").to_pydict()
    space = list(LABELS[:7])
    by_name = metric.compute(
        references=rows["reference"], predictions=rows["prediction"], labels=space, without="neutral"
    )
    figures = read_manifest(made[0] / "scores" / "meld-tiny", ScoreManifest).figures
    assert figures.metrics == {name: by_name[name] for name in figures.metrics}
    assert figures.confusion_matrix == tuple(map(tuple, by_name["confusion_matrix"]))
    ids = [[LABELS.index(label) for label in rows[column]] for column in ("reference", "prediction")]
    by_id = metric.compute(references=ids[0], predictions=ids[1], labels=list(range(7)), without=6)
    assert {name: by_id[name] for name in figures.metrics} == figures.metrics


def test_the_release_is_tagged_and_names_no_path_of_this_machine(
    made: tuple[Path, str], release: Path
) -> None:
    repositories = sorted(path.parent for path in release.rglob(".git"))
    assert [path.relative_to(release).as_posix() for path in repositories] == [
        "datasets/dialoguellm/instructions",
        "models/dialoguellm/tiny",
        "models/dialoguellm/tiny-llama",
        "spaces/dialoguellm/emotion_demo",
        "spaces/dialoguellm/erc_scores",
    ]
    for repository in repositories:
        tags = subprocess.run(
            ["git", "tag"], cwd=repository, capture_output=True, text=True, check=True
        ).stdout
        assert tags.split() == ["v1.0.0"]
        for path in repository.rglob("*"):
            if path.is_file() and ".git" not in path.parts:
                assert str(made[0]).encode() not in path.read_bytes()
                assert os.fsencode(Path.home()) not in path.read_bytes()


def written(out: Path) -> dict[Path, int]:
    """When each file was written; locks and git's own books may be touched at any time."""
    files = (path for path in out.rglob("*") if path.is_file())
    return {
        path: path.stat().st_mtime_ns
        for path in files
        if not any(part.startswith(".") for part in path.relative_to(out).parts)
    }


def test_the_demo_again_does_nothing(made: tuple[Path, str], demo: Callable[..., str]) -> None:
    out, screen = made
    before = written(out)
    again = demo(out)
    assert written(out) == before
    assert again.replace("unchanged", "committed").split("Release")[0] == screen.split("Release")[0]


def test_the_adapter_stands_on_the_dataset(made: tuple[Path, str]) -> None:
    adapter = read_manifest(made[0] / "adapters" / "tiny", AdapterManifest)
    dataset = read_manifest(made[0] / "dataset", DatasetManifest)
    score = json.loads((made[0] / "scores" / "meld-tiny" / "scores.json").read_text())
    assert adapter.figures.dataset_content_sha256 == dataset.content_sha256
    assert score["system"]["adapter_content_sha256"] == adapter.content_sha256
    assert adapter.figures.records == dataset.figures.corpora["meld"].splits["train"].utterances
