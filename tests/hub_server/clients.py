"""Lets the libraries of the field talk to a local Hub, in this process or in another one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Protocol

import pytest


class Served(Protocol):
    """What answers as a Hub at an address."""

    @property
    def url(self) -> str: ...


def environment(server: Served, cache: Path) -> dict[str, str]:
    """The variables that send another process to a local Hub; the token is not among them.

    Uploads by Xet need a storage service of their own and are turned off.
    """
    return {
        "HF_ENDPOINT": server.url,
        "HF_HOME": str(cache),
        "HF_HUB_OFFLINE": "0",
        "HF_DATASETS_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
    }


def point_clients_at(server: Served, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sends the clients of this process to a local Hub, with a cache of their own.

    Why not by variables: the libraries read them when they are imported.
    """
    import datasets.config
    import huggingface_hub.constants
    import huggingface_hub.hf_api

    for name, value in environment(server, cache).items():
        monkeypatch.setenv(name, value)
    url = server.url
    hub = huggingface_hub.constants
    monkeypatch.setattr(hub, "ENDPOINT", url)
    monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", url)
    monkeypatch.setattr(
        hub, "HUGGINGFACE_CO_URL_TEMPLATE", f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    )
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(cache / "hub"))
    monkeypatch.setattr(hub, "AGENT_HARNESSES_PATH", str(cache / "harnesses.json"))
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", url)
    monkeypatch.setattr(
        datasets.config, "HUB_DATASETS_URL", f"{url}/datasets/{{repo_id}}/resolve/{{revision}}/{{path}}"
    )
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache / "datasets")
    monkeypatch.setattr(datasets.config, "HF_MODULES_CACHE", cache / "modules")
    if "transformers.utils.hub" in sys.modules:
        # Its client is made once, for the Hub that there was at that time.
        monkeypatch.setattr(sys.modules["transformers.utils.hub"], "_hf_api", None)
    _point_evaluate_at(url, cache, monkeypatch)
    huggingface_hub.close_session()


def _point_evaluate_at(url: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`evaluate` takes seconds to import: where nobody has, its variables are enough."""
    if "evaluate" not in sys.modules:
        return
    import evaluate.config

    monkeypatch.setattr(evaluate.config, "HF_ENDPOINT", url)
    template = f"{url}/spaces/{{path}}/resolve/{{revision}}/{{name}}"
    monkeypatch.setattr(evaluate.config, "HUB_EVALUATE_URL", template)
    monkeypatch.setattr(evaluate.config, "HF_EVALUATE_CACHE", cache / "evaluate")
    use_empty_metric_modules(cache, monkeypatch)


def use_empty_metric_modules(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives `evaluate` a folder for its modules; those of an earlier test have another, and hide it."""
    import evaluate.config

    monkeypatch.setattr(evaluate.config, "HF_MODULES_CACHE", cache / "modules")
    for name in [name for name in sys.modules if name.partition(".")[0] == "evaluate_modules"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(cache / "modules")
