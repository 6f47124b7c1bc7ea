"""No isolation at all: a plain subprocess in a fresh copy of the tree. Only for who typed that they want it."""

from __future__ import annotations

import sys
from dataclasses import replace

from sandbox import CandidateServerError, SandboxError
from sandbox.processes import REPORTING, collected, laid_out, watch
from sandbox.runner import Command, Execution, Session

WARNING = (
    "warning: --unsafe-no-sandbox: the project's code runs as you, with your files and your network. Only do this inside a container or "
    "a virtual machine that holds nothing of value."
)


class UnsafeRunner:
    """Runs commands without a sandbox, and says so once on standard error. The warm tiers are not offered."""

    name = "none"

    def __init__(self) -> None:
        print(WARNING, file=sys.stderr, flush=True)

    def run(self, command: Command) -> Execution:
        if command.proxy is not None:
            raise SandboxError("environments are not built without a sandbox: name an existing one with --python")
        with laid_out(command) as (here, cwd, _):
            argv = [*REPORTING, *here.argv, "3"] if command.report else list(here.argv)
            execution = watch(argv, here.environment, cwd, command)
            return replace(execution, collected=collected(command.collect, cwd, command.limits.report_bytes))

    def open(self, command: Command) -> Session:
        raise CandidateServerError("the warm tiers need bubblewrap: run `ledex doctor`")
