"""The commands of the README, one after the other, in an empty folder; on the synthetic corpora."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.slow
def test_the_steps_of_the_readme_lead_to_a_release(tmp_path: Path) -> None:
    text = README.read_text(encoding="utf-8").partition("## Make the release")[2].partition("##")[0]
    commands = re.findall(r"^dlm-release (.*)$", text, re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["dataset", "adapter", "score", "publish"]
    for command in commands:
        on_synthetic = command.replace(
            "build paper --sources corpora --skip iemocap --skip meisd", "build demo"
        )
        done = subprocess.run(
            [sys.executable, "-m", "dialoguellm_release.cli.main", *shlex.split(on_synthetic)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "release" / "models" / "dialoguellm" / "tiny" / "adapter_model.safetensors").is_file()
