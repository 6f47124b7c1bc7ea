"""Run tests and report every outcome on a descriptor: started by absolute path in the tested project's interpreter.

usage: _ledex_run.py FD   (options as JSON on standard input)

OPTIONS: mode ("cold": run once; "swap", "import": serve candidates, see ``_ledex_serve.py``), framework ("pytest" or "unittest"),
arguments (list), only (test ids, empty for all), overlay (folder appended last to sys.path), cwd_on_path (as ``python -m``
does), coverage (bool). One JSON object a line goes to FD: collected, result, collection_error, coverage, end.
Every mode starts by this command line and loads the same modules, so that a test cannot tell a warm server from a cold run by them.
What each mode does lies in the other ``_ledex_*.py`` files beside this one. Standard library only, Python 3.8+.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the names below are for the type checker alone: Python 3.8 never evaluates them
    import types
    from typing import Any

    from sandbox._ledex_report import Record, Send

# What the other files import: loaded in every mode, and before the tree is on the path.
LOADED_IN_EVERY_MODE = ("_socket", "ast", "copy", "functools", "gc", "mmap", "random", "re", "resource", "select", "signal", "struct",
                        "time", "tokenize", "traceback", "types")
SIBLINGS: dict[str, types.ModuleType] = {}


def open_channel(number: int) -> Send:
    """Move the descriptor out of sight of child processes; returns a function that sends one record."""
    descriptor = os.dup(number)
    os.set_inheritable(descriptor, False)
    os.close(number)

    def send(**record: Any) -> None:
        data = (json.dumps(record) + "\n").encode("utf-8", "backslashreplace")
        while data:
            data = data[os.write(descriptor, data):]

    return send


def read_options() -> Record:
    """The options from standard input, which is empty for the tests afterwards."""
    with os.fdopen(os.dup(0), "rb") as file:
        options: Record = json.loads(file.read().decode("utf-8"))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return options


def load_sibling(name: str) -> types.ModuleType:
    """A file of this folder as a module, once, without the folder ever being on sys.path or the module in sys.modules."""
    if name not in SIBLINGS:
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py")
        specification = importlib.util.spec_from_file_location(name, path)
        assert specification is not None
        assert specification.loader is not None
        SIBLINGS[name] = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(SIBLINGS[name])
    return SIBLINGS[name]


def prepare(options: Record) -> str:
    """Import the judge, then set ``sys.path`` and ``sys.argv`` as the framework's own command would; the tree's real path."""
    if options.get("overlay"):
        sys.path.append(options["overlay"])
    # The judge comes first, or a pytest.py in the tree would be imported in its place.
    for name in (*LOADED_IN_EVERY_MODE, options["framework"]):
        __import__(name)
    if options.get("coverage"):
        __import__("coverage")
    if options["cwd_on_path"]:
        sys.path[0] = os.getcwd()
    else:
        del sys.path[0]
    sys.argv = ["pytest" if options["framework"] == "pytest" else "python -m unittest", *options["arguments"]]
    return os.path.realpath(os.getcwd())


def main() -> None:
    """Do what the options on standard input ask for, with the report on the descriptor of the command line."""
    options = read_options()
    number = int(sys.argv[1])
    if options["mode"] != "cold":
        load_sibling("_ledex_serve").main(options, number)
        return
    send = open_channel(number)
    root = prepare(options)  # before the file below, which imports the framework from where this found it
    status = load_sibling("_ledex_" + options["framework"]).run(options, send, root)
    send(kind="end", status=status)
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(status)


if __name__ == "__main__":
    main()
