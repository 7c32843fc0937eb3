"""The steps of a trained model: label conversations in a file, and serve the app of `spaces/`."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dialoguellm_release.errors import DataError, MissingExtraError, Problem, RecipeError
from dialoguellm_release.predict.files import (
    OUTPUTS,
    PredictedRow,
    Unfinished,
    predicted_rows,
    warnings_of,
    write_predictions,
)
from dialoguellm_release.predict.files import PredictedFile as PredictedFile
from dialoguellm_release.predict.files import counted as counted
from dialoguellm_release.predict.files import lines_of as lines_of
from dialoguellm_release.predict.predictor import EmotionPredictor as EmotionPredictor
from dialoguellm_release.predict.reading import ConversationFile as ConversationFile
from dialoguellm_release.predict.reading import open_file
from dialoguellm_release.predict.trained_model import read_model
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.resources import resource_folder
from dialoguellm_release.schemas.manifests import AdapterManifest
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.schemas.release import AppAdapter, AppAdapters
from dialoguellm_release.serve.client import ServedModel as ServedModel
from dialoguellm_release.step import BUILD, StrPath
from dialoguellm_release.steps.model import built_backbone


def predict_file(
    file: StrPath,
    predictor: EmotionPredictor,
    out: StrPath,
    *,
    form: str | None = None,
    columns: Mapping[str, str] | None = None,
    resume: bool = False,
    replace: bool = False,
) -> PredictedFile:
    """Labels every turn of a file of conversations, in the order of the file; nothing is dropped.

    Memory does not grow with the file. Rows are kept as soon as they are there, beside the output, which
    appears when it is whole.

    Args:
        file: CSV, TSV, JSON Lines, JSON, Parquet, plain chat (`.txt`), SRT or WebVTT; `-` is standard input.
        predictor: Labels the turns.
        out: CSV, JSON Lines or Parquet, by the ending of its name.
        form: Of the input, where the ending of its name does not say it.
        columns: Names of columns by `text`, `speaker` and `dialogue`, where they are not the usual ones.
        resume: Go on from what an earlier run with the same inputs left.
        replace: Replace an output that is there, and what an earlier run left.

    Returns:
        The output, and what became of the turns.

    Raises:
        DataError: The input cannot be read, or the output is there already.

    Example:
        >>> base, adapter = "build/backbones/tiny", "build/adapters/tiny"
        >>> predictor = EmotionPredictor.from_pretrained(adapter, backbone=base)  # doctest: +SKIP
        >>> predict_file("chat.txt", predictor, "emotions.csv").turns  # doctest: +SKIP
        2
    """
    target = Path(out)
    check_output(target, file, replace=replace)
    with opened(file, form, columns) as source:
        return predict_source(source, predictor, target, resume=resume, replace=replace)


def predict_source(
    source: ConversationFile, predictor: EmotionPredictor, out: Path, *, resume: bool, replace: bool
) -> PredictedFile:
    """Labels the turns of an opened file into an output that `check_output` has seen."""
    unfinished: Unfinished = "resume" if resume else "discard" if replace else "refuse"
    return write_predictions(source, predictor, out, unfinished)


def check_output(out: Path, file: StrPath, *, replace: bool) -> None:
    """Whether an output can be written; a command asks it before it loads a model."""
    where, fix = str(out), "name another output"
    if out.suffix.lower() not in OUTPUTS:
        what, expected = "unknown format of predictions", "a name that ends in .csv, .jsonl or .parquet"
        raise DataError(Problem(where, what, expected, code="predict.out_format"))
    if out.exists():
        if not out.is_file():
            raise DataError(Problem(where, "is no file", fix=fix, code="predict.not_a_file"))
        if str(file) != "-" and Path(file).exists() and out.samefile(file):
            raise DataError(Problem(where, "is the input", fix=fix, code="predict.output_is_input"))
        if not replace:
            what = "is there already"
            fix = f"{fix}, or replace it with --replace"
            problem = Problem(where, what, fix=fix, code="predict.exists")
            raise DataError(problem, outcome="it is as it was")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.with_name(f".{out.name}.partial.json").exists()
        with tempfile.TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        what = f"cannot be written: {error.strerror}"
        raise DataError(Problem(where, what, fix=fix, code="predict.not_written")) from error


@contextmanager
def opened(
    file: StrPath, form: str | None, columns: Mapping[str, str] | None = None
) -> Iterator[ConversationFile]:
    """A file of conversations, read once; what comes by standard input is put into a file first."""
    if str(file) != "-":
        yield open_file(Path(file), str(file), form, columns)
        return
    if form is None:
        what, fix = "has no name that says its format", "state it with --format"
        raise DataError(Problem("standard input", what, fix=fix, code="predict.format"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "standard-input")
        with path.open("wb") as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy)
        yield open_file(path, "standard input", form, columns)


def predict_rows(source: ConversationFile, predictor: EmotionPredictor) -> Iterator[list[PredictedRow]]:
    """The rows of predictions of a file in pieces."""
    predictor.counts.clear()
    warnings_of(source, predictor)
    yield from predicted_rows(source, predictor)


def backbone_of(adapter: str) -> Path | None:
    """The folder of an adapter's base where that is built here, which is done where needed; else None."""
    model = read_model(adapter)
    if not isinstance(model.manifest, AdapterManifest) or model.manifest.figures.base_content_sha256 is None:
        return None
    reference = str(model.manifest.recipe.resolved.get("backbone"))
    try:
        loaded = load_recipe(reference, "backbone", BackboneRecipe)
    except RecipeError:
        return None
    return built_backbone(reference, loaded, BUILD / "backbones")


APP = "emotion_demo"


def serve_app(adapter: StrPath, backbone: StrPath | None = None) -> int:
    """Serves the app of the demo Space with one adapter, until Ctrl-C.

    The page is at http://127.0.0.1:7860, or at the port that `GRADIO_SERVER_PORT` names. Nothing is sent to
    another machine.

    Example:
        >>> serve_app("build/demo/adapters/tiny", "build/demo/backbones/tiny")  # doctest: +SKIP
    """
    if importlib.util.find_spec("gradio") is None:
        raise MissingExtraError("demo", "gradio")
    base = None if backbone is None else os.fspath(Path(backbone).resolve())
    where = os.fspath(Path(adapter).resolve() if Path(adapter).is_dir() else adapter)
    offered = AppAdapters(adapters=(AppAdapter(adapter=where, backbone=base),))
    with tempfile.TemporaryDirectory(prefix="dlm-app-") as folder:
        listed = Path(folder, "adapters.json")
        listed.write_text(offered.model_dump_json(), encoding="utf-8")
        command = [sys.executable, os.fspath(resource_folder("spaces") / APP / "app.py")]
        return subprocess.call(command, env={**os.environ, "DLM_APP_ADAPTERS": os.fspath(listed)})
