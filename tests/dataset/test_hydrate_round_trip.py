"""Built, published without some of its text, hydrated: the same folder, byte for byte."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dialoguellm_release.folders import read_manifest, stamps
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import CorpusName
from dialoguellm_release.step import StepResult
from dialoguellm_release.steps.dataset import build_dataset, check_dataset, hydrate_dataset
from tests.corpus_names import CORPORA

Dataset = StepResult[DatasetManifest]


@pytest.mark.parametrize(
    ("full", "standoff"),
    [
        (("meld", "emorynlp", "dailydialog"), ()),
        (("emorynlp",), ("meld", "dailydialog", "meisd", "iemocap")),
        (("meisd", "iemocap"), ("meld",)),
        ((), ()),
    ],
    ids=lambda names: "-".join(names) or "none",
)
def test_the_round_trip_gives_the_same_folder(
    publish: Callable[..., Path],
    demo_dataset: Dataset,
    full: tuple[CorpusName, ...],
    standoff: tuple[CorpusName, ...],
    synthetic_dir: Path,
    tmp_path: Path,
) -> None:
    """Byte for byte, card and manifest as well; only what was withheld is read from the sources."""
    copy = publish(demo_dataset, tmp_path / "copy", full, standoff)
    own = tmp_path / "own"
    own.mkdir()
    for name in set(CORPORA) - set(full):
        shutil.copytree(synthetic_dir / name, own / name)
    made = hydrate_dataset(copy, own, tmp_path / "out")
    assert made.manifest.content_sha256 == demo_dataset.manifest.content_sha256
    assert stamps(made.folder) == stamps(demo_dataset.folder)
    assert without_origin(made) == without_origin(demo_dataset)
    assert check_dataset(made.folder) == []


def test_another_label_space_comes_back_as_well(
    publish: Callable[..., Path], synthetic_dir: Path, tmp_path: Path
) -> None:
    extras = "powerful: neutral, peaceful: neutral, excitement: happiness, frustration: anger"
    built = build_dataset(
        "demo",
        synthetic_dir,
        tmp_path / "built",
        overrides=["context_k=3", "label_space=basic7", f"relabel={{{extras}, acceptance: neutral}}"],
    )
    copy = publish(built, tmp_path / "copy", {"emorynlp", "meisd", "iemocap"}, {"dailydialog", "meld"})
    made = hydrate_dataset(copy, synthetic_dir, tmp_path / "out")
    assert stamps(made.folder) == stamps(built.folder)
    assert without_origin(made) == without_origin(built)


def without_origin(made: Dataset) -> DatasetManifest:
    """A manifest but for what it was made from: native files, or some of them and the published copy."""
    return made.manifest.model_copy(update={"inputs": (), "folders": {}})


def replace(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


@pytest.mark.corpora
@pytest.mark.parametrize(
    "held",
    [{"meld", "dailydialog", "meisd"}, pytest.param({"dailydialog"}, marks=pytest.mark.slow)],
    ids=len,
)
def test_the_real_corpora_come_back(
    publish: Callable[..., Path],
    held: set[CorpusName],
    paper_dataset: Dataset,
    real_own: Path,
    tmp_path: Path,
) -> None:
    """In another process, with another hash seed, in a folder of another name.

    With rows of what was withheld or of a part of it: MEISD is then drawn again.
    """
    copy, out = publish(paper_dataset, tmp_path / "copy", {"emorynlp"}, held), tmp_path / "another_name"
    command = [sys.executable, "-m", "dialoguellm_release.cli.main", "dataset", "hydrate", str(copy)]
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    subprocess.run([*command, "--sources", str(real_own), "--out", str(out)], env=environment, check=True)
    made = StepResult(out, read_manifest(out, DatasetManifest), False)
    assert made.manifest.content_sha256 == paper_dataset.manifest.content_sha256
    assert stamps(out) == stamps(paper_dataset.folder)
    assert without_origin(made) == without_origin(paper_dataset)


@pytest.mark.corpora
@pytest.mark.slow
def test_other_versions_of_real_files_pass_where_they_say_the_same(
    paper_dataset: Dataset, real_copy: Path, real_own: Path, tmp_path: Path
) -> None:
    """MEISD with CRLF, the known twin; MELD as it was before November 2020, with C1 characters and LF."""
    meisd = real_own / "meisd" / "MEISD_text.csv"
    replace(meisd, meisd.read_bytes().replace(b"\n", b"\r\n"))
    train = real_own / "meld" / "train_sent_emo.csv"
    text = train.read_bytes().decode().replace("\r\n", "\n")
    old = text.translate({ord(new): chr(new.encode("cp1252")[0]) for new in "’‘“”…—–"})
    replace(train, old.encode())
    made = hydrate_dataset(real_copy, real_own, tmp_path / "out")
    assert made.manifest.content_sha256 == paper_dataset.manifest.content_sha256
    assert made.manifest.figures.corpora["meld"].unknown_files == ("meld/train_sent_emo.csv",)
    assert made.manifest.figures.corpora["meld"].repairs["meld.c1_as_cp1252"] > 1000


@pytest.mark.corpora
def test_no_text_of_a_withheld_real_corpus_is_in_its_rows(paper_dataset: Dataset, real_copy: Path) -> None:
    texts = {
        text
        for name in ("meld", "meisd", "dailydialog")
        for path in (paper_dataset.folder / "data" / name).glob("*.parquet")
        for text in pq.read_table(path)["input"].to_pylist()
        if " " in text
    }
    values = {
        str(value)
        for path in (real_copy / "standoff").rglob("*.parquet")
        for column in pq.read_table(path).columns
        for value in column.to_pylist()
    }
    assert len(texts) > 80_000
    assert not texts & values
