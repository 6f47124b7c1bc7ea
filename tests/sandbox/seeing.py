"""What tests of a sandboxed project look around with, and how what they saw comes out."""

from __future__ import annotations

import json
from typing import Any

from sandbox.testing import TestRun

LOOKING = """import os


def listed(folder):
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        return error.errno


def read(path):
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except OSError as error:
        return error.errno
"""
"""Source for the project: a folder's names or a file's text, or the number of the error."""


def seen(run: TestRun) -> Any:
    """The JSON that a test printed after ``SEEN``."""
    return json.loads(run.execution.stdout.decode().split("SEEN ")[1].splitlines()[0])
