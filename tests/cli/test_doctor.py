"""`doctor` tells what is there, what is missing for which command, and never a token."""

from __future__ import annotations

import json
import shutil
import time
from collections import namedtuple
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.steps import doctor
from tests.hub_server.accounts import Token
from tests.hub_server.faults import Fault
from tests.hub_server.server import HubServer

Usage = namedtuple("Usage", "total used free")


def findings(run: Any, *options: str | Path) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in json.loads(run("doctor", "--json", *options).out)["findings"]}


def test_it_works_offline_and_quickly(run: Any, synthetic_dir: Path) -> None:
    started = time.monotonic()
    ended = run("doctor", "--sources", synthetic_dir)
    assert time.monotonic() - started < 3
    assert ended.code == 0
    assert "HF_HUB_OFFLINE is set" in ended.out
    assert "token: hf auth login" in ended.err
    found = findings(run, "--sources", synthetic_dir)
    assert found["packages"]["state"] == "ok"
    assert found["endpoint"]["state"] == "unknown"
    assert found["corpus meld"]["note"] == "0 of 3 public files known by their hashes"
    assert found["corpus iemocap"]["state"] == "ok"


def test_corpora_are_looked_for_where_the_variable_says(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DLM_CORPORA", raising=False)
    assert findings(run)["corpora"]["state"] == "missing"
    monkeypatch.setenv("DLM_CORPORA", str(tmp_path))
    assert f"fetch meld --out {tmp_path}" in findings(run)["corpus meld"]["fix"]
    assert "whom to ask" in findings(run)["corpus meisd"]["fix"]
    ended = run("doctor", "--sources", tmp_path / "nowhere")
    assert ended.code == 1
    assert f"corpora: {tmp_path / 'nowhere'} is not a folder" in ended.err


def test_a_missing_extra_is_told_with_its_commands(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_trl(name: str) -> str:
        if name == "trl":
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(doctor, "version", without_trl)
    ended = run("doctor")
    assert ended.code == 0
    assert "trl is not installed; needed by: adapter train" in ended.out
    assert "pip install 'dialoguellm-release[train]'" in ended.err


def test_every_extra_for_users_is_examined(run: Any) -> None:
    from importlib.metadata import metadata

    listed = set(metadata("dialoguellm-release").get_all("Provides-Extra") or []) - {"all", "dev"}
    assert {"served", "video", "quantize"} <= listed
    assert {name.removeprefix("extra ") for name in findings(run) if name.startswith("extra ")} == listed


def test_what_is_wrong_ends_with_1(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def old_pydantic(name: str) -> str:
        return "1.0" if name == "pydantic" else version(name)

    monkeypatch.setattr(doctor, "version", old_pydantic)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(10, 9, 1))
    ended = run("doctor")
    assert ended.code == 1
    assert "packages: pydantic 1.0 is not >=2.11" in ended.err
    assert "to do: free at least 1 GB" in ended.err
    assert "2 problems; nothing was changed." in ended.err


def test_other_versions_than_those_tried_are_named(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "constraints", lambda: {"pydantic": "0.1", "no-such-library": "1"})
    note = findings(run)["versions"]["note"]
    assert f"pydantic {version('pydantic')} (tested: 0.1)" in note
    assert "no-such-library" not in note


@pytest.mark.parametrize(
    ("token", "state", "note"),
    [
        (Token("somebody", organizations=("dialoguellm",)), "ok", "write; of somebody, dialoguellm"),
        (Token("somebody", role="read"), "missing", "needs one that may write"),
        (None, "wrong", "the Hub does not accept it"),
    ],
)
def test_the_token_is_told_by_its_rights_and_never_shown(
    run: Any,
    hub_server: HubServer,
    monkeypatch: pytest.MonkeyPatch,
    token: Token | None,
    state: str,
    note: str,
) -> None:
    secret = "hf_tokenofthistest"
    if token:
        hub_server.accounts.add(secret, token)
    monkeypatch.setenv("HF_TOKEN", secret)
    ended = run("doctor", "--json")
    found = {one["name"]: one for one in json.loads(ended.out)["findings"]}
    assert found["endpoint"] == {"name": "endpoint", "state": "ok", "note": hub_server.url, "fix": None}
    assert found["token"]["state"] == state
    assert "from the variable HF_TOKEN" in found["token"]["note"]
    assert note in found["token"]["note"]
    assert ended.code == (1 if state == "wrong" else 0)
    assert secret not in ended.out + ended.err


def test_a_hub_that_fails_is_no_fault_of_the_token(run: Any, hub_server: HubServer) -> None:
    hub_server.faults.add(Fault("whoami", status=500))
    assert findings(run)["token"]["state"] == "unknown"
