"""What every test stands on: steady Hypothesis, one thread per numeric library, and a Git that knows nothing of its user."""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis
import pytest

# A loaded CI machine is slow without being wrong; and there the same commit must get the same answer twice.
hypothesis.settings.register_profile("house", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.load_profile("house")
# Two threads on a loaded machine of two cores ran ten times slower. Set here, because the libraries read it when they are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def own_git_configuration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Commits work where no name is configured (a fresh machine), and a caller's hooks, templates and signing stay out.

    ``safe.directory`` is left unset on purpose: what Git refuses to other users, it refuses in a test too.
    """
    configuration = tmp_path_factory.mktemp("git") / "config"
    configuration.write_text(
        "[user]\n\tname = Test\n\temail = test@example.invalid\n[init]\n\tdefaultBranch = main\n[commit]\n\tgpgSign = false\n"
        "[core]\n\tautocrlf = false\n\thooksPath = /dev/null\n",
        encoding="utf-8",
    )
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("GIT_CONFIG_GLOBAL", str(configuration))
        environment.setenv("GIT_CONFIG_NOSYSTEM", "1")
        # A suite started from a Git hook inherits these, and would write into the caller's repository.
        for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX"):
            environment.delenv(name, raising=False)
        yield
