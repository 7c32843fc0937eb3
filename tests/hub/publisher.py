"""`dlm-release publish` to the local Hub, which a test may kill."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.conftest import Ended
from tests.hub_server.clients import environment
from tests.hub_server.server import HubServer

SECRET = "hf_maintainerstoken"


class Publisher:
    """`dlm-release publish` in other processes or in this one; `process` is the newest of them."""

    def __init__(self, build: Path, server: HubServer, home: Path, run: Callable[..., Ended]) -> None:
        self._build, self._run = build, run
        self.variables = environment(server, home) | {"HF_TOKEN": SECRET}
        self.process: subprocess.Popen[str] | None = None

    def run(self) -> tuple[int, str]:
        """How it ended, and all that it printed."""
        command = [sys.executable, "-m", "dialoguellm_release.cli.main", "publish", "demo"]
        self.process = subprocess.Popen(
            [*command, "--from", str(self._build), "--to", "hub", "--yes"],
            env=os.environ | self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        printed, _ = self.process.communicate()
        return self.process.returncode, printed

    def run_here(self) -> tuple[int, str]:
        """The same command in this process."""
        ended = self._run("publish", "demo", "--from", self._build, "--to", "hub", "--yes")
        return ended.code, ended.out + ended.err

    def kill(self) -> None:
        """Ends it as `kill -9` does; whatever it sent just now still arrives."""
        assert self.process
        self.process.kill()
        self.process.wait()
