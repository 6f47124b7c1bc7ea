"""The doctor: every refusal by recorded facts, and the one command that allows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from sandbox.bubblewrap import BubblewrapRunner
from sandbox.doctor import PROBE, ROOT_PROBE, Facts, diagnose, findings, gather, measure_start, remedy
from sandbox.limits import MIB, Limits

WELL = Facts(
    root=False,
    programs=frozenset({"bwrap", "git", "setpriv", "prlimit"}),
    probe_status=0,
    probe_message="",
    apparmor=None,
    clone=None,
    most_namespaces="96365",
    in_container=False,
    seccomp=None,
    pidfd=True,
    available_bytes=16 * 1024 * MIB,
)
REFUSED = replace(WELL, probe_status=1, probe_message="bwrap: setting up uid map: Permission denied")


def test_a_machine_that_is_well_needs_no_command() -> None:
    assert all(f.ok and not f.remedy for f in findings(WELL))
    assert remedy(findings(WELL)) is None


@pytest.mark.parametrize(
    ("facts", "name", "detail", "command"),
    [
        (
            replace(WELL, programs=WELL.programs - {"bwrap"}, probe_status=127),
            "isolation",
            "not installed",
            "sudo apt-get install -y bubblewrap",
        ),
        (replace(REFUSED, apparmor="1"), "isolation", "AppArmor", "apparmor.d/bwrap"),
        (replace(REFUSED, clone="0"), "isolation", "unprivileged_userns_clone", "sudo sysctl -w kernel.unprivileged_userns_clone=1"),
        (replace(REFUSED, most_namespaces="0"), "isolation", "max_user_namespaces", "sudo sysctl -w user.max_user_namespaces=15000"),
        (replace(REFUSED, in_container=True, apparmor="1"), "isolation", "container refuses", "docker run --security-opt"),
        (replace(REFUSED, root=True, apparmor="1"), "isolation", "does not start", "bwrap --unshare-pid"),
        (REFUSED, "isolation", "setting up uid map", "bwrap --unshare-user"),
        (replace(WELL, programs=WELL.programs - {"git"}), "git", "not installed", "sudo apt-get install -y git"),
        (replace(WELL, programs=WELL.programs - {"setpriv"}), "setpriv", "not installed", "util-linux"),
        (replace(WELL, programs=WELL.programs - {"prlimit"}), "prlimit", "not installed", "util-linux"),
        (replace(WELL, seccomp="libseccomp could not be loaded"), "seccomp", "libseccomp", "sudo apt-get install -y libseccomp2"),
        (replace(WELL, pidfd=False), "pidfd", "5.3", ""),
        (replace(WELL, available_bytes=512 * MIB), "memory", "512 MiB", ""),
    ],
)
def test_each_refusal_is_named_with_its_remedy(facts: Facts, name: str, detail: str, command: str) -> None:
    wrong = [f for f in findings(facts) if not f.ok]
    assert [f.name for f in wrong] == [name]
    assert detail in wrong[0].detail
    assert command in wrong[0].remedy
    assert "\n" not in wrong[0].detail + wrong[0].remedy


def test_of_several_remedies_the_isolations_comes_first() -> None:
    facts = replace(REFUSED, clone="0", seccomp="missing", programs=frozenset({"bwrap"}))
    assert remedy(findings(facts)) == "sudo sysctl -w kernel.unprivileged_userns_clone=1"


def test_small_limits_ask_for_less_memory() -> None:
    small = Limits(memory_bytes=64 * MIB, tree_bytes=64 * MIB, temporary_bytes=64 * MIB)
    assert all(f.ok for f in findings(replace(WELL, available_bytes=512 * MIB), small))


def machine(files: Mapping[str, str], probe: tuple[int, str] = (0, ""), uid: int = 1000) -> tuple[Facts, list[Sequence[str]]]:
    ran: list[Sequence[str]] = []

    def run(argv: Sequence[str]) -> tuple[int, str]:
        ran.append(argv)
        return probe

    return gather(files.get, run, lambda program: f"/usr/bin/{program}", uid), ran


def test_facts_are_read_from_the_kernels_files() -> None:
    facts, ran = machine(
        {
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n",
            "/proc/sys/kernel/unprivileged_userns_clone": "0\n",
            "/proc/sys/user/max_user_namespaces": "0\n",
            "/proc/meminfo": "MemTotal: 9 kB\nMemAvailable:    2048 kB\n",
        },
        (1, "a\nbwrap: no\n"),
    )
    assert (facts.apparmor, facts.clone, facts.most_namespaces, facts.available_bytes) == ("1", "0", "0", 2 * MIB)
    assert (facts.probe_status, facts.probe_message, facts.root) == (1, "bwrap: no", False)
    assert ran == [PROBE]


def test_root_is_probed_without_a_user_namespace() -> None:
    facts, ran = machine({}, uid=0)
    assert facts.root
    assert ran == [ROOT_PROBE]


@pytest.mark.parametrize("files", [{"/.dockerenv": ""}, {"/run/.containerenv": ""}, {"/proc/1/cgroup": "0::/docker/abc\n"}])
def test_containers_are_recognised(files: Mapping[str, str]) -> None:
    assert machine(files)[0].in_container


def test_this_machine_is_diagnosed_as_the_tests_find_it() -> None:
    isolation = next(f for f in diagnose() if f.name == "isolation")
    assert isolation.ok, isolation


def test_the_start_is_measured_against_a_bare_process(runner: BubblewrapRunner) -> None:
    bare, sandboxed = measure_start(runner, n=3)
    assert 0 < bare < sandboxed < 5000
