"""Answers that are kept: by several runs at once, through a kill, and within a budget."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.errors import DataError
from dialoguellm_release.serve.asking import Budget
from dialoguellm_release.serve.store import FORGET_FAILED, StoredAnswer, forget, keep, open_store, request_key
from tests.serve.conftest import Quirks, completion


def test_an_answer_is_kept_whole_and_the_first_one_stays(tmp_path: Path) -> None:
    answer = StoredAnswer("answered", "neutral\u2028", {"first": [["n", -0.5]]}, None, "m-1")
    refused = StoredAnswer("refused", reason="content filter")
    with open_store(tmp_path / "a.sqlite") as store:
        store.commit([keep("k", answer), keep("k", refused), keep("r", refused)])
        store.commit([keep("f", StoredAnswer("failed", reason="HTTP 400"))])
    with open_store(tmp_path / "a.sqlite", FORGET_FAILED) as store:
        assert store.answers(["k", "r", "f", "x"]) == {"k": answer, "r": refused}
        store.commit([forget(["k"])])
        assert store.keys() == {"r"}


def test_a_key_is_of_all_that_is_asked() -> None:
    keys = {request_key(server="a", model="b", prompt="c"), request_key(server="a", model="c", prompt="b")}
    assert len(keys) == 2
    assert request_key(model="b", server="a", prompt="c") in keys


def test_several_writers_share_a_store(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def work(name: int) -> None:
        try:
            with open_store(tmp_path / "a.sqlite") as store:
                for number in range(20):
                    store.commit([keep(f"{name}/{number}", StoredAnswer("answered", str(number)))])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    with open_store(tmp_path / "a.sqlite") as store:
        assert len(store.keys()) == 80


def test_a_budget_counts_what_is_open_as_expected() -> None:
    budget = Budget(limit=3, max_cost_usd=1.0, estimate_usd=0.3)
    for _ in range(3):
        assert budget.why_not() is None
        budget.reserve()
        budget.asked += 1
    assert budget.why_not() == "--limit 3 is reached"
    assert budget.why_not_again() == "--max-cost 1 leaves no room for another request"
    budget.settle(0.05)
    assert budget.why_not_again() is None
    budget.settle(0.5)
    assert budget.estimate_usd == 0.5
    assert budget.why_not_again() is not None
    with pytest.raises(DataError) as caught:
        Budget(max_cost_usd=1.0)
    assert caught.value.problems[0].code == "serve.no_prices"


@pytest.mark.slow
@pytest.mark.parametrize("runs", [1, 2], ids=["one run", "two runs at once"])
def test_a_run_that_is_killed_loses_no_answer(
    runs: int, quirks: Quirks, small_dataset: Path, tmp_path: Path
) -> None:
    def reply(_path: str, body: Any, _number: int) -> Any:
        time.sleep(0.2)
        return completion(body, "neutral")

    quirks.reply = reply

    def command(name: str) -> list[str]:
        return [
            *(sys.executable, "-m", "dialoguellm_release.cli.main", "score", "served", "meld", "org/model"),
            *("--base-url", quirks.url, "--dataset", str(small_dataset), "--out", str(tmp_path / name)),
            *("--cache", str(tmp_path / "cache"), "--concurrency", "1", "--set", "intervals.resamples=20"),
        ]

    processes = [subprocess.Popen(command(str(number))) for number in range(runs)]
    deadline = time.monotonic() + 120
    while len(quirks.asked) < 6 * runs and time.monotonic() < deadline:
        time.sleep(0.01)
    for process in processes:
        process.kill()
        process.wait()
    with open_store(tmp_path / "cache" / "answers.sqlite") as store:
        before = len(store.keys())
    assert 0 < before < 15
    assert not list(tmp_path.glob("[01]"))
    subprocess.run(command("end"), check=True, capture_output=True)
    asked = Counter(body["messages"][0]["content"] for body in quirks.asked)
    assert len(asked) == 15
    if runs == 1:
        assert sum(asked.values()) <= 15 + 1
