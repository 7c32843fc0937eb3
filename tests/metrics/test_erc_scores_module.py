from __future__ import annotations

import doctest
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dialoguellm_release.resources import resource_folder

evaluate = pytest.importorskip("evaluate")
FOLDER = resource_folder("metrics") / "erc_scores"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The metric alone, as a Space would hold it."""
    copy = tmp_path_factory.mktemp("spaces") / "erc_scores"
    shutil.copytree(FOLDER, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def test_loads_from_its_folder_and_takes_names_or_ids(published: Path, tmp_path: Path) -> None:
    from dialoguellm_release.resources import metric_functions

    erc_scores = metric_functions("erc_scores").erc_scores
    for references, predictions, labels, without in (
        (["anger", "anger", "fear"], ["anger", "fear", "invalid"], ["neutral", "fear", "anger"], "neutral"),
        ([1, 1, 2], [1, 2, -1], [0, 1, 2], 0),
    ):
        metric = evaluate.load(str(published), cache_dir=str(tmp_path))
        given = {"references": references, "predictions": predictions}
        assert metric.compute(**given) == erc_scores(references, predictions)
        found = metric.compute(**given, labels=labels, without=without)
        assert found == erc_scores(references, predictions, labels, without)


def test_the_examples_of_its_description_hold(published: Path, tmp_path: Path) -> None:
    metric = evaluate.load(str(published), cache_dir=str(tmp_path))
    examples = metric.inputs_description.replace('"dialoguellm/erc_scores"', repr(str(published)))
    test = doctest.DocTestParser().get_doctest(examples, {"evaluate": evaluate}, "erc_scores", None, 0)
    outcome = doctest.DocTestRunner().run(test)
    assert outcome.attempted >= 5
    assert outcome.failed == 0


def test_the_functions_need_numpy_alone() -> None:
    code = (
        "import sys, runpy, json; runpy.run_path(sys.argv[1]);"
        "heavy = ('evaluate', 'datasets', 'sklearn', 'torch');"
        "print(json.dumps([name for name in heavy if name in sys.modules]))"
    )
    command = [sys.executable, "-c", code, str(FOLDER / "functions.py")]
    output = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(output.stdout) == []


def test_the_space_is_complete() -> None:
    header = yaml.safe_load((FOLDER / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    assert header["sdk"] == "static"
    assert (FOLDER / header["app_file"]).is_file()
    assert {"evaluate", "metric"} <= set(header["tags"])
    required = (FOLDER / "requirements.txt").read_text(encoding="utf-8")
    assert set(re.findall(r"^[a-z]+", required, re.MULTILINE)) == {"evaluate", "numpy"}
