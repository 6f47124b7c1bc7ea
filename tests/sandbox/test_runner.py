"""What every command gets from the bubblewrap runner, and how its end is told."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox import IsolationUnavailable, SandboxError
from sandbox.bubblewrap import BubblewrapRunner, arguments
from sandbox.limits import MIB
from sandbox.runner import Command, Execution, Mount, Tree
from sandbox.supervision import CappedBuffer, descendants, untar
from tests.sandbox.conftest import SMALL


def shell(runner: BubblewrapRunner, script: str, **more: object) -> Execution:
    return runner.run(replace(Command(("/bin/sh", "-c", script), limits=SMALL), **more))  # type: ignore[arg-type]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a.txt").write_text("a")
    return Tree(tmp_path / "tree", "project")


def test_output_and_status_come_back(runner: BubblewrapRunner) -> None:
    execution = shell(runner, "echo out; echo err >&2; exit 7")
    assert (execution.stdout, execution.stderr, execution.exit_code, execution.reason) == (b"out\n", b"err\n", 7, "exited")
    assert not execution.ok


def test_an_end_by_a_signal_is_told(runner: BubblewrapRunner) -> None:
    execution = shell(runner, "kill -SEGV $$")
    assert (execution.exit_code, execution.signal, execution.reason) == (None, signal.SIGSEGV, "signal")


def test_a_timeout_is_told(runner: BubblewrapRunner) -> None:
    execution = shell(runner, "sleep 30", limits=replace(SMALL, wall_seconds=0.3))
    assert (execution.exit_code, execution.reason) == (None, "timeout")
    assert execution.seconds < 10


def test_a_missing_program_is_the_commands_failure(runner: BubblewrapRunner) -> None:
    execution = runner.run(Command(("/no/such/program",), limits=SMALL))
    assert (execution.exit_code, execution.reason) == (127, "exited")


def test_a_missing_mount_is_the_machinerys_failure(runner: BubblewrapRunner, tmp_path: Path) -> None:
    with pytest.raises(IsolationUnavailable, match="ledex doctor"):
        shell(runner, "true", mounts=(Mount(tmp_path / "missing", "/opt/x"),))


def test_a_missing_bubblewrap_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(IsolationUnavailable, match="apt-get install bubblewrap"):
        BubblewrapRunner()


def test_a_bubblewrap_that_does_not_start_is_told_with_its_message(tmp_path: Path) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    fake.chmod(0o755)
    with pytest.raises(IsolationUnavailable, match="No permissions to create new namespace"):
        shell(BubblewrapRunner(str(fake)), "true")


def test_a_tree_larger_than_its_file_system_is_told(runner: BubblewrapRunner, tree: Tree) -> None:
    (tree.root / "large").write_bytes(os.urandom(MIB))
    with pytest.raises(SandboxError, match="could not be laid out"):
        shell(runner, "true", tree=tree, limits=replace(SMALL, tree_bytes=MIB // 2))


@pytest.mark.parametrize("status", [1, 97, 125, 126, 127])
def test_no_status_of_a_command_is_taken_for_a_failure_of_the_machinery(runner: BubblewrapRunner, tree: Tree, status: int) -> None:
    assert shell(runner, f"exit {status}", tree=tree).exit_code == status


def test_standard_input_arrives_and_is_empty_otherwise(runner: BubblewrapRunner) -> None:
    assert shell(runner, "cat", stdin=b"\0binary\xff").stdout == b"\0binary\xff"
    assert shell(runner, "cat").stdout == b""


def test_the_tree_is_laid_out_in_layers(runner: BubblewrapRunner, tree: Tree, tmp_path: Path) -> None:
    for layer, files in (("artifacts", {"built.so": "b", "a.txt": "artifact"}), ("overlay", {"a.txt": "overlay"})):
        (tmp_path / layer).mkdir()
        for name, content in files.items():
            (tmp_path / layer / name).write_text(content)
    (tree.root / "gone").mkdir()
    (tree.root / "gone" / "x").write_text("")
    layered = replace(tree, artifacts=tmp_path / "artifacts", overlay=tmp_path / "overlay", removed=("gone", "never there"))
    assert shell(runner, "ls; cat a.txt; pwd", tree=layered).stdout == b"a.txt\nbuilt.so\noverlay/ledex/project\n"


def test_a_command_starts_in_its_folder(runner: BubblewrapRunner, tree: Tree) -> None:
    (tree.root / "sub dir").mkdir()
    assert shell(runner, "pwd", tree=tree, cwd="sub dir").stdout == b"/ledex/project/sub dir\n"
    assert shell(runner, "pwd", cwd="/usr").stdout == b"/usr\n"


def test_a_closed_file_of_the_tree_becomes_writable_inside(runner: BubblewrapRunner, tree: Tree) -> None:
    (tree.root / "a.txt").chmod(0o444)
    assert shell(runner, "echo b > a.txt && cat a.txt", tree=tree).stdout == b"b\n"


def test_wanted_files_come_back_whatever_the_status(runner: BubblewrapRunner, tree: Tree) -> None:
    execution = shell(runner, "mkdir out; echo x > 'out/re port.xml'; exit 3", tree=tree, collect=("out/re port.xml", "missing.xml"))
    assert execution.exit_code == 3
    assert dict(execution.collected) == {"out/re port.xml": b"x\n"}


def test_only_regular_files_are_taken_from_what_comes_back() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, kind, content in (("ok", tarfile.REGTYPE, b"x"), ("link", tarfile.SYMTYPE, b""), ("device", tarfile.CHRTYPE, b"")):
            member = tarfile.TarInfo(name)
            member.type, member.size, member.linkname = kind, len(content), "/etc/passwd"
            tar.addfile(member, io.BytesIO(content))
    assert dict(untar(buffer.getvalue())) == {"ok": b"x"}
    assert dict(untar(b"no archive")) == {}
    assert dict(untar(buffer.getvalue()[:700])) in ({}, {"ok": b"x"})


def test_a_report_travels_on_its_own_descriptor(runner: BubblewrapRunner) -> None:
    execution = shell(runner, 'echo "from the tests"; echo report >&"$0"', report=True)
    assert (execution.report, execution.stdout) == (b"report\n", b"from the tests\n")


def test_a_session_talks_both_ways_and_dies_when_told(runner: BubblewrapRunner) -> None:
    session = runner.open(Command(("/bin/sh", "-c", 'while read -r line <&3; do echo "got $line" >&3; done; sleep 60'), limits=SMALL))
    try:
        session.channel.sendall(b"one\n")
        assert session.channel.recv(100) == b"got one\n"
        assert session.poll() is None
    finally:
        execution = session.kill()
    assert execution.reason == "signal"
    assert session.poll() == execution


def test_a_session_ends_when_its_time_is_over(runner: BubblewrapRunner) -> None:
    session = runner.open(Command(("/bin/sleep", "60"), limits=replace(SMALL, wall_seconds=0.3)))
    end = time.monotonic() + 10
    while session.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    assert session.kill().reason == "timeout"


def test_a_default_timeout_for_sockets_does_not_reach_a_session(runner: BubblewrapRunner) -> None:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(5.0)  # as Celery's workers leave it behind when several stop at once
    try:
        session = runner.open(Command(("/bin/sh", "-c", 'read -r line <&3; echo "got $line" >&3'), limits=SMALL))
    finally:
        socket.setdefaulttimeout(before)
    try:
        time.sleep(0.3)  # the other side waits: its read of a descriptor that does not block would fail at once
        session.channel.sendall(b"it\n")
        assert session.channel.recv(100) == b"got it\n"
    finally:
        session.kill()


def test_peak_memory_is_told(runner: BubblewrapRunner) -> None:
    execution = runner.run(
        Command((sys.executable, "-c", "b = bytearray(40 << 20); import time; time.sleep(0.3)"), limits=SMALL, mounts=_own_python())
    )
    assert execution.ok, execution
    assert 40 * MIB < execution.peak_memory_bytes < 200 * MIB


def _own_python() -> tuple[Mount, ...]:
    from sandbox.interpreters import locate

    return locate(Path(sys.executable)).mounts


def test_no_process_or_descriptor_is_left_behind(runner: BubblewrapRunner) -> None:
    shell(runner, "true")
    descriptors, children = os.listdir("/proc/self/fd"), descendants(os.getpid())
    for script in ("true", "exit 1", "kill -9 $$"):
        shell(runner, script, report=True, collect=("x",))
    assert os.listdir("/proc/self/fd") == descriptors
    assert descendants(os.getpid()) == children


def test_the_sandbox_dies_with_its_caller() -> None:
    """Killed without a chance to clean up, the caller takes the sandbox along."""
    mark = f"orphan-{os.getpid()}"
    source = (
        "from sandbox.bubblewrap import BubblewrapRunner\nfrom sandbox.runner import Command\n"
        f"BubblewrapRunner().run(Command(('/bin/sh', '-c', 'sleep 60 # {mark}')))"
    )
    caller = subprocess.Popen([sys.executable, "-c", source], cwd=Path(__file__).parents[2])

    def inside() -> list[str]:
        listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        return [line for line in listed.splitlines() if line.startswith("/bin/sh -c sleep 60 #") and mark in line]

    def wait_until(wanted: bool) -> bool:
        end = time.monotonic() + 20
        while bool(inside()) != wanted and time.monotonic() < end:
            time.sleep(0.05)
        return bool(inside()) == wanted

    assert wait_until(True)
    caller.kill()
    caller.wait()
    assert wait_until(False)


def test_the_first_and_last_halves_of_long_output_are_kept() -> None:
    buffer = CappedBuffer(10)
    for _ in range(100):
        buffer.feed(b"0123456789")
    buffer.feed(b"THE END")
    assert buffer.value().startswith(b"01234\n[... 997 bytes left out ...]\n")
    assert buffer.value().endswith(b"E END")


def test_short_output_is_kept_whole() -> None:
    buffer = CappedBuffer(10)
    buffer.feed(b"0123")
    buffer.feed(b"456789")
    assert buffer.value() == b"0123456789"


def option_values(options: list[str], name: str) -> list[str]:
    return [options[n + 1] for n, o in enumerate(options) if o == name]


def test_a_user_gets_a_user_namespace_and_root_does_not() -> None:
    for as_root in (True, False):
        options = arguments(Command(("true",)), Path("/etc"), as_root)
        assert ("--unshare-user" in options) != as_root
        assert ("--disable-userns" in options) != as_root
        assert option_values(options, "--cap-drop") == ["ALL"]
        assert {"--unshare-net", "--unshare-pid", "--unshare-ipc", "--clearenv", "--new-session", "--die-with-parent"} <= set(options)


def test_only_the_proxy_is_bound_writable(tmp_path: Path, tree: Tree) -> None:
    options = arguments(Command(("true",), tree=tree, proxy=tmp_path / "socket", mounts=(Mount(tmp_path, "/opt/x"),)), Path("/etc"), False)
    assert option_values(options, "--bind") == [str(tmp_path / "socket")]
