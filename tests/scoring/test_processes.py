"""Several processes score what one scores: the same answers, one folder, one report."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.encoding import EncodedPrompt
from dialoguellm_release.schemas.labels import Split
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.scoring.answers import Batch, Reply, kept_replies

PROCESSES = 3


class Lengths:
    """Says how long each prompt is, two at a time, and remembers whom it was asked about."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def plan(self, prompts: Sequence[EncodedPrompt]) -> list[Batch]:
        return [Batch(tuple(range(len(prompts))[start : start + 2])) for start in range(0, len(prompts), 2)]

    def replies(self, prompts: Sequence[EncodedPrompt], batch: Batch) -> list[Reply]:
        self.asked += [prompts[place].text for place in batch.places]
        return [Reply((-float(len(prompts[place].text)),)) for place in batch.places]


@pytest.mark.parametrize("records", [1, 14])
def test_the_batches_are_shared_out_and_every_process_gets_all_replies(
    records: int,
    records_of: Callable[[Split, int], list[Record]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prompts = [
        EncodedPrompt(record, "prompt" + "!" * place, [], whole_length=0)
        for place, record in enumerate(records_of("test", records))
    ]
    whole = kept_replies(Lengths(), prompts, {}, tmp_path / "one")
    here, all_are_here = threading.local(), threading.Barrier(PROCESSES)
    given: dict[int, Any] = {}

    def gathered(own: Any) -> list[Any]:
        given[here.rank] = own
        all_are_here.wait(30)
        return [given[rank] for rank in range(PROCESSES)]

    answers = "dialoguellm_release.scoring.answers"
    monkeypatch.setattr(f"{answers}.rank", lambda: here.rank)
    monkeypatch.setattr(f"{answers}.started", lambda: PROCESSES)
    monkeypatch.setattr(f"{answers}.gathered", gathered)
    scorers = [Lengths() for _ in range(PROCESSES)]

    def process(rank: int, *, again: bool) -> list[Reply]:
        here.rank = rank
        return kept_replies(scorers[rank], prompts, {}, tmp_path / "several", again=again)

    for again, times in ((False, 1), (False, 1), (True, 2)):
        with ThreadPoolExecutor(PROCESSES) as pool:
            found = list(pool.map(lambda rank, again=again: process(rank, again=again), range(PROCESSES)))
        assert found == [whole] * PROCESSES
        asked = sorted(text for scorer in scorers for text in scorer.asked)
        assert asked == sorted([prompt.text for prompt in prompts] * times)
        assert max(len(scorer.asked) for scorer in scorers) <= times * (records // PROCESSES + 2)


COMMAND_LINE = "from dialoguellm_release.cli.main import main; main()"
SECOND_FAILS = f"""
import os
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.scoring.scorers import LikelihoodScorer
replies, batches = LikelihoodScorer.replies, []


def failing(self, prompts, batch):
    batches.append(batch)
    if os.environ["RANK"] == "1" and len(batches) == 3:
        raise DataError(Problem("the second process", "has no more memory", code="score.test"))
    return replies(self, prompts, batch)


LikelihoodScorer.replies = failing
{COMMAND_LINE}
"""


@pytest.mark.slow
def test_two_processes_write_the_folder_of_one_and_go_on_after_one_failed(
    tiny_adapter: Path, tiny_backbone: Path, audited_dataset: Path, tmp_path: Path
) -> None:
    def scored(name: str, processes: int, program: str = COMMAND_LINE) -> subprocess.CompletedProcess[str]:
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
        start = [sys.executable, *launcher, "--no-python"] if processes > 1 else []
        command = [*start, sys.executable, "-c", program, "score", "run", "meld", "--json"]
        folders = ["--adapter", tiny_adapter, "--dataset", audited_dataset, "--out", tmp_path / name]
        folders += ["--backbones", tiny_backbone.parent, "--cache", tmp_path / f"cache-{name}"]
        settings = ["--set", "intervals.resamples=50", "--set", "batch_size=4"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        whole = [*command, *map(str, folders), *settings]
        return subprocess.run(whole, env=environment, capture_output=True, text=True, check=False)

    failed = scored("two", 2, SECOND_FAILS)
    assert failed.returncode != 0
    assert "the second process" in failed.stderr
    assert "has no more memory" in failed.stderr
    assert not (tmp_path / "two").exists()

    one, two = scored("one", 1), scored("two", 2)
    assert (one.returncode, two.returncode) == (0, 0), one.stderr + two.stderr
    assert one.stdout == two.stdout
    files = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "one", tmp_path / "two")
    ]
    assert len(files[0]) > 4
    assert files[0].keys() == files[1].keys()
    assert [name for name in files[0] if files[0][name] != files[1][name]] == []
