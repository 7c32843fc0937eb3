"""A run that is stopped: by Ctrl-C, by a kill, by a full disk. The next one goes on."""

from __future__ import annotations

import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.schemas.corpus import CorpusEntry

NAME = "train_sent_emo.csv"
CONTENT = random.Random(9).randbytes(400_000)
SCRIPT = """
import sys
from pathlib import Path
from dialoguellm_release.corpora.fetch import fetch_corpora
from dialoguellm_release.schemas.corpus import CorpusEntry
print("fetching", flush=True)
fetch_corpora([CorpusEntry.model_validate_json(sys.argv[1])], Path(sys.argv[2]))
"""


def waits_in_the_middle(handler: Any, content: bytes, _begin: int | None) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content[:150_000])
    time.sleep(20)


def start(
    entry: CorpusEntry, to: Path, preexec_fn: Callable[[], None] | None = None
) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", SCRIPT, entry.model_dump_json(), str(to)]
    return subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, preexec_fn=preexec_fn)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill"])
def test_a_stopped_run_is_gone_on_with(
    offered: Any, site: Any, tmp_path: Path, tree: Any, how: signal.Signals
) -> None:
    entry = offered({NAME: CONTENT})
    site.faults["/" + NAME] = [waits_in_the_middle, None]
    run = start(entry, tmp_path)
    partial = tmp_path / ".meld.partial" / f"{NAME}.partial"
    until = time.monotonic() + 15
    while not (partial.exists() and partial.stat().st_size >= 65536) and time.monotonic() < until:
        time.sleep(0.02)
    run.send_signal(how)
    run.communicate(timeout=10)
    assert run.returncode == -how
    assert not (tmp_path / "meld").exists()
    kept = partial.stat().st_size
    assert partial.read_bytes() == CONTENT[:kept]
    assert start(entry, tmp_path).wait(timeout=15) == 0
    assert site.log == [("/" + NAME, None), ("/" + NAME, kept)]
    assert tree(tmp_path) == {f"meld/{NAME}": CONTENT}


def test_a_full_disk_is_told_and_the_next_run_goes_on(
    offered: Any, site: Any, tmp_path: Path, tree: Any
) -> None:
    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    entry = offered({NAME: CONTENT})
    run = start(entry, tmp_path, small_files)
    said = run.communicate(timeout=15)[1]
    assert run.returncode == 1
    assert f"File too large: '{tmp_path / '.meld.partial' / NAME}.partial'" in said
    assert not (tmp_path / "meld").exists()
    assert start(entry, tmp_path).wait(timeout=15) == 0
    assert site.log == [("/" + NAME, None), ("/" + NAME, 200_000)]
    assert tree(tmp_path) == {f"meld/{NAME}": CONTENT}
