from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import cast

import pytest

from dialoguellm_release.dataset import figures
from dialoguellm_release.dataset.records import RecordMaker
from dialoguellm_release.folders import stamps, write_manifest
from dialoguellm_release.hydration.standoff import write_standoff
from dialoguellm_release.layout import AUDIT
from dialoguellm_release.prompts import load_prompt
from dialoguellm_release.schemas.audit import Audit
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest, PublishedSubset
from dialoguellm_release.schemas.labels import LABELS, CorpusName, Label, Split
from dialoguellm_release.schemas.record import Dialogue, Record, Utterance
from dialoguellm_release.step import StepResult
from dialoguellm_release.steps.dataset import build_dataset
from tests.conftest import Once, as_built

NEUTRAL: tuple[Label, ...] = ("neutral",)


@pytest.fixture
def sources(tmp_path: Path, synthetic_dir: Path) -> Path:
    """A copy of the synthetic corpora that a test may damage."""
    folder = tmp_path / "sources"
    shutil.copytree(synthetic_dir, folder)
    return folder


@pytest.fixture(scope="session")
def paper_audit(paper_dataset: StepResult[DatasetManifest]) -> Audit:
    """The audit of the real corpora that the build wrote; `dataset check` makes it again from the records."""
    return Audit.model_validate_json((paper_dataset.folder / AUDIT).read_text(encoding="utf-8"))


def make_dialogue(name: str, turns: Sequence[str], labels: Sequence[Label] = (), k: int = 1) -> list[Record]:
    """The records of a dialogue of our own words, named as in `meld/train/12`; neutral without labels."""
    corpus, split, dialogue_id = name.split("/")
    utterances = tuple(
        Utterance(
            index=index, text=text, speaker="Robin" if index % 2 else "Alex", label=label, source_label=label
        )
        for index, (text, label) in enumerate(zip(turns, labels or NEUTRAL * len(turns), strict=True))
    )
    dialogue = Dialogue(corpus=corpus, split=cast(Split, split), id=dialogue_id, utterances=utterances)
    maker = RecordMaker(load_prompt("dialogue-v1"), "CC0-1.0", LABELS, {}, k)
    return maker.records([dialogue], cast(Split, split))


@pytest.fixture(scope="session")
def dialogue_of() -> Callable[..., list[Record]]:
    """Makes the records of one dialogue from its name, its texts and its labels."""
    return make_dialogue


def publish_copy(
    built: StepResult[DatasetManifest],
    folder: Path,
    full: Collection[CorpusName],
    standoff: Collection[CorpusName] = (),
) -> Path:
    """A published copy with the records of some corpora and the stand-off rows of others."""
    folder.mkdir(parents=True)
    for file in built.manifest.outputs:
        if any(file.path.startswith(f"data/{name}/") for name in full):
            (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(built.folder / file.path, folder / file.path)
    write_standoff(built.folder, built.manifest, sorted(standoff), folder)
    published = PublishedSubset(
        left_out=tuple(name for name in built.manifest.figures.corpora if name not in (*full, *standoff)),
        standoff=tuple(standoff),
        records={},
        dialogues={},
        published_sha256="0" * 64,
    )
    update = {"outputs": stamps(folder), "published": published}
    write_manifest(folder, built.manifest.model_copy(update=update))
    return folder


@pytest.fixture(scope="session")
def publish() -> Callable[..., Path]:
    """Publishes some corpora of a build with their records, and others as stand-off rows."""
    return publish_copy


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than hydration, and is tried elsewhere."""
    monkeypatch.setattr(figures, "write_figures", lambda *_, **__: None)


@pytest.fixture(scope="session")
def plain_dataset(once: Once, synthetic_dir: Path) -> StepResult[DatasetManifest]:
    """The dataset of the synthetic corpora, three of them, quick to make again; without figures."""

    def build(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(figures, "write_figures", lambda *_, **__: None)
            build_dataset("demo", synthetic_dir, folder / "dataset", skip=["dailydialog", "iemocap"])

    return as_built(once("plain_dataset", build))


@pytest.fixture(scope="session")
def plain_copy(plain_dataset: StepResult[DatasetManifest], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of it EmoryNLP with its text, MELD and MEISD without."""
    folder = tmp_path_factory.mktemp("published") / "copy"
    return publish_copy(plain_dataset, folder, {"emorynlp"}, {"meld", "meisd"})


@pytest.fixture
def own(tmp_path: Path, synthetic_dir: Path) -> Path:
    """The user's copies of what was withheld, and nothing else."""
    for name in ("meld", "meisd"):
        shutil.copytree(synthetic_dir / name, tmp_path / "own" / name)
    return tmp_path / "own"


@pytest.fixture(scope="session")
def real_copy(paper_dataset: StepResult[DatasetManifest], once: Once) -> Path:
    """Of the dataset of the real corpora, EmoryNLP with its text, the others without."""

    def publish(folder: Path) -> None:
        publish_copy(paper_dataset, folder / "copy", {"emorynlp"}, {"meld", "dailydialog", "meisd"})

    return once("real_copy", publish) / "copy"


@pytest.fixture
def real_own(tmp_path: Path, corpora_dir: Path) -> Path:
    """Links to the real corpora that were withheld; a test puts a file of its own in the place of a link."""
    for path in corpora_dir.rglob("*"):
        place = tmp_path / "own" / path.relative_to(corpora_dir)
        if path.is_file() and place.parts[len(tmp_path.parts) + 1] in ("meld", "dailydialog", "meisd"):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(path)
    return tmp_path / "own"
