"""Every test runs offline, in a home and with caches of its own."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import certifi
import pytest
from filelock import FileLock
from hypothesis import settings

from dialoguellm_release.cli.main import main
from dialoguellm_release.folders import read_manifest
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import Split
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.schemas.scores import Protocol, Resampling, ScoreFigures, System
from dialoguellm_release.step import StepResult
from dialoguellm_release.steps.adapter import trained
from dialoguellm_release.steps.dataset import build_dataset
from dialoguellm_release.steps.model import build_backbone
from tests.figures import figures_in_full, figures_sketched
from tests.hub_server.accounts import Token
from tests.hub_server.clients import point_clients_at
from tests.hub_server.server import HubServer
from tests.small_dataset import make_records, write_dataset

TESTS = Path(__file__).parent
Once = Callable[[str, Callable[[Path], object]], Path]
"""Fills a folder that all workers read; see the fixture `once`."""

# A search that fails by chance would fail for whoever comes by; at home it may look further each time.
settings.register_profile("continuous-integration", derandomize=True, deadline=None)
settings.register_profile("home", deadline=None)
settings.load_profile("continuous-integration" if os.environ.get("CI") else "home")

os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    TOKENIZERS_PARALLELISM="false",
)

# In the background a shell starts us with Ctrl-C ignored, which every child would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite tests/golden from what is rendered now"
    )


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """The half million objects of imported libraries are not searched for garbage again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """Nor are those of libraries that fixtures and tests import; each training searches twice."""
    global _searched
    if len(sys.modules) > _searched + 100:
        _searched = len(sys.modules)
        gc.collect()
        gc.freeze()


_searched = 0
"""How many modules there were when the garbage was searched for last."""


@pytest.fixture(scope="session")
def _homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("homes")


@pytest.fixture(autouse=True)
def _own_home(_homes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tempfile.mkdtemp(dir=_homes)  # pytest looks through all its folders for the next number
    for name in ("HOME", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, home)
    monkeypatch.delenv("HF_TOKEN", raising=False)


@pytest.fixture(autouse=True)
def _only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test tried to reach {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session", autouse=True)
def _one_certificate(tmp_path_factory: pytest.TempPathFactory) -> None:
    """All servers here speak plain HTTP, and to read 140 certificates takes each client 20 ms."""
    certificates = Path(certifi.where()).read_text(encoding="utf-8")
    end = "-----END CERTIFICATE-----\n"
    path = tmp_path_factory.mktemp("certificates") / "one.pem"
    path.write_text(certificates.partition(end)[0] + end, encoding="utf-8")
    os.environ["SSL_CERT_FILE"] = str(path)


@pytest.fixture(scope="session", autouse=True)
def _sketches() -> Iterator[None]:
    """Figures are sketched, but where a test asks for `drawn_figures`."""
    with figures_sketched():
        yield


@pytest.fixture
def drawn_figures() -> Iterator[None]:
    """Figures are drawn in full."""
    with figures_in_full():
        yield


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Fills a folder once for all workers: the first to ask fills it, the others wait; nobody changes it."""
    own = tmp_path_factory.getbasetemp()
    shared = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "once"
    shared.mkdir(exist_ok=True)

    def filled(name: str, fill: Callable[[Path], object]) -> Path:
        folder, done = shared / name, shared / f"{name}.done"
        with FileLock(shared / f"{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                fill(folder)
                done.touch()
        return folder

    return filled


@pytest.fixture
def hub_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A Hub on this machine, to which all clients here go; `HF_TOKEN` may write in `dialoguellm`."""
    with HubServer().running() as server:
        secret = server.accounts.add(
            "hf_maintainerstoken", Token("maintainer", organizations=("dialoguellm",))
        )
        point_clients_at(server, tmp_path / "hub-cache", monkeypatch)
        monkeypatch.setenv("HF_TOKEN", secret)
        yield server


@pytest.fixture(scope="session")
def corpora_dir() -> Path:
    """The folder of the real corpora."""
    folder = os.environ.get("DLM_CORPORA")
    if not folder:
        pytest.skip("DLM_CORPORA does not name the folder of the real corpora")
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def synthetic_dir() -> Path:
    """The synthetic corpora, in native layout."""
    return TESTS / "corpora"


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compares a text with `tests/golden/NAME`; `--update-golden` rewrites the file instead."""

    def compare(name: str, text: str) -> None:
        path = TESTS / "golden" / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8")

    return compare


@dataclass(frozen=True)
class Ended:
    """How a run of the command line ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Runs `dlm-release` with arguments in this process, through its one boundary."""

    def call(*arguments: str | Path) -> Ended:
        monkeypatch.setattr(sys, "argv", ["dlm-release", *map(str, arguments)])
        monkeypatch.delenv("DLM_DEBUG", raising=False)
        code = 0
        try:
            main()
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        out, err = capsys.readouterr()
        return Ended(code, out, err)

    return call


@pytest.fixture(scope="session")
def records_of() -> Callable[[Split, int], list[Record]]:
    """Makes so many records of a split; the label can be told from one word."""
    return make_records


@pytest.fixture(scope="session")
def dataset_of() -> Callable[[Path, Mapping[Split, Sequence[Record]]], Path]:
    """Writes records as a dataset folder of the corpus MELD."""
    return write_dataset


@pytest.fixture(scope="session")
def small_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """84 records to train on, 15 to score."""
    folder = tmp_path_factory.mktemp("datasets") / "small"
    return write_dataset(folder, {"train": make_records("train", 84), "test": make_records("test", 15)})


def make_score_figures(
    protocol: Mapping[str, object] | None = None,
    system: Mapping[str, Any] | None = None,
    **figures: Any,
) -> ScoreFigures:
    """The figures of a score that nobody took: MELD's test split, two labels, changed as a test wants."""
    metrics: dict[str, float] = figures.pop("metrics", {"accuracy": 0.5, "weighted_f1": 0.25})
    stamp: dict[str, Any] = {
        "corpus": "meld",
        "split": "test",
        "dataset_content_sha256": "d" * 64,
        "records_sha256": "e" * 64,
        "label_space": ("anger", "neutral"),
        "context_k": 1,
        "context_direction": "past",
        "prompt_sha256": "f" * 64,
        "scorer": "first_token",
        "shots": 0,
        "few_shot_ids": (),
        "selected_on": "none",
        "leak_policy": "not audited",
    }
    given: dict[str, Any] = {
        "records": 12,
        "dialogues": 3,
        "metrics": metrics,
        "intervals": {name: (value - 0.125, value + 0.125) for name, value in metrics.items()},
        "protocol": Protocol(**{**stamp, **(protocol or {})}),
        "system": System(**{"name": "tiny", "kind": "model", **(system or {})}),
        "truncated_records": 0,
        "headline": "weighted_f1",
        "without": "neutral",
        "resampling": Resampling(),
        "left_to_chance": 0,
        "chances": {},
        "majority": {"accuracy": 0.5, "weighted_f1": 1 / 3},
        "majority_label": "neutral",
        "clean": None,
        "per_label": {},
        "confusion_matrix": (),
        "breakdown": {},
    }
    return ScoreFigures(**{**given, **figures})


@pytest.fixture(scope="session")
def score_figures_of() -> Callable[..., ScoreFigures]:
    """Makes the figures of a score that nobody took."""
    return make_score_figures


def as_built(folder: Path) -> StepResult[DatasetManifest]:
    """What the step said that built `FOLDER/dataset`."""
    return StepResult(folder / "dataset", read_manifest(folder / "dataset", DatasetManifest), False)


@pytest.fixture(scope="session")
def demo_dataset(once: Once) -> StepResult[DatasetManifest]:
    """The dataset of the synthetic corpora; nobody changes it."""
    return as_built(once("demo_dataset", lambda folder: build_dataset("demo", out=folder / "dataset")))


@pytest.fixture(scope="session")
def paper_dataset(corpora_dir: Path, once: Once) -> StepResult[DatasetManifest]:
    """The dataset of the four real corpora, with figures as users get them; nobody changes it."""

    def build(folder: Path) -> None:
        with figures_in_full():
            build_dataset("paper", corpora_dir, folder / "dataset", skip=["iemocap"])

    return as_built(once("paper_dataset", build))


@pytest.fixture(scope="session")
def demo_run(once: Once) -> Path:
    """What `dlm-release demo` makes, in `made`, and the screen that it ends with; nobody changes it."""

    def fill(folder: Path) -> None:
        with (
            figures_in_full(),
            pytest.MonkeyPatch.context() as patch,
            (folder / "screen.txt").open("w", encoding="utf-8") as screen,
            redirect_stdout(screen),
            pytest.raises(SystemExit) as ended,
        ):
            patch.setattr(sys, "argv", ["dlm-release", "demo", "--out", str(folder / "made")])
            main()
        assert ended.value.code == 0

    return once("demo_run", fill)


@pytest.fixture(scope="session")
def tiny_recipe() -> Loaded[BackboneRecipe]:
    """The recipe of the tiny backbone."""
    return load_recipe("tiny", "backbone", BackboneRecipe)


@pytest.fixture(scope="session")
def tiny_backbone(once: Once) -> Path:
    """The folder of the tiny backbone."""
    return once("backbones", lambda folder: build_backbone("tiny", folder / "tiny")) / "tiny"


@pytest.fixture(scope="session")
def short_adapter_recipe() -> Loaded[AdapterRecipe]:
    """The tiny adapter's recipe, with few steps."""
    settings = ["trainer.max_steps=12", "trainer.per_device_train_batch_size=8", "trainer.learning_rate=1e-2"]
    return load_recipe("tiny", "adapter", AdapterRecipe, settings)


@pytest.fixture(scope="session")
def tiny_adapter(
    once: Once, short_adapter_recipe: Loaded[AdapterRecipe], tiny_backbone: Path, small_dataset: Path
) -> Path:
    """An adapter trained on `small_dataset`, with its figure as users get it."""

    def train(folder: Path) -> None:
        with figures_in_full():
            trained(short_adapter_recipe, folder / "tiny", small_dataset, tiny_backbone.parent)

    return once("adapters", train) / "tiny"
