"""The step that serves the app of `spaces/` on this machine."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from dialoguellm_release.errors import MissingExtraError
from dialoguellm_release.resources import resource_folder
from dialoguellm_release.schemas.release import AppAdapter, AppAdapters
from dialoguellm_release.step import StrPath

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
