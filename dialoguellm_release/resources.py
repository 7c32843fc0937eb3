"""Where the recipes, cards, metrics and synthetic corpora lie: inside the wheel, else in the checkout."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

_PACKAGE = Path(__file__).parent
_CHECKOUT_FOLDERS = {
    "recipes": "recipes",
    "dataset_cards": "dataset_cards",
    "model_cards": "model_cards",
    "metrics": "metrics",
    "synthetic_corpora": "tests/corpora",
}


def resource_folder(name: str) -> Path:
    """The folder of one kind of bundled files.

    Args:
        name: `recipes`, `dataset_cards`, `model_cards`, `metrics` or `synthetic_corpora`.

    Raises:
        FileNotFoundError: The package is neither an installed wheel nor in its checkout.
    """
    candidates = (_PACKAGE / "bundled" / name, _PACKAGE.parent / _CHECKOUT_FOLDERS[name])
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"{name}: neither {candidates[0]} nor {candidates[1]} exists")


def constraints() -> dict[str, str]:
    """The versions of libraries that were tried together, by name; empty where the file is not there."""
    for path in (_PACKAGE / "bundled" / "constraints.txt", _PACKAGE.parent / "constraints.txt"):
        if path.is_file():
            lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
            pins = (line.partition("==") for line in lines if "==" in line)
            return {name: version for name, _, version in pins}
    return {}


def metric_functions(name: str) -> ModuleType:
    """The module of plain functions of one metric (`metrics/NAME/functions.py`).

    Why: a metric must work alone, as a Space; scoring uses the same file, so nothing is copied.
    """
    path = resource_folder("metrics") / name / "functions.py"
    spec = importlib.util.spec_from_file_location(f"dialoguellm_release_metric_{name}", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
