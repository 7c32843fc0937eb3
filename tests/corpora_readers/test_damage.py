"""Damaged native files: every dialogue is read, or the error names the file."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dialoguellm_release.corpora.cells import Notes
from dialoguellm_release.corpora.readers import read_corpus
from dialoguellm_release.corpora.registry import corpus_entry
from dialoguellm_release.schemas.recipes.dataset import CorpusRecipe
from tests.damage import damaged, only_release_errors

FILES = {
    "meld": "test_sent_emo.csv",
    "emorynlp": "emorynlp_test_final.csv",
    "emorynlp/json": "emotion-detection-tst.json",
    "dailydialog": "train/dialogues_train.txt",
    "dailydialog/labels": "train/dialogues_emotion_train.txt",
    "dailydialog/zip": "test.zip",
    "meisd": "MEISD_text.csv",
    "masac": "MaSaC_val_erc.json",
    "iemocap": "Session1/dialog/transcriptions/Ses01F_impro01.txt",
    "iemocap/labels": "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt",
}


@pytest.mark.slow
@pytest.mark.parametrize("case", sorted(FILES))
def test_damaged_native_files(case: str, synthetic_dir: Path, tmp_path: Path) -> None:
    corpus, _, release = case.partition("/")
    folder = tmp_path / corpus
    shutil.copytree(synthetic_dir / corpus, folder)
    path = folder / FILES[case]
    recipe = CorpusRecipe(source="json") if release == "json" else CorpusRecipe()
    outcomes = set()
    for name, changed in damaged(path.read_bytes(), range(100)):
        path.write_bytes(changed)
        outcomes.add(False)
        with only_release_errors(name, names=path.name.removesuffix(".zip")):
            outcomes.add(len(list(read_corpus(corpus_entry(corpus), folder, recipe, Notes()))) > 0)
    assert outcomes == {True, False}
