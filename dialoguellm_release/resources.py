"""The bundled files (recipes, card templates, metrics), and a record of those that a step reads."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache, wraps
from pathlib import Path
from types import ModuleType
from typing import ParamSpec, TypeVar

_PACKAGE = Path(__file__).parent
_CHECKOUT_FOLDERS = {
    "recipes": "recipes",
    "dataset_cards": "dataset_cards",
    "model_cards": "model_cards",
    "metrics": "metrics",
    "spaces": "spaces",
    "synthetic_corpora": "tests/corpora",
}
_record: ContextVar[dict[str, Path] | None] = ContextVar("resources of the running step", default=None)

Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")


def resource_folder(name: str) -> Path:
    """The folder of one kind of bundled files, in the wheel or in the checkout."""
    candidates = (_PACKAGE / "bundled" / name, _PACKAGE.parent / _CHECKOUT_FOLDERS[name])
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"{name}: neither {candidates[0]} nor {candidates[1]} exists")


def constraints() -> dict[str, str]:
    """The versions of libraries that were tested together, by name; empty where the file is not bundled."""
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
    path = record(resource_folder("metrics") / name / "functions.py")
    spec = importlib.util.spec_from_file_location(f"dialoguellm_release_metric_{name}", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def recording(*, on: bool = True) -> Iterator[dict[str, Path]]:
    """Records every resource that is read in the block, by name; with `on=False` records none.

    It also works as a decorator. A block inside another records for itself alone.
    """
    found: dict[str, Path] = {}
    token = _record.set(found if on else None)
    try:
        yield found
    finally:
        _record.reset(token)


def is_recording() -> bool:
    """Whether a step is running that records its resources."""
    return _record.get() is not None


def recorded() -> dict[str, Path]:
    """The resources that the running step has read so far, by name."""
    return dict(_record.get() or {})


def record(path: Path) -> Path:
    """Notes that a file shapes what the running step makes, and gives the path back."""
    found = _record.get()
    if found is not None:
        path = path.resolve()
        base = name = _name_of(path)
        number = 2
        while found.get(name, path) != path:
            name, number = f"{base} ({number})", number + 1
        found[name] = path
    return path


def resource_at(name: str) -> Path:
    """The path of a bundled file that was recorded under a name; it need not exist."""
    bundled = _PACKAGE / "bundled" / name
    return bundled if bundled.exists() else _PACKAGE.parent / name


def resource_sha256(path: Path) -> str:
    """The hash of a file; of a YAML file, of its data, so that a comment does not count."""
    content = path.read_bytes()
    return hashlib.sha256(_data_of(content) if path.suffix in (".yaml", ".yml") else content).hexdigest()


@lru_cache(maxsize=256)
def _data_of(content: bytes) -> bytes:
    """The data of a YAML file as JSON; the file itself where it is none."""
    import yaml

    try:
        data = yaml.load(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return json.dumps(data, default=str, sort_keys=True).encode()
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        return content


def cached(function: Callable[Arguments, Value]) -> Callable[Arguments, Value]:
    """Keeps the values of a function that reads resources, until one of these files changes.

    Why not `functools.cache`: a step that gets a kept value depends on these files too.
    """
    kept: dict[object, tuple[Value, dict[Path, tuple[int, int]]]] = {}

    @wraps(function)
    def wrapper(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Value:
        key = (_PACKAGE, args, tuple(sorted(kwargs.items())))
        if key in kept and all(_state_of(path) == state for path, state in kept[key][1].items()):
            value, files = kept[key]
        else:
            with recording() as found:
                value = function(*args, **kwargs)
            files = {path: _state_of(path) for path in found.values()}
            kept[key] = value, files
        for path in files:
            record(path)
        return value

    return wrapper


def _state_of(path: Path) -> tuple[int, int]:
    try:
        state = path.stat()
    except OSError:
        return (0, 0)
    return (state.st_mtime_ns, state.st_size)


def _name_of(path: Path) -> str:
    """The path of a bundled file below the package or the checkout; of any other file its name alone."""
    for root in (_PACKAGE / "bundled", _PACKAGE.parent):
        if path.is_relative_to(root.resolve()):
            return path.relative_to(root.resolve()).as_posix()
    return path.name
