from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dialoguellm_release.dataset.figures import write_figures
from dialoguellm_release.errors import MissingExtraError
from dialoguellm_release.folders import read_manifest
from dialoguellm_release.layout import COUNT_FIGURES, FIGURE_FILES
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.render import figure_style
from dialoguellm_release.schemas.claims import ClaimsRecipe
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.step import StepResult
from dialoguellm_release.steps.dataset import build_dataset, check_dataset
from tests.figures import figures_in_full

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Dataset = StepResult[DatasetManifest]


@pytest.fixture(scope="module")
def demo_dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The dataset of the synthetic corpora, with figures as users get them; nobody changes it."""
    with figures_in_full():
        return build_dataset("demo", out=tmp_path_factory.mktemp("drawn") / "dataset")


@pytest.fixture
def claims() -> ClaimsRecipe:
    return load_recipe("dialoguellm-2310.11374", "claims", ClaimsRecipe).recipe


def chunks(path: Path) -> list[bytes]:
    """The names of the chunks of a PNG file."""
    content, at, names = path.read_bytes(), 8, []
    while at < len(content):
        names.append(content[at + 4 : at + 8])
        at += 12 + int.from_bytes(content[at : at + 4], "big")
    return names


def width(path: Path) -> int:
    return int.from_bytes(path.read_bytes()[16:20], "big")


def texts_of(figures: list[Figure]) -> list[set[str]]:
    """What stands to read on each drawing."""
    from matplotlib.text import Text

    return [{text.get_text() for text in figure.findobj(Text)} for figure in figures]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The drawings that are saved from here on."""
    saved: list[Figure] = []
    save = figure_style._saved

    def noting(figure: Figure, path: Path) -> set[str]:
        saved.append(figure)
        return save(figure, path)

    monkeypatch.setattr(figure_style, "_saved", noting)
    return saved


def test_of_many_pairs_of_corpora_those_with_most_in_common_are_drawn(
    demo_dataset: Dataset, drawn: list[Figure], tmp_path: Path
) -> None:
    made = demo_dataset.manifest.figures
    assert made.audit is not None
    pair = next(one for one in made.audit.agreement if one.utterances)
    pairs = [pair.model_copy(update={"utterances": count}) for count in range(1, 191)]
    audit = made.audit.model_copy(update={"agreement": tuple(pairs)})
    figures = made.model_copy(update={"audit": audit})
    write_figures(tmp_path, figures, None, synthetic=True)
    texts = texts_of(drawn)[-1]
    assert "The 15 pairs of corpora with most in common, of 190" in texts
    counted = {count for count in range(1, 191) if any(f" {count} utterances" in text for text in texts)}
    assert counted == set(range(176, 191))


def test_a_build_has_every_figure_at_the_width_of_a_card(demo_dataset: Dataset) -> None:
    assert {file.path for file in demo_dataset.manifest.outputs} >= set(FIGURE_FILES)
    for path in FIGURE_FILES:
        assert width(demo_dataset.folder / path) == 960


def test_a_figure_tells_neither_when_nor_by_what_it_was_made(demo_dataset: Dataset) -> None:
    for path in FIGURE_FILES:
        assert set(chunks(demo_dataset.folder / path)) == {b"IHDR", b"pHYs", b"IDAT", b"IEND"}


def test_another_process_with_another_style_draws_the_same_bytes(
    demo_dataset: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "matplotlibrc").write_text(
        "font.size: 30\nfont.family: monospace\nsavefig.bbox: tight\naxes.facecolor: red\n"
    )
    code = (
        "import sys; from pathlib import Path\n"
        "from dialoguellm_release.dataset.figures import write_figures\n"
        "from dialoguellm_release.folders import read_manifest\n"
        "from dialoguellm_release.schemas.dataset_manifest import DatasetManifest\n"
        "manifest = read_manifest(Path(sys.argv[1]), DatasetManifest)\n"
        "write_figures(Path(sys.argv[2]), manifest.figures, None, synthetic=True)\n"
    )
    subprocess.run(
        [sys.executable, "-c", code, demo_dataset.folder, tmp_path],
        env=os.environ | {"MPLCONFIGDIR": str(tmp_path), "PYTHONHASHSEED": "7"},
        check=True,
    )
    for path in FIGURE_FILES:
        assert (tmp_path / path).read_bytes() == (demo_dataset.folder / path).read_bytes(), path


@pytest.mark.usefixtures("drawn_figures")
def test_the_papers_numbers_stand_beside_the_built_ones(
    demo_dataset: Dataset, claims: ClaimsRecipe, drawn: list[Figure], tmp_path: Path
) -> None:
    write_figures(tmp_path, demo_dataset.manifest.figures, claims, synthetic=True)
    corpora, labels, *_ = texts_of(drawn)
    assert {"MELD", "11,118 (81.5 %)", "120 (0.9 %)", "this build", "the paper"} <= corpora
    neutral = demo_dataset.manifest.figures.training_labels["neutral"]
    share = f"{100 * neutral / demo_dataset.manifest.figures.records['train']:.1f} %"
    assert {"31.2 %", "5.3 %", share, "neutral", "none printed"} <= labels


def test_without_a_paper_nothing_is_said_of_one(
    demo_dataset: Dataset, drawn: list[Figure], tmp_path: Path
) -> None:
    write_figures(tmp_path, demo_dataset.manifest.figures, None, synthetic=True)
    assert not [text for texts in texts_of(drawn) for text in texts if "paper" in text or "printed" in text]
    assert all(any(text.startswith("Synthetic data.") for text in texts) for texts in texts_of(drawn))


def test_the_settings_of_the_process_are_left_as_they_were(demo_dataset: Dataset, tmp_path: Path) -> None:
    import matplotlib

    with matplotlib.rc_context({"font.size": 33}):
        write_figures(tmp_path, demo_dataset.manifest.figures, None, synthetic=True)
        assert matplotlib.rcParams["font.size"] == 33


def test_the_heat_map_has_a_panel_for_each_two_corpora_with_utterances_in_common(
    demo_dataset: Dataset, drawn: list[Figure], tmp_path: Path
) -> None:
    write_figures(tmp_path, demo_dataset.manifest.figures, None, synthetic=True)
    audit = demo_dataset.manifest.figures.audit
    assert audit is not None
    shared = [one for one in audit.agreement if one.utterances]
    assert len(drawn[-1].axes) == len(shared) > 1
    texts = texts_of(drawn)[-1]
    for one in shared:
        assert any(f"{one.utterances} utterances" in text for text in texts)
        for label, row in one.counts.items():
            for column, count in row.items():
                assert not count or f"{100 * one.shares[label][column]:.0f} % ({count})" in texts


def test_where_no_utterance_is_in_common_there_is_no_heat_map(tmp_path: Path) -> None:
    skipped = ["emorynlp", "dailydialog", "meisd", "iemocap"]
    folder = build_dataset("demo", out=tmp_path / "out", skip=skipped).folder
    assert {path.name for path in (folder / "figures").iterdir()} == {Path(one).name for one in COUNT_FIGURES}
    assert "agreement.png" not in (folder / "README.md").read_text(encoding="utf-8")
    assert check_dataset(folder) == []


@pytest.mark.corpora
@pytest.mark.usefixtures("drawn_figures")
def test_a_corpus_that_was_not_built_is_said_so(
    paper_dataset: Dataset, claims: ClaimsRecipe, drawn: list[Figure], tmp_path: Path
) -> None:
    write_figures(tmp_path, paper_dataset.manifest.figures, claims, synthetic=False)
    assert "not built" in texts_of(drawn)[0]
    for path in FIGURE_FILES:
        assert (tmp_path / path).read_bytes() == (paper_dataset.folder / path).read_bytes(), path


@pytest.fixture
def no_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the extra were not installed."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)


@pytest.mark.usefixtures("no_matplotlib")
def test_without_the_extra_a_dataset_is_whole_but_for_its_figures(
    demo_dataset: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(MissingExtraError, match=r"pip install 'dialoguellm-release\[figures\]'"):
        write_figures(tmp_path, demo_dataset.manifest.figures, None, synthetic=True)
    made = build_dataset("demo", out=tmp_path / "out")
    assert not (tmp_path / "out" / "figures").exists()
    assert "![" not in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert made.manifest.content_sha256 == demo_dataset.manifest.content_sha256
    assert made.manifest.figures == demo_dataset.manifest.figures
    assert check_dataset(tmp_path / "out") == []


def test_a_dataset_from_before_the_extra_is_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "matplotlib", None)
        patch.setattr("dialoguellm_release.steps.dataset.SHAPED_BY", ("pyarrow", "pydantic", "jinja2"))
        build_dataset("demo", out=tmp_path / "out")
        assert build_dataset("demo", out=tmp_path / "out").was_current
    assert not build_dataset("demo", out=tmp_path / "out").was_current
    manifest = read_manifest(tmp_path / "out", DatasetManifest)
    assert {file.path for file in manifest.outputs} >= set(FIGURE_FILES)
    assert "matplotlib" in manifest.created_by
