"""Large files go by Xet, as on the real Hub, driven by the real `hf_xet`; and each place of it fails."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import constants
from huggingface_hub.utils._xet import abort_xet_session

from dialoguellm_release.hub.publish import publish_release
from dialoguellm_release.hub.store import UNCHANGED, UNFINISHED
from dialoguellm_release.hub.store_hub import HubStore
from dialoguellm_release.steps.release import UNFINISHED as SAID
from tests.hub.codes import refuses
from tests.hub.publisher import Publisher
from tests.hub_server.audit import broken_tags, release_commits
from tests.hub_server.faults import Fault
from tests.hub_server.xet import CLIENT_SETTINGS

if TYPE_CHECKING:
    from tests.hub.conftest import Build
    from tests.hub_server.server import HubServer

DATASET = "datasets/dialoguellm/instructions"
ENDLESS = 1000
UNREACHABLE = "http://127.0.0.1:1"


@pytest.fixture
def xet(hub_server: HubServer, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    """The local Hub with its Xet storage in use."""
    for name, value in CLIENT_SETTINGS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    abort_xet_session()  # type: ignore[no-untyped-call]
    return hub_server


def publish(build: Build) -> None:
    publish_release(build.recipe, build.path, HubStore())


def download(server: HubServer) -> Path:
    """The dataset at its newest commit, into a cache that has nothing of it."""
    return HubStore().download(DATASET, server.store.repositories["dataset", DATASET[9:]].head.oid)


def assert_released(server: HubServer, repositories: int = 4) -> None:
    assert len(server.store.repositories) == repositories
    assert broken_tags(server.store) == []
    for repository in server.store.repositories.values():
        assert repository.tags == {"v1.0.0": repository.head.oid}
        assert release_commits(repository) == ["v1.0.0"]


def test_a_release_goes_up_and_comes_down_by_xet(build: Build, xet: HubServer) -> None:
    publish(build)
    assert_released(xet)
    assert xet.count("xet_upload") > 0
    assert xet.count("xet_shard") > 0
    assert xet.count("lfs_upload") == 0
    path = "data/meld/test-clean-00000.parquet"
    assert (download(xet) / path).read_bytes() == (build.path / "dataset" / path).read_bytes()
    assert xet.count("xet_download") > 0
    assert xet.count("cdn") == 0


def test_a_second_run_sends_nothing_by_xet(build: Build, xet: HubServer) -> None:
    publish(build)
    sent = xet.count("xet_upload")
    publish(build)
    assert xet.count("xet_upload") == sent


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        pytest.param("xet_write_token", 401, "hub.xet_refused", marks=pytest.mark.slow),
        pytest.param("xet_write_token", 403, "hub.xet_refused", marks=pytest.mark.slow),
        ("xet_write_token", 404, "hub.xet_not_found"),
        pytest.param("xet_write_token", 500, "hub.xet_failed", marks=pytest.mark.slow),
        pytest.param("xet_upload", 401, "hub.xet_refused", marks=pytest.mark.slow),
        ("xet_upload", 403, "hub.xet_refused"),
        pytest.param("xet_upload", 400, "hub.xet_failed", marks=pytest.mark.slow),
        pytest.param("xet_upload", 500, "hub.xet_failed", marks=pytest.mark.slow),
        pytest.param("xet_shard", 403, "hub.xet_refused", marks=pytest.mark.slow),
        ("xet_shard", 500, "hub.xet_failed"),
    ],
)
def test_a_storage_that_refuses_an_upload_is_named_and_the_next_run_goes_on(
    build: Build, xet: HubServer, kind: str, status: int, code: str
) -> None:
    xet.faults.add(Fault(kind, times=ENDLESS, status=status))
    with refuses(code, f"Xet storage of {xet.url}/{DATASET}") as caught:
        publish(build)
    assert caught.value.outcome == UNFINISHED == SAID
    assert "HF_HUB_DISABLE_XET=1" in str(caught.value.problems[0].fix)
    assert "hf_maintainerstoken" not in str(caught.value)
    assert all(release_commits(one) == [] for one in xet.store.repositories.values())
    xet.faults.clear()
    publish(build)
    assert_released(xet)


def test_a_storage_that_cannot_be_reached_is_named(build: Build, xet: HubServer) -> None:
    xet.store.xet_url = UNREACHABLE
    with refuses("hub.xet_failed", "Xet storage of"):
        publish(build)
    xet.store.xet_url = None
    publish(build)
    assert_released(xet)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault("xet_upload", cut_request_after=100), id="cut request"),
        pytest.param(Fault("xet_upload", lose_answer=True), id="lost answer", marks=pytest.mark.slow),
        pytest.param(Fault("xet_shard", cut_answer_after=3), id="cut answer", marks=pytest.mark.slow),
        pytest.param(Fault("xet_upload", status=503), id="503 once", marks=pytest.mark.slow),
        pytest.param(Fault("xet_upload", delay_s=1.0), id="slow", marks=pytest.mark.slow),
    ],
)
def test_a_storage_that_fails_once_is_asked_again(build: Build, xet: HubServer, fault: Fault) -> None:
    xet.faults.add(fault)
    publish(build)
    assert_released(xet)


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        pytest.param("xet_read_token", 401, "hub.xet_refused", marks=pytest.mark.slow),
        ("xet_read_token", 403, "hub.xet_refused"),
        pytest.param("xet_read_token", 404, "hub.xet_not_found", marks=pytest.mark.slow),
        pytest.param("xet_read_token", 500, "hub.xet_failed", marks=pytest.mark.slow),
        pytest.param("xet_reconstruction", 401, "hub.xet_refused", marks=pytest.mark.slow),
        pytest.param("xet_reconstruction", 403, "hub.xet_refused", marks=pytest.mark.slow),
        ("xet_reconstruction", 500, "hub.xet_failed"),
        pytest.param("xet_download", 500, "hub.xet_failed", marks=pytest.mark.slow),
    ],
)
def test_a_storage_that_refuses_a_download_is_named(
    build: Build, xet: HubServer, kind: str, status: int, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    publish(build)
    xet.faults.add(Fault(kind, times=ENDLESS, status=status))
    with refuses(code, f"Xet storage of {xet.url}/{DATASET}") as caught:
        download(xet)
    assert caught.value.outcome == UNCHANGED
    xet.faults.clear()
    assert (download(xet) / "release.json").is_file()


def test_a_storage_that_cannot_be_reached_for_a_download_is_named(build: Build, xet: HubServer) -> None:
    publish(build)
    xet.store.xet_url = UNREACHABLE
    with refuses("hub.xet_failed", "Xet storage of"):
        download(xet)


def test_ctrl_c_during_an_upload_prints_one_sentence(
    publisher: Publisher, xet: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(publisher.variables, "HF_HUB_DISABLE_XET", "0")

    def interrupt() -> None:
        assert publisher.process
        publisher.process.send_signal(signal.SIGINT)

    xet.faults.add(Fault("xet_upload", before=interrupt, delay_s=0.2))
    code, printed = publisher.run()
    assert code == 130
    assert "Traceback" not in printed
    assert printed.strip().splitlines()[-1] == f"Stopped by Ctrl-C; {SAID}."
    xet.faults.clear()
    code, printed = publisher.run_here()
    assert code == 0, printed
    assert_released(xet, repositories=5)
