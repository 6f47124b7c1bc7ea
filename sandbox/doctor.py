"""What this machine lacks for the sandbox, and the one command that allows it. Facts are gathered first, findings follow from them."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox import SandboxError
from sandbox.limits import MIB, Limits
from sandbox.runner import Command, Runner

Read = Callable[[str], str | None]
"""Content of a file, None where it cannot be read."""
Run = Callable[[Sequence[str]], tuple[int, str]]
"""Exit status and standard error of a program; 127 where there is none."""

PROBE = ("bwrap", "--unshare-user", "--unshare-pid", "--unshare-net", "--ro-bind", "/", "/", "--proc", "/proc", "true")
ROOT_PROBE = ("bwrap", "--unshare-pid", "--unshare-net", "--ro-bind", "/", "/", "--proc", "/proc", "true")
_APPARMOR = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"
_CLONE = "/proc/sys/kernel/unprivileged_userns_clone"
_MOST = "/proc/sys/user/max_user_namespaces"
_PROFILE = (
    "printf 'abi <abi/4.0>,\\ninclude <tunables/global>\\nprofile bwrap /usr/bin/bwrap flags=(unconfined) {\\n  userns,\\n}\\n' | "
    "sudo tee /etc/apparmor.d/bwrap && sudo systemctl reload apparmor"
)


@dataclass(frozen=True)
class Finding:
    """One thing looked at. ``detail`` is one sentence; ``remedy`` the one command that mends it, empty when it is well or none does."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""


@dataclass(frozen=True)
class Facts:
    """What was seen. ``programs`` are those found on PATH; sysctls are None where the kernel has none of that name."""

    root: bool
    programs: frozenset[str]
    probe_status: int
    probe_message: str
    apparmor: str | None
    clone: str | None
    most_namespaces: str | None
    in_container: bool
    seccomp: str | None
    """Why libseccomp does not load, None when it does."""
    pidfd: bool
    available_bytes: int


def read_text(path: str) -> str | None:
    try:
        return Path(path).read_text()
    except OSError:
        return None


def run_program(argv: Sequence[str]) -> tuple[int, str]:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    except FileNotFoundError:
        return 127, ""
    except subprocess.TimeoutExpired:
        return 124, "no answer within 30 s"
    return done.returncode, done.stderr


def gather(
    read: Read = read_text, run: Run = run_program, which: Callable[[str], str | None] = shutil.which, uid: int | None = None
) -> Facts:
    """Look at this machine; nothing is changed."""
    root = (os.geteuid() if uid is None else uid) == 0
    status, message = run(ROOT_PROBE if root else PROBE)
    memory = next((line.split()[1] for line in (read("/proc/meminfo") or "").splitlines() if line.startswith("MemAvailable:")), "0")
    groups = read("/proc/1/cgroup") or ""
    container = (
        read("/run/.containerenv") is not None
        or read("/.dockerenv") is not None
        or any(word in groups for word in ("docker", "kubepods", "containerd", "lxc"))
    )
    return Facts(
        root=root,
        programs=frozenset(p for p in ("bwrap", "git", "setpriv", "prlimit") if which(p)),
        probe_status=status,
        probe_message=(message.strip().splitlines() or [""])[-1],
        apparmor=_stripped(read(_APPARMOR)),
        clone=_stripped(read(_CLONE)),
        most_namespaces=_stripped(read(_MOST)),
        in_container=container,
        seccomp=_seccomp(),
        pidfd=_pidfd(),
        available_bytes=int(memory) * 1024,
    )


def _stripped(text: str | None) -> str | None:
    return None if text is None else text.strip()


def _seccomp() -> str | None:
    from sandbox.seccomp import bpf_program

    try:
        bpf_program()
    except SandboxError as error:
        return str(error)
    return None


def _pidfd() -> bool:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (OSError, AttributeError):
        return False
    return True


def findings(facts: Facts, limits: Limits | None = None) -> tuple[Finding, ...]:
    """What follows from the facts, the isolation first. Pure."""
    limits = limits or Limits()
    found = [_isolation(facts)]
    for program, package in (("git", "git"), ("setpriv", "util-linux"), ("prlimit", "util-linux")):
        here = program in facts.programs
        found.append(
            Finding(
                program, here, f"{program} {'is' if here else 'is not'} installed", "" if here else f"sudo apt-get install -y {package}"
            )
        )
    if facts.seccomp is None:
        found.append(Finding("seccomp", True, "the filter of system calls can be built"))
    else:
        found.append(Finding("seccomp", False, facts.seccomp, "sudo apt-get install -y libseccomp2"))
    found.append(
        Finding(
            "pidfd",
            facts.pidfd,
            "processes can be held by descriptor"
            if facts.pidfd
            else "the kernel is older than 5.3 or a filter refuses pidfd_open: run on a newer kernel",
        )
    )
    wanted = limits.tree_bytes + 2 * limits.temporary_bytes + limits.memory_bytes
    enough = facts.available_bytes >= wanted
    found.append(
        Finding(
            "memory",
            enough,
            f"{facts.available_bytes // MIB} MiB are available; one full sandbox may take {wanted // MIB} MiB"
            + ("" if enough else ": lower memory_mb and tree_mb under [limits]"),
        )
    )
    return tuple(found)


def _isolation(facts: Facts) -> Finding:
    name = "isolation"
    if "bwrap" not in facts.programs:
        return Finding(name, False, "bubblewrap is not installed", "sudo apt-get install -y bubblewrap")
    if facts.probe_status == 0:
        how = "as root, each sandbox under a uid of its own" if facts.root else "in user namespaces"
        return Finding(name, True, f"bubblewrap starts, {how}")
    if facts.in_container:
        return Finding(
            name,
            False,
            f"this container refuses namespaces ({facts.probe_message})",
            "docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined ...",
        )
    if facts.root:
        return Finding(
            name, False, f"bubblewrap does not start ({facts.probe_message})", "bwrap --unshare-pid --unshare-net --ro-bind / / true"
        )
    if facts.clone == "0":
        return Finding(
            name,
            False,
            "the kernel setting unprivileged_userns_clone refuses user namespaces",
            "sudo sysctl -w kernel.unprivileged_userns_clone=1",
        )
    if facts.most_namespaces == "0":
        return Finding(name, False, "the kernel setting max_user_namespaces allows none", "sudo sysctl -w user.max_user_namespaces=15000")
    if facts.apparmor == "1":
        return Finding(name, False, "AppArmor refuses user namespaces to programs without a profile (Ubuntu 24.04 and later)", _PROFILE)
    return Finding(name, False, f"bubblewrap does not start ({facts.probe_message})", " ".join(PROBE))


def diagnose() -> tuple[Finding, ...]:
    """What this machine has and lacks."""
    return findings(gather())


def remedy(found: Sequence[Finding]) -> str | None:
    """The one command to type next: that of the first finding that is not well; None when all is."""
    return next((f.remedy for f in found if not f.ok and f.remedy), None)


def measure_start(runner: Runner, n: int = 50) -> tuple[float, float]:
    """Median milliseconds to run ``/bin/true`` (bare, sandboxed), measured in turns so that a loaded machine slows both."""
    command = Command(("/bin/true",))
    runner.run(command)
    bare, sandboxed = [], []
    for _ in range(n):
        started = time.perf_counter()
        os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
        between = time.perf_counter()
        runner.run(command)
        bare.append(between - started)
        sandboxed.append(time.perf_counter() - between)
    return statistics.median(bare) * 1000, statistics.median(sandboxed) * 1000
