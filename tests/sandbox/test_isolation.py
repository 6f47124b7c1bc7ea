"""Attacks on the sandbox, one claim each, started by root and by an ordinary user. Each looks for its effect outside."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox import SandboxError
from sandbox.interpreters import locate
from sandbox.limits import DENIED_SYSCALLS, MIB
from sandbox.runner import Command, Mount, Tree
from tests.sandbox.conftest import SMALL, Caller, answer


@pytest.fixture
def tree(caller: Caller) -> Iterator[Tree]:
    """A small work tree below the caller's closed folder."""
    root = caller.folder / "checkout"
    root.mkdir()
    (root / "code.py").write_text("x = 1\n")
    caller.own(root)
    yield Tree(root, "project")
    shutil.rmtree(root)


def alive(mark: str) -> list[int]:
    """Processes of the whole machine whose command line holds ``mark``."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                line = Path("/proc", name, "cmdline").read_bytes()
            except OSError:
                continue
            if mark.encode() in line:
                found.append(int(name))
    return found


def gone(mark: str) -> bool:
    """Whether no such process is left, or soon so: the kernel takes a moment to bury a namespace."""
    end = time.monotonic() + 5
    while alive(mark) and time.monotonic() < end:
        time.sleep(0.05)
    return not alive(mark)


# Files


def test_the_callers_home_folder_is_absent(caller: Caller) -> None:
    home = caller.folder / "home"
    home.mkdir()
    (home / "id_rsa").write_text("secret")
    caller.own(home)
    found = answer(
        caller.attack(
            """
        import json, os, sys
        paths = [*sys.argv[1:], "/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/etc/hostname", "/etc/machine-id", "/var/run/docker.sock",
                 "/run/docker.sock", "/run/systemd", "/var", "/opt", "/srv", "/mnt", "/media", "/boot", "/sys", "/proc/1/root/home"]
        print(json.dumps([p for p in paths if os.path.lexists(p)]))
        """,
            str(home / "id_rsa"),
            str(home),
            str(Path.home() / ".ssh"),
            str(Path.home() / ".bashrc"),
            "/home",
            str(caller.folder),
        )
    )
    assert found == []


def test_only_what_is_meant_to_be_seen_lies_at_the_root(caller: Caller) -> None:
    found = answer(caller.attack("import json, os; print(json.dumps(os.listdir('/')))"))
    expected = {"usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "proc", "dev", "tmp", "ledex", "run"}
    assert set(found) - expected <= {m.target.split("/")[1] for m in caller.mounts}


def test_writing_succeeds_only_in_the_temporary_file_systems(caller: Caller, tree: Tree) -> None:
    written = answer(
        caller.attack(
            """
        import json, os
        done = []
        for folder, names, _ in os.walk("/"):
            if folder.count("/") > (1 if folder.startswith("/usr") else 4) or folder == "/proc":
                names.clear()
            try:
                open(os.path.join(folder, "planted"), "w").close()
                done.append(folder)
            except OSError:
                pass
        print(json.dumps(done))
        """,
            tree=tree,
        )
    )
    assert {p.split("/")[1] + ("/shm" if p.startswith("/dev/shm") else "") for p in written} == {"tmp", "ledex", "dev/shm"}


def test_the_tree_outside_stays_as_it_was(caller: Caller, tree: Tree) -> None:
    execution = caller.attack(
        "import os; open('code.py', 'w').write('broken'); open('new', 'w').close(); os.remove('code.py'); print(os.listdir('.'))", tree=tree
    )
    assert execution.ok
    assert sorted(p.name for p in tree.root.iterdir()) == ["code.py"]
    assert (tree.root / "code.py").read_text() == "x = 1\n"


def test_mounts_of_the_tree_and_the_interpreter_cannot_be_written(caller: Caller, tree: Tree) -> None:
    extra = caller.folder / "extra"
    extra.mkdir(exist_ok=True)
    caller.own(extra)
    extra.chmod(0o777)
    tree.root.chmod(0o777)
    refused = answer(
        caller.attack(
            """
        import json, os, sys
        refused = []
        for path in ("/run/tree/x", "/extra/x", "/etc/x", os.path.join(sys.prefix, "x"), os.path.dirname(os.__file__) + "/x"):
            try:
                open(path, "w")
            except OSError as error:
                refused.append(error.errno in (13, 30))
        print(json.dumps(refused))
        """,
            tree=tree,
            mounts=[Mount(extra, "/extra")],
        )
    )
    assert refused == [True] * 5


def test_a_link_in_the_tree_leads_to_nothing_outside(caller: Caller, tree: Tree) -> None:
    secret = caller.folder / "secret"
    secret.write_text("secret")
    (tree.root / "passwd").symlink_to("/etc/passwd")
    (tree.root / "mine").symlink_to(secret)
    (tree.root / "up").symlink_to("../" * 12 + str(secret)[1:])
    caller.own(caller.folder)
    read = answer(
        caller.attack(
            """
        import json
        def read(path):
            try:
                return open(path).read()
            except OSError as error:
                return error.errno
        print(json.dumps([read("passwd"), read("mine"), read("up")]))
        """,
            tree=tree,
        )
    )
    assert read[1:] == [2, 2]
    assert "ledex" in read[0]
    assert read[0] != Path("/etc/passwd").read_text()


def test_hard_links_reach_no_file_outside(caller: Caller, tree: Tree) -> None:
    codes = answer(
        caller.attack(
            """
        import json, os
        codes = []
        for source in ("/run/tree/code.py", "/usr/bin/env", "/etc/passwd", "/proc/self/exe"):
            try:
                os.link(source, "linked")
                codes.append(0)
            except OSError as error:
                codes.append(error.errno)
        print(json.dumps(codes))
        """,
            tree=tree,
        )
    )
    assert 0 not in codes
    assert (tree.root / "code.py").stat().st_nlink == 1


def test_a_hard_link_in_the_tree_is_copied_not_shared(caller: Caller, tree: Tree) -> None:
    os.link(tree.root / "code.py", caller.folder / "elsewhere")
    assert caller.attack("open('code.py', 'w').write('changed')", tree=tree).ok
    assert (caller.folder / "elsewhere").read_text() == "x = 1\n"


def test_a_hostile_collect_path_sends_nothing_from_outside(caller: Caller, tree: Tree) -> None:
    execution = caller.attack(
        "import os; os.symlink('/etc/passwd', 'report.xml')", tree=tree, collect=("report.xml", "/proc/1/environ", "-T/etc/passwd")
    )
    assert execution.ok
    assert not [c for c in execution.collected.values() if c]


@pytest.mark.parametrize("where", ["/tmp", "/ledex", "/dev/shm"])
def test_a_disk_fill_stops_at_the_limit(caller: Caller, where: str) -> None:
    written = answer(
        caller.attack(
            """
        import json, sys
        written = 0
        try:
            for number in range(64):
                with open(f"{sys.argv[1]}/{number}", "wb", buffering=0) as file:
                    for _ in range(64):
                        written += file.write(b"x" * 65536)
        except OSError as error:
            print(json.dumps([written, error.errno]))
        """,
            where,
        )
    )
    assert written[1] == 28  # ENOSPC
    assert written[0] <= 8 * MIB


@pytest.mark.parametrize("where", ["/", "/dev", "/run", "/etc", "/usr", "/proc", "/root"])
def test_no_disk_can_be_filled_elsewhere(caller: Caller, where: str) -> None:
    code = answer(
        caller.attack(
            "import sys\ntry:\n open(sys.argv[1] + '/fill', 'wb')\n print(0)\nexcept OSError as error:\n print(error.errno)", where
        )
    )
    assert code in (1, 2, 13, 30)


def test_a_file_larger_than_the_limit_cannot_be_written(caller: Caller) -> None:
    limits = replace(SMALL, file_bytes=MIB)
    code = answer(
        caller.attack(
            """
        import signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            file = open("/tmp/large", "wb", buffering=0)
            while True:
                file.write(b"x" * 65536)
        except OSError as error:
            print(error.errno if file.tell() == 1 << 20 else -1)
        """,
            limits=limits,
        )
    )
    assert code == 27  # EFBIG


def test_setuid_programs_gain_nothing(caller: Caller) -> None:
    state = answer(
        caller.attack(
            """
        import json, os, subprocess
        programs = [p for p in ("/usr/bin/su", "/usr/bin/passwd", "/usr/bin/mount", "/usr/bin/sudo") if os.path.exists(p)]
        open("/tmp/mine", "wb").write(open("/bin/sh", "rb").read())
        codes = []
        try:
            os.chmod("/tmp/mine", 0o6755)
        except OSError:
            pass
        for program in (*programs, "/tmp/mine"):
            words = [program, "-c", "id -u"] if program in ("/usr/bin/su", "/tmp/mine") else [program]
            done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            codes.append(done.stdout.strip() == "0")
        flags = {line.split()[4]: line.split()[5] for line in open("/proc/self/mountinfo")}
        private = open("/proc/self/status").read()
        print(json.dumps([any(codes), [t for t, f in flags.items() if "nosuid" not in f], "NoNewPrivs:\\t1" in private]))
        """
        )
    )
    assert state == [False, [], True]


# Kernel interfaces


def test_no_capability_is_left(caller: Caller) -> None:
    status = answer(
        caller.attack("import json; print(json.dumps({l.split(':')[0]: l.split(':')[1].strip() for l in open('/proc/self/status')}))")
    )
    assert {status[k] for k in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert status["Seccomp"] == "2"
    assert "0" not in status["Uid"].split()
    assert status["Groups"] in ("", "65534")


def test_remounting_and_new_mounts_are_refused(caller: Caller) -> None:
    codes = answer(
        caller.attack(
            """
        import ctypes, json
        libc = ctypes.CDLL(None, use_errno=True)
        MS_REMOUNT, MS_BIND = 32, 4096
        codes = []
        for source, target, kind, flags in (("none", "/", None, MS_REMOUNT | MS_BIND), ("none", "/usr", None, MS_REMOUNT | MS_BIND),
                                            ("tmpfs", "/tmp", "tmpfs", 0), ("proc", "/tmp", "proc", 0), ("/usr", "/tmp", None, MS_BIND)):
            result = libc.mount(source.encode(), target.encode(), kind.encode() if kind else None, flags, None)
            codes.append(ctypes.get_errno() if result else 0)
        codes.append(ctypes.get_errno() if libc.umount2(b"/etc/passwd", 2) else 0)
        codes.append(ctypes.get_errno() if libc.chroot(b"/tmp") else 0)
        print(json.dumps(codes))
        """
        )
    )
    assert set(codes) == {1}


def test_new_user_namespaces_are_refused(caller: Caller) -> None:
    codes = answer(
        caller.attack(
            """
        import ctypes, json, platform
        libc = ctypes.CDLL(None, use_errno=True)
        NEWUSER, NEWNET, NEWNS = 0x10000000, 0x40000000, 0x00020000
        codes = []
        for flag in (NEWUSER, NEWNET, NEWNS):
            codes.append(ctypes.get_errno() if libc.unshare(flag) else 0)
        clone = {"x86_64": 56, "aarch64": 220}.get(platform.machine())
        for flag in (NEWUSER, NEWUSER | NEWNS, NEWNET):
            pid = libc.syscall(clone, flag | 17, 0, 0, 0, 0)
            if pid == 0:
                import os; os._exit(0)
            codes.append(ctypes.get_errno() if pid < 0 else 0)
        codes.append(ctypes.get_errno() if libc.syscall(435, 0, 0) < 0 else 0)
        print(json.dumps(codes))
        """
        )
    )
    assert codes == [1, 1, 1, 1, 1, 1, 38]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers of the calls are those of x86_64")
def test_denied_calls_answer_eperm(caller: Caller) -> None:
    numbers = {
        "ptrace": 101,
        "unshare": 272,
        "setns": 308,
        "mount": 165,
        "keyctl": 250,
        "add_key": 248,
        "bpf": 321,
        "io_uring_setup": 425,
        "userfaultfd": 323,
        "perf_event_open": 298,
        "process_vm_readv": 310,
        "process_vm_writev": 311,
        "memfd_create": 319,
        "pidfd_getfd": 438,
        "open_by_handle_at": 304,
        "kexec_load": 246,
        "syslog": 103,
        "fsopen": 430,
        "move_mount": 429,
    }
    assert set(numbers) <= set(DENIED_SYSCALLS)
    codes = answer(
        caller.attack(
            """
        import ctypes, json, sys
        libc = ctypes.CDLL(None, use_errno=True)
        def call(number):
            return ctypes.get_errno() if libc.syscall(number, -1, 0, 0, 0, 0) < 0 else 0
        print(json.dumps({name: call(number) for name, number in json.loads(sys.argv[1]).items()}))
        """,
            json.dumps(numbers),
        )
    )
    assert codes == dict.fromkeys(numbers, 1)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="x86_64 is the architecture with a second set of calls")
@pytest.mark.parametrize("code", ["b80a000000cd80c3", "b8140000400f05c3"], ids=["int 0x80", "x32"])
def test_calls_of_another_architecture_kill(caller: Caller, code: str) -> None:
    execution = caller.attack(
        """
        import ctypes, mmap, sys
        page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(bytes.fromhex(sys.argv[1]))
        print(ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(page)))())
        """,
        code,
    )
    assert execution.reason == "signal"
    assert execution.signal == signal.SIGSYS


def test_large_system_v_segments_are_refused_and_small_ones_work(caller: Caller) -> None:
    codes = answer(
        caller.attack(
            """
        import ctypes, json
        libc = ctypes.CDLL(None, use_errno=True)
        print(json.dumps([libc.shmget(0, size, 0o1600) >= 0 for size in (56, 1 << 20)]))
        """
        )
    )
    assert codes == [True, False]


# Processes


def test_a_fork_bomb_stops_at_the_limit_and_leaves_nothing(caller: Caller) -> None:
    mark = f"bomb-{os.getpid()}-{caller.name}"
    started = answer(
        caller.attack(
            """
        import json, os, time
        children = []
        try:
            while len(children) < 500:
                pid = os.fork()
                if pid == 0:
                    time.sleep(60)
                children.append(pid)
        except OSError as error:
            print(json.dumps([len(children), error.errno]), flush=True)
        """,
            mark,
        )
    )
    assert started[0] < SMALL.processes
    assert started[1] == 11
    assert gone(mark)


def test_the_limit_on_processes_counts_only_those_inside(caller: Caller) -> None:
    """A user's own processes neither use up the sandbox's allowance nor are kept from starting."""

    def outside() -> bool:
        sleepers = [subprocess.Popen(["/bin/sleep", "30"]) for _ in range(SMALL.processes + 6)]
        try:
            from sandbox.bubblewrap import BubblewrapRunner

            return BubblewrapRunner().run(Command(("/bin/sh", "-c", "/bin/true; /bin/true"), limits=SMALL)).ok
        finally:
            for sleeper in sleepers:
                sleeper.kill()
                sleeper.wait()

    assert caller.does(outside)


def test_two_sandboxes_have_allowances_of_their_own(caller: Caller) -> None:
    from concurrent.futures import ThreadPoolExecutor

    source = """
        import subprocess
        sleepers = [subprocess.Popen(["/bin/sleep", "0.5"]) for _ in range(14)]
        print(len(sleepers) if all(s.wait() == 0 for s in sleepers) else 0)
        """
    with ThreadPoolExecutor(2) as pool:
        answers = [answer(e) for e in pool.map(lambda _: caller.attack(source), range(2))]
    assert answers == [14, 14]


def test_memory_is_limited_across_processes(caller: Caller) -> None:
    limits = replace(SMALL, memory_bytes=96 * MIB)
    execution = caller.attack(
        """
        import os, time
        for _ in range(6):
            if os.fork() == 0:
                block = bytearray(os.urandom(1 << 20) * 30)
                time.sleep(30)
        time.sleep(30)
        """,
        limits=limits,
    )
    assert execution.reason == "memory"
    assert execution.seconds < 20


def test_memory_shared_between_processes_is_limited_too(caller: Caller) -> None:
    limits = replace(SMALL, memory_bytes=96 * MIB)
    execution = caller.attack(
        """
        import mmap, time
        block = mmap.mmap(-1, 200 << 20)
        for at in range(0, 200 << 20, 4096):
            block[at] = 1
        time.sleep(30)
        """,
        limits=limits,
    )
    assert execution.reason == "memory"


def test_forks_that_share_their_pages_are_not_counted_twice(caller: Caller) -> None:
    limits = replace(SMALL, memory_bytes=96 * MIB)
    execution = caller.attack(
        """
        import os, time
        block = bytearray(os.urandom(1 << 20) * 30)
        children = []
        for _ in range(6):
            pid = os.fork()
            if pid == 0:
                time.sleep(0.6)
                os._exit(0)
            children.append(pid)
        for pid in children:
            os.waitpid(pid, 0)
        """,
        limits=limits,
    )
    assert execution.ok, execution


def test_endless_output_is_capped_and_ended(caller: Caller) -> None:
    limits = replace(SMALL, output_bytes=16 * 1024)
    execution = caller.attack("import os\nwhile True: os.write(1, b'x' * 65536)", limits=limits)
    assert execution.reason == "output"
    assert len(execution.stdout) < 17 * 1024
    assert b"bytes left out" in execution.stdout


def test_an_endless_report_is_ended(caller: Caller) -> None:
    execution = caller.attack("import os, sys\nwhile True: os.write(int(sys.argv[1]), b'x' * 65536)", report=True)
    assert execution.reason == "output"


def test_a_loop_that_ignores_every_signal_is_killed(caller: Caller) -> None:
    mark = f"deaf-{os.getpid()}-{caller.name}"
    execution = caller.attack(
        """
        import signal
        for number in range(1, 65):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        while True:
            pass
        """,
        mark,
        limits=replace(SMALL, wall_seconds=1.0),
    )
    assert execution.reason == "timeout"
    assert execution.exit_code is None
    assert gone(mark)


def test_processor_time_is_limited(caller: Caller) -> None:
    execution = caller.attack("while True: pass", limits=replace(SMALL, cpu_seconds=1))
    assert execution.reason == "signal"
    assert execution.signal in (signal.SIGKILL, signal.SIGXCPU)


def test_a_daemon_does_not_outlive_its_command(caller: Caller) -> None:
    mark = f"daemon-{os.getpid()}-{caller.name}"
    execution = caller.attack(
        """
        import os, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                for descriptor in range(20):
                    try:
                        os.close(descriptor)
                    except OSError:
                        pass
                time.sleep(60)
            os._exit(0)
        time.sleep(0.2)
        """,
        mark,
        limits=replace(SMALL, wall_seconds=10),
    )
    assert execution.seconds < 20
    assert gone(mark)


def test_a_daemon_that_holds_the_output_does_not_hang_the_runner(caller: Caller) -> None:
    execution = caller.attack("import os, time\nif os.fork() == 0:\n os.setsid()\n time.sleep(60)", limits=replace(SMALL, wall_seconds=2))
    assert execution.seconds < 15
    assert execution.reason in ("exited", "timeout")


def test_no_process_of_the_machine_is_visible(caller: Caller) -> None:
    found = answer(caller.attack("import json, os; print(json.dumps([int(n) for n in os.listdir('/proc') if n.isdigit()]))"))
    assert sorted(found) == [1, 2]


def test_the_runner_cannot_be_signalled_or_traced(caller: Caller) -> None:
    mark = f"victim-{os.getpid()}-{caller.name}"

    def beside_a_victim() -> tuple[bool, bytes]:
        victim = subprocess.Popen(["/bin/sh", "-c", f"sleep 20 # {mark}"], start_new_session=True)
        try:
            execution = caller.attack(
                """
                import ctypes, json, os, sys
                libc = ctypes.CDLL(None, use_errno=True)
                hits = 0
                for pid in (int(sys.argv[1]), int(sys.argv[2])):
                    for target in (pid, -pid):
                        try:
                            os.kill(target, 9)
                            hits += 1
                        except OSError:
                            pass
                    hits += libc.ptrace(16, pid, 0, 0) == 0
                for pid in (-1, 0):
                    try:
                        if os.fork() == 0:
                            os.kill(pid, 0)
                            os._exit(0)
                        os.wait()
                    except OSError:
                        pass
                print(json.dumps(hits))
                """,
                str(victim.pid),
                str(os.getppid()),
            )
            return victim.poll() is None, execution.stdout
        finally:
            os.killpg(victim.pid, signal.SIGKILL)
            victim.wait()

    survived, hits = caller.does(beside_a_victim)
    assert survived
    assert json.loads(hits) == 0


def test_killing_everything_inside_harms_nothing_outside(caller: Caller) -> None:
    execution = caller.attack("import os\nos.kill(-1, 9)\nprint('alive')\nos.kill(0, 9)")
    assert execution.reason in ("signal", "exited")
    assert caller.run(Command(("/bin/true",), limits=SMALL)).ok


def test_the_memory_of_the_sandboxs_first_process_opens_no_way_out(caller: Caller) -> None:
    """Under root it is another uid's. A user's is their own, but it lies behind the same walls: same namespaces, no capabilities."""
    state = answer(
        caller.attack(
            """
        import json, os
        state = {}
        for line in open("/proc/1/status"):
            name, value = line.split(":", 1)
            if name in ("Seccomp", "CapEff", "NoNewPrivs"):
                state[name] = value.strip()
        try:
            open("/proc/1/mem", "r+b").close()
            state["open"] = True
            state["namespaces"] = all(
                os.readlink(f"/proc/1/ns/{n}") == os.readlink(f"/proc/self/ns/{n}") for n in ("pid", "net", "mnt", "ipc", "uts"))
            state["root"] = sorted(os.listdir("/proc/1/root")) == sorted(os.listdir("/"))
            kinds = [os.readlink(f"/proc/1/fd/{fd}").split(":")[0] for fd in os.listdir("/proc/1/fd")]
            state["descriptors"] = set(kinds) <= {"pipe", "/dev/null", "anon_inode", "socket"}
        except OSError:
            state["open"] = False
        print(json.dumps(state))
        """
        )
    )
    if state.pop("open"):
        assert state == {"Seccomp": "2", "CapEff": "0" * 16, "NoNewPrivs": "1", "namespaces": True, "root": True, "descriptors": True}
    else:
        assert caller.name == "root"


def test_kernel_memory_and_settings_are_out_of_reach(caller: Caller) -> None:
    opened = answer(
        caller.attack(
            """
        import json, os
        opened = []
        for path in ("/proc/kcore", "/proc/kmsg", "/dev/mem", "/dev/kmem", "/dev/sda", "/dev/vda", "/dev/fuse", "/dev/net/tun", "/dev/kvm"):
            try:
                open(path, "rb").close()
                opened.append(path)
            except OSError:
                pass
        for path in ("/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/drop_caches",
                     "/proc/sys/kernel/ns_last_pid", "/proc/sys/kernel/hostname"):
            try:
                with open(path, "r+b", buffering=0) as file:
                    file.write(file.read(100))
                opened.append(path)
            except OSError:
                pass
        print(json.dumps(opened))
        """
        )
    )
    assert opened == []


def test_no_descriptor_of_the_caller_leaks_in(caller: Caller, tmp_path: Path) -> None:
    secret = (tmp_path / "secret").open("w+")
    os.set_inheritable(secret.fileno(), True)
    source = "import json, os; print(json.dumps(sorted(int(n) for n in os.listdir('/proc/self/fd'))))"
    try:
        with_report = answer(caller.attack(source, report=True))
        collecting = answer(caller.attack(source, collect=("nothing",)))
    finally:
        secret.close()
    assert with_report == [0, 1, 2, 3, 4]  # the last is the folder being listed
    assert collecting == [0, 1, 2, 3]


def test_the_report_descriptor_cannot_be_opened_again(caller: Caller) -> None:
    code = answer(
        caller.attack(
            "import sys\ntry:\n open(f'/proc/self/fd/{sys.argv[1]}', 'wb')\n print(0)\nexcept OSError as error:\n print(error.errno)",
            report=True,
        )
    )
    assert code == 6  # ENXIO: a socket


def test_no_terminal_can_be_typed_into(caller: Caller) -> None:
    codes = answer(
        caller.attack(
            """
        import fcntl, json, os
        codes = []
        try:
            os.open("/dev/tty", os.O_RDWR)
            codes.append(0)
        except OSError as error:
            codes.append(error.errno)
        ours, theirs = os.openpty()
        try:
            fcntl.ioctl(theirs, 0x5412, b"x")
            codes.append(0)
        except OSError as error:
            codes.append(error.errno)
        print(json.dumps(codes))
        """
        )
    )
    assert codes == [6, 1]


# The environment


def test_nothing_of_the_callers_environment_arrives(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    found = answer(caller.attack("import json, os; print(json.dumps(dict(os.environ)))", environment={"A": "1"}))
    found.pop("LC_CTYPE", None)  # Python's own
    assert found == {"HOME": "/tmp/home", "PATH": "/usr/bin:/bin", "A": "1"}


@pytest.mark.parametrize("name", ["LD_PRELOAD", "LD_AUDIT", "LD_LIBRARY_PATH", "GCONV_PATH", "BASH_ENV", "ENV", "IFS"])
def test_loader_variables_reach_the_command_and_none_of_the_programs_before_it(caller: Caller, tree: Tree, name: str) -> None:
    (tree.root / "evil.so").write_bytes(b"not a library")
    (tree.root / "evil").write_text("echo injected\n")
    execution = caller.attack(
        f"import os; print(repr(os.environ[{name!r}]))",
        tree=tree,
        environment={name: "/ledex/project/evil" if name in ("BASH_ENV", "ENV") else "/ledex/project/evil.so"},
    )
    assert execution.ok, execution
    assert execution.stdout.count(b"\n") == 1
    # The loader complains once for each program that it was asked to load the library into: the command alone.
    assert execution.stderr.count(b"cannot be preloaded") <= 1


def test_a_variable_cannot_smuggle_another_program_in(caller: Caller) -> None:
    execution = caller.attack("import os; print(os.environ['A'])", environment={"A": "x' ; /bin/touch /tmp/y; '\n--ro-bind\0".rstrip("\0")})
    assert execution.ok
    assert b"--ro-bind" in execution.stdout


@pytest.mark.parametrize("name", ["", "A=B", "=x"])
def test_a_variable_without_a_proper_name_is_refused(caller: Caller, name: str) -> None:
    with pytest.raises(SandboxError, match="no name of an environment variable"):
        caller.attack("pass", environment={name: "x"})


def test_options_in_names_stay_names(caller: Caller) -> None:
    """A tree named like an option of bubblewrap or the shell is laid out like any other."""
    root = caller.folder / "plain"
    root.mkdir(exist_ok=True)
    (root / "--help").write_text("x")
    (root / "-rf").write_text("x")
    caller.own(root)
    tree = Tree(root, "--bind $(touch x) `y` 'z' \"w\"\n;", removed=("-rf", "'; touch /tmp/z; '"))
    listed = answer(caller.attack("import json, os; print(json.dumps([os.listdir('.'), os.listdir('/tmp')]))", tree=tree))
    assert listed == [["--help"], ["home"]]


# The network


@pytest.fixture
def listener() -> Iterator[tuple[int, str]]:
    """A TCP and UDP port of this machine and an abstract unix socket, which count who comes."""
    came: list[str] = []
    tcp, unix = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)
    name = f"ledex-test-{os.getpid()}"
    unix.bind("\0" + name)
    unix.listen()
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", tcp.getsockname()[1]))
    for server in (tcp, unix, udp):
        server.settimeout(0.2)
    yield tcp.getsockname()[1], name
    for server in (tcp, unix):
        with pytest.raises(TimeoutError):
            server.accept()
    with pytest.raises(TimeoutError):
        udp.recv(1)
    for server in (tcp, unix, udp):
        server.close()
    assert came == []


def test_tcp_udp_and_abstract_sockets_reach_nobody(caller: Caller, listener: tuple[int, str]) -> None:
    codes = answer(
        caller.attack(
            """
        import json, socket, sys
        port, name = int(sys.argv[1]), sys.argv[2]
        codes = []
        addresses = [("127.0.0.1", port), ("::1", port), ("169.254.169.254", 80), ("10.0.0.1", 80), ("1.1.1.1", 443), chr(0) + name]
        for address in addresses:
            family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            try:
                s = socket.socket(family)
                s.settimeout(2)
                s.connect(address)
                codes.append("connected")
            except OSError as error:
                codes.append("refused")
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for address in (("127.0.0.1", port), ("8.8.8.8", 53)):
            try:
                s.sendto(b"x", address)
            except OSError:
                pass
        print(json.dumps(codes))
        """,
            str(listener[0]),
            listener[1],
        )
    )
    assert codes == ["refused"] * 6


def test_names_do_not_resolve(caller: Caller) -> None:
    answers = answer(
        caller.attack(
            """
        import json, socket
        def resolves(name):
            try:
                return bool(socket.getaddrinfo(name, 80))
            except OSError:
                return False
        print(json.dumps([resolves("localhost"), resolves("pypi.org"), resolves("metadata.google.internal")]))
        """
        )
    )
    assert answers == [True, False, False]


def test_only_a_loopback_of_its_own_exists(caller: Caller) -> None:
    state = answer(
        caller.attack(
            """
        import json, socket
        server = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(server.getsockname())
        print(json.dumps([[n for _, n in socket.if_nameindex()], socket.gethostname()]))
        """
        )
    )
    assert state[0] == ["lo"]
    assert state[1] == "localhost"


def test_raw_and_packet_sockets_are_refused(caller: Caller) -> None:
    codes = answer(
        caller.attack(
            """
        import json, socket
        codes = []
        for family, kind in ((socket.AF_INET, socket.SOCK_RAW), (socket.AF_PACKET, socket.SOCK_RAW)):
            try:
                socket.socket(family, kind, 1)
                codes.append(0)
            except OSError as error:
                codes.append(error.errno)
        print(json.dumps(codes))
        """
        )
    )
    assert codes == [1, 1]


CONNECT = """
    import socket, sys
    try:
        socket.socket(socket.AF_UNIX).connect(sys.argv[1])
        print(0)
    except OSError as error:
        print(error.errno)
    """


@contextlib.contextmanager
def listening(path: Path) -> Iterator[None]:
    """A unix socket at ``path`` that anybody may connect to."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(path))
        server.listen()
        path.chmod(0o777)
        try:
            yield
        finally:
            path.unlink()


def test_unix_sockets_of_the_machine_cannot_be_reached(caller: Caller) -> None:
    path = caller.folder / "socket"
    with listening(path):
        code = answer(caller.attack(CONNECT, str(path)))
    assert code == 2


def test_a_socket_in_the_tree_is_copied_dead(caller: Caller, tree: Tree) -> None:
    """A snapshot has none (see test_workspace); what is bound as it lies is listed in limits.NOT_STOPPED."""
    with listening(tree.root / "socket"):
        code = answer(caller.attack(CONNECT, "socket", tree=tree))
    assert code == 111


# Closed folders


def test_everything_may_lie_below_closed_folders(caller: Caller) -> None:
    """Checkout, environment and interpreter each under a 0700 folder of the caller."""

    def closed(name: str) -> Path:
        path = caller.folder / f"closed-{name}"
        path.mkdir(mode=0o700)
        return path

    base = locate(Path(caller.python))
    version = f"python{base.version[0]}.{base.version[1]}"
    prefix = closed("interpreter") / "prefix"
    (prefix / "bin").mkdir(parents=True)
    source = Path(os.path.realpath(base.executable))
    shutil.copy(source, prefix / "bin" / version)
    skipped = shutil.ignore_patterns(
        "test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages", "tkinter", "ensurepip", "config-*", "__pycache__"
    )
    shutil.copytree(source.parent.parent / "lib" / version, prefix / "lib" / version, ignore=skipped)
    for library in (source.parent.parent / "lib").glob("libpython*.so*"):
        shutil.copy(library, prefix / "lib")
    environment = closed("environment") / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    for name in (environment / "bin").iterdir():
        if name.name.startswith("python"):
            name.unlink()
    (environment / "bin" / "python").symlink_to(prefix / "bin" / version)
    (environment / "pyvenv.cfg").write_text(f"home = {prefix / 'bin'}\ninclude-system-site-packages = false\n")
    checkout = closed("checkout") / "project"
    checkout.mkdir()
    (checkout / "code.py").write_text("import sys; print(sys.prefix)\n")
    caller.own(caller.folder)

    def outside() -> object:
        found = locate(environment / "bin" / "python")
        from sandbox.bubblewrap import BubblewrapRunner

        return BubblewrapRunner().run(
            Command(
                (found.executable, "code.py"),
                tree=Tree(checkout, "project"),
                mounts=found.mounts,
                limits=SMALL,
                environment={"PYTHONDONTWRITEBYTECODE": "1"},
            )
        )

    execution = caller.does(outside)
    assert execution.ok, execution  # type: ignore[attr-defined]
    assert execution.stdout.decode().strip() == str(environment)  # type: ignore[attr-defined]


def test_a_neighbour_below_the_same_closed_folder_stays_hidden(caller: Caller, tree: Tree) -> None:
    (caller.folder / "neighbour").write_text("secret")
    parent = str(tree.root.parent)
    listed = answer(
        caller.attack("import json, os, sys; print(json.dumps(os.listdir(sys.argv[1])))", parent, mounts=[Mount(tree.root, str(tree.root))])
    )
    assert listed == [tree.root.name]


def test_sandboxes_started_from_many_threads_stay_apart(caller: Caller) -> None:
    source = "import os, sys, time; open('/tmp/mine', 'x').close(); time.sleep(0.2); print(len(os.listdir('/tmp')) - 1)"
    results: list[bytes] = []

    def one() -> None:
        results.append(caller.attack(source).stdout.strip())

    def all_of_them() -> list[bytes]:
        threads = [threading.Thread(target=one) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    assert caller.does(all_of_them) == [b"1"] * 6


def test_temporary_files_do_not_survive_into_the_next_run(caller: Caller) -> None:
    source = """
        import os
        paths = ("/tmp/m", "/dev/shm/m", "/ledex/m")
        found = [p for p in paths if os.path.exists(p)]
        for path in paths:
            open(path, "w").close()
        print(len(found))
        """
    assert [answer(caller.attack(source)) for _ in range(2)] == [0, 0]


def test_our_own_temporary_folders_are_not_writable_by_others(caller: Caller) -> None:
    from sandbox.prepared import prepared_folder

    caller.run(Command(("/bin/true",), limits=SMALL))
    folder = prepared_folder()
    writable = [p for p in (folder, *folder.rglob("*")) if not p.is_symlink() and stat.S_IMODE(p.stat().st_mode) & 0o022]
    assert writable == []
