"""A publish is killed, as a process of its own: the same command goes on to the same release."""

from __future__ import annotations

import pytest

from tests.hub.publisher import SECRET, Publisher
from tests.hub_server.audit import broken_tags, release_commits
from tests.hub_server.faults import Fault
from tests.hub_server.server import HubServer

COMMITS = [(kind, first) for first in (1, 3, 4) for kind in ("before commit", "after commit")]
TAGS = [(kind, first) for first in (1, 2, 4) for kind in ("before create_tag", "after create_tag")]
FAST = [("after commit", 3), ("before create_tag", 2)]


def assert_released(server: HubServer) -> None:
    assert len(server.store.repositories) == 5
    for repository in server.store.repositories.values():
        assert repository.tags == {"v1.0.0": repository.head.oid}
        assert release_commits(repository) == ["v1.0.0"]
    assert broken_tags(server.store) == []


@pytest.mark.parametrize(
    ("moment", "first"),
    [
        *(pytest.param(*one, marks=() if one in FAST else pytest.mark.slow) for one in COMMITS + TAGS),
        *(
            pytest.param(f"{when} {kind}", 2, marks=pytest.mark.slow)
            for when in ("before", "after")
            for kind in ("create_repo", "lfs_upload", "add_item")
        ),
    ],
)
def test_a_killed_publish_goes_on(
    publisher: Publisher, hub_server: HubServer, moment: str, first: int
) -> None:
    when, kind = moment.split()
    hub_server.faults.add(
        Fault(kind, first=first, before=publisher.kill)
        if when == "before"
        else Fault(kind, first=first, after=publisher.kill)
    )
    code, printed = publisher.run()
    assert code == -9
    assert broken_tags(hub_server.store) == []
    tagged = sum(bool(one.tags) for one in hub_server.store.repositories.values())
    assert tagged == (first if kind == "create_tag" else 5 if kind == "add_item" else 0)
    hub_server.faults.clear()
    code, again = publisher.run_here()
    assert code == 0, again
    assert_released(hub_server)
    assert SECRET not in printed + again


def test_ctrl_c_is_told_and_the_next_run_goes_on(publisher: Publisher, hub_server: HubServer) -> None:
    import signal

    def interrupt() -> None:
        assert publisher.process
        publisher.process.send_signal(signal.SIGINT)

    hub_server.faults.add(Fault("commit", first=2, before=interrupt, delay_s=0.2))
    code, printed = publisher.run()
    assert code == 130
    assert "Traceback" not in printed
    assert broken_tags(hub_server.store) == []
    code, again = publisher.run_here()
    assert code == 0, again
    assert_released(hub_server)
    assert SECRET not in printed + again
