"""Which runner is chosen, and what the weaker ones do."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox import CandidateServerError, IsolationUnavailable, SandboxError
from sandbox.container import IMAGE, arguments
from sandbox.limits import Limits
from sandbox.runner import Command, Execution, Mount, Runner, Session, Tree
from sandbox.sandlock import SandlockRunner, policy
from sandbox.selection import RUNNERS, select_runner
from sandbox.unsafe import UnsafeRunner
from tests.sandbox.conftest import SMALL


class Fake:
    """A runner whose commands end with ``status``."""

    def __init__(self, name: str, status: int = 0) -> None:
        self.name = name
        self.status = status

    def run(self, command: Command) -> Execution:
        return Execution(self.status, None, "exited", b"", b"", b"", {}, 0.0, 0)

    def open(self, command: Command) -> Session:
        raise NotImplementedError


def missing() -> Runner:
    raise IsolationUnavailable("it is not installed: install it")


def test_bubblewrap_comes_first_and_no_isolation_is_not_among_them() -> None:
    assert list(RUNNERS) == ["bubblewrap", "sandlock", "container"]


def test_the_first_that_starts_is_taken() -> None:
    runners = {"a": missing, "b": lambda: Fake("b", status=1), "c": lambda: Fake("c"), "d": lambda: Fake("d")}
    assert select_runner(runners=runners).name == "c"


def test_the_preferred_one_is_taken_or_refused() -> None:
    runners = {"a": lambda: Fake("a"), "b": missing}
    assert select_runner("a", runners=runners).name == "a"
    with pytest.raises(IsolationUnavailable, match="install it"):
        select_runner("b", runners=runners)
    with pytest.raises(IsolationUnavailable, match="choose auto, a, b or none"):
        select_runner("docker", runners=runners)


def test_without_any_isolation_every_reason_is_told() -> None:
    with pytest.raises(IsolationUnavailable, match="install it; b does not run"):
        select_runner(runners={"a": missing, "b": lambda: Fake("b", status=1)})


def test_no_isolation_has_to_be_allowed(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(IsolationUnavailable, match="--unsafe-no-sandbox"):
        select_runner("none")
    assert select_runner("none", allow_unsafe=True).name == "none"
    assert select_runner(allow_unsafe=True, runners={"a": missing}).name == "none"
    assert "runs as you" in capfd.readouterr().err


def test_an_isolation_that_starts_wins_over_the_permission_to_do_without() -> None:
    assert select_runner(allow_unsafe=True, runners={"a": lambda: Fake("a")}).name == "a"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    for name, content in (("tree/code.py", "old"), ("tree/gone.py", ""), ("overlay/code.py", "new")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    return Tree(tmp_path / "tree", "project", overlay=tmp_path / "overlay", removed=("gone.py",))


def test_without_a_sandbox_the_tree_is_a_copy_and_paths_are_translated(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "probes").mkdir()
    (tmp_path / "probes" / "probe.sh").write_text('cat code.py >&3; ls; echo x > code.py; echo "$SEEN"')
    execution = UnsafeRunner().run(
        Command(
            ("/bin/sh", "/run/ledex/probe.sh"),
            tree=tree,
            report=True,
            mounts=(Mount(tmp_path / "probes", "/run/ledex"),),
            limits=SMALL,
            environment={"PATH": "/usr/bin:/bin", "SEEN": "/ledex/project/lib"},
        )
    )
    assert execution.ok, execution
    assert execution.report == b"new"
    assert execution.stderr.startswith(b"code.py\n/")
    assert execution.stderr.endswith(b"/project/lib\n")
    assert (tree.root / "code.py").read_text() == "old"


def test_without_a_sandbox_time_output_and_wanted_files_are_still_watched(tree: Tree) -> None:
    runner = UnsafeRunner()
    shell = Command(
        ("/bin/sh", "-c", "sleep 30"), tree=tree, limits=replace(SMALL, wall_seconds=0.5), environment={"PATH": "/usr/bin:/bin"}
    )
    assert runner.run(shell).reason == "timeout"
    assert runner.run(replace(shell, argv=("/bin/sh", "-c", "cat /dev/zero"), limits=replace(SMALL, output_bytes=4096))).reason == "output"
    execution = runner.run(
        replace(shell, argv=("/bin/sh", "-c", "echo r > r.xml; ln -s /etc/passwd l.xml; exit 3"), collect=("r.xml", "l.xml", "../x"))
    )
    assert (execution.exit_code, dict(execution.collected)) == (3, {"r.xml": b"r\n"})


def test_what_the_weaker_runners_cannot_do_is_refused_in_one_sentence(tmp_path: Path) -> None:
    runner = UnsafeRunner()
    with pytest.raises(CandidateServerError, match="need bubblewrap"):
        runner.open(Command(("true",)))
    with pytest.raises(SandboxError, match="--python"):
        runner.run(Command(("true",), proxy=tmp_path / "socket"))


def test_sandlock_gets_no_network_and_only_the_folders_of_the_command(tmp_path: Path) -> None:
    settings = policy(Command(("true",), mounts=(Mount(tmp_path / "env", "/env"),), limits=Limits(processes=7)), tmp_path, tmp_path)
    assert (settings["net_allow"], settings["net_allow_bind"], settings["max_processes"]) == ([], [], 7)
    assert settings["fs_writable"] == [str(tmp_path), "/dev/null"]
    readable = settings["fs_readable"]
    assert isinstance(readable, list)
    assert str(tmp_path / "env") in readable
    assert not {"/", "/home", "/root", "/etc", "/tmp", "/var", "/run"} & set(readable)


def test_sandlock_isolates_where_it_is_installed(tree: Tree, tmp_path: Path) -> None:
    try:
        runner = SandlockRunner()
    except IsolationUnavailable as error:
        pytest.skip(str(error))
    (tmp_path / "secret").write_text("secret")
    execution = runner.run(Command(("/bin/sh", "-c", f"cat code.py >&3; cat {tmp_path}/secret"), tree=tree, report=True, limits=SMALL))
    assert (execution.report, execution.exit_code) == (b"new", 1)
    assert b"denied" in execution.stderr


def test_a_missing_sandlock_is_named_with_its_remedy(tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\nexit 1\n")
    fake.chmod(0o755)
    with pytest.raises(IsolationUnavailable, match="Landlock"):
        SandlockRunner(str(fake))


def container(command: Command) -> list[str]:
    return arguments("/usr/bin/docker", IMAGE, "ledex-1", command, Path("/empty"))


def values(argv: list[str], name: str) -> list[str]:
    return [argv[n + 1] for n, word in enumerate(argv) if word == name]


def test_a_container_has_no_network_no_capability_and_no_writable_image(tree: Tree) -> None:
    argv = container(Command((sys.executable, "x.py"), tree=tree, limits=Limits(processes=9, memory_bytes=1000)))
    assert values(argv, "--network") == ["none"]
    assert values(argv, "--cap-drop") == ["ALL"]
    assert values(argv, "--security-opt") == ["no-new-privileges"]
    assert values(argv, "--pids-limit") == ["9"]
    assert values(argv, "--memory") == values(argv, "--memory-swap") == ["1000"]
    assert {"--read-only", "--rm"} <= set(argv)
    assert values(argv, "--user") == ["60000:60000"]
    assert {t.split(":")[0] for t in values(argv, "--tmpfs")} == {"/tmp", "/ledex"}
    assert not {"--privileged", "--volume", "-v"} & set(argv)


def test_a_container_binds_all_read_only_and_no_socket(tree: Tree) -> None:
    mounts = values(container(Command(("x",), tree=tree, mounts=(Mount(Path("/opt/env"), "/env"),))), "--mount")
    assert all(m.endswith(",readonly") for m in mounts)
    assert not [m for m in mounts if "sock" in m]
    assert "type=bind,source=/empty,target=/run/artifacts,readonly" in mounts


def test_a_path_that_would_become_another_option_of_a_bind_is_refused() -> None:
    with pytest.raises(SandboxError, match="comma"):
        container(Command(("x",), mounts=(Mount(Path("/opt/a,readonly=false"), "/env"),)))


def test_a_containers_command_gets_its_environment_and_report_number() -> None:
    argv = container(Command(("/env/python", "x.py"), environment={"A": "1"}, report=True))
    assert argv[-3:] == ["/env/python", "x.py", "3"]
    assert argv[argv.index(IMAGE) + 1] == "-c"
    assert "A=1" in argv
    assert "--env" not in argv
