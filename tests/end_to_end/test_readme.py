"""The commands of README.md and of docs/own-data.md, typed in their order after `make demo`."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SAID = {
    "neutral": ("The train leaves at nine", "We meet at the harbour", "The keys are on the table"),
    "happiness": ("They said yes", "What a lovely day this is", "We won the cup"),
    "frustration": ("The last ferry is gone again", "Nobody answers the phone", "It never works on Mondays"),
}


def commands(document: str) -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return [
        line
        for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
        if not language
        and line.startswith("dlm-release ")
        and "paper" not in line
        and "llama-2-7b" not in line
    ]


@pytest.mark.parametrize(("document", "count"), [("README.md", 9), ("docs/own-data.md", 4)])
def test_the_commands_of_a_document_run(
    document: str, count: int, made: tuple[Path, str], tmp_path: Path
) -> None:
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "demo").symlink_to(made[0])
    rows = [
        f"{dialogue},{'AB'[turn % 2]},{texts[(dialogue + turn) % 3]} {dialogue}.,{label},{split}"
        for dialogue in range(24)
        for turn, (label, texts) in enumerate(SAID.items())
        for split in ["test" if dialogue % 6 == 0 else "dev" if dialogue % 6 == 1 else "train"]
    ]
    header = "dialogue,speaker,text,label,split"
    (tmp_path / "my.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    found = commands(document)
    assert len(found) == count
    for command in found:
        arguments = [sys.executable, "-m", "dialoguellm_release.cli.main", *shlex.split(command)[1:]]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
