"""Environments, built for real inside the real sandbox from the configured index, also by hostile projects."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import threading
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox import EnvironmentFailed
from sandbox.bubblewrap import BubblewrapRunner
from sandbox.environment import Environment, build_environment, existing_environment
from sandbox.indexes import configured_indexes
from sandbox.interpreters import choose, discover, locate
from sandbox.limits import Limits
from sandbox.plan import first_error
from sandbox.runner import Command, Execution, Runner, Tree
from sandbox.settings import SandboxSettings

SECRET = "the caller's private words"


@pytest.fixture(scope="module")
def runner() -> Runner:
    return BubblewrapRunner()


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> SandboxSettings:
    return SandboxSettings(cache_folder=tmp_path_factory.mktemp("cache") / "ledex")


def write(root: Path, files: dict[str, str]) -> Tree:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return Tree(root, root.name)


def python(runner: Runner, environment: Environment, code: str, tree: Tree | None = None) -> Execution:
    """Run code in the environment as the launcher does: the overlay comes last on the path."""
    if tree is not None:
        tree = Tree(tree.root, tree.name, environment.artifacts)
    if environment.overlay is not None:
        code = f"import sys; sys.path.append({environment.overlay!r})\n{code}"
    return runner.run(Command((environment.python, "-c", code), tree=tree, cwd="." if tree else "/tmp", environment=environment.variables,
                              mounts=environment.mounts, limits=Limits(wall_seconds=60)))  # fmt: skip


def contents(folder: Path) -> dict[str, tuple[int, int, str]]:
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        text = os.readlink(path) if path.is_symlink() else path.read_bytes().hex() if path.is_file() else ""
        found[str(path.relative_to(folder))] = (status.st_mode, status.st_mtime_ns, text)
    return found


# A project with a dependency, a src layout and a version that git would tell


@dataclass(frozen=True)
class Plain:
    tree: Tree
    environment: Environment
    before: dict[str, tuple[int, int, str]]
    told: list[str]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, runner: Runner, settings: SandboxSettings) -> Plain:
    tree = write(tmp_path_factory.mktemp("plain") / "a tree é", {
        "pyproject.toml": '[build-system]\nrequires = ["setuptools>=61", "setuptools_scm"]\nbuild-backend = "setuptools.build_meta"\n'
                          '[project]\nname = "thing"\ndynamic = ["version"]\nrequires-python = ">=3.8"\ndependencies = ["six"]\n'
                          '[tool.setuptools_scm]\nwrite_to = "src/thing/_version.py"\n',
        "src/thing/__init__.py": "from thing._version import version\nimport six\n",
        "tests/test_thing.py": "import thing\ndef test_it():\n    assert thing.six.PY3\n",
    })  # fmt: skip
    before, told = contents(tree.root), list[str]()
    environment = build_environment(tree, runner, settings=settings, repository="example/plain", progress=told.append)
    return Plain(tree, environment, before, told)


def test_a_project_with_a_dependency_runs_its_tests_in_the_environment(plain: Plain, runner: Runner) -> None:
    result = python(runner, plain.environment, "import pytest, sys; sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider']))", plain.tree)
    assert result.ok, result.stdout + result.stderr
    assert b"1 passed" in result.stdout
    assert plain.environment.overlay is None


def test_the_checkout_is_not_touched_by_a_build(plain: Plain) -> None:
    assert contents(plain.tree.root) == plain.before


def test_files_that_the_build_generates_are_kept_as_artifacts_and_nothing_else(plain: Plain) -> None:
    artifacts = plain.environment.artifacts
    assert artifacts is not None
    assert (artifacts / "src/thing/_version.py").is_file()
    assert not (artifacts / "src/thing/__init__.py").exists()


def test_progress_names_the_steps(plain: Plain) -> None:
    assert any("dependencies" in sentence for sentence in plain.told)


def test_a_second_build_comes_from_the_cache_at_once(plain: Plain, runner: Runner, settings: SandboxSettings) -> None:
    again = build_environment(plain.tree, runner, settings=settings, repository="example/plain")
    assert again.cached
    assert again.seconds < 2
    assert (again.key, again.mounts, again.artifacts) == (plain.environment.key, plain.environment.mounts, plain.environment.artifacts)


def test_the_environment_cannot_be_written_while_tests_run(plain: Plain, runner: Runner) -> None:
    code = "for p in ('/env/x', '/env/lib/x', '/env/bin/python'):\n    try: open(p, 'w'); print('written')\n    except OSError: pass"
    assert python(runner, plain.environment, code).stdout == b""


def test_the_variables_are_complete_and_nothing_of_the_callers(plain: Plain, runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI_SECRET_TOKEN", SECRET)
    variables = json.loads(python(runner, plain.environment, "import os, json; print(json.dumps(dict(os.environ)))").stdout)
    assert SECRET not in variables.values()
    assert variables["PATH"].startswith("/env/bin:")
    expected = {"LANG": "C.UTF-8", "TZ": "UTC", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "PIP_NO_INDEX": "1"}
    assert expected.items() <= variables.items()


# A hostile project: its setup.py attacks while it is built

ATTACK = '''
import json, os, socket, subprocess, sys, urllib.request
from setuptools import setup
result = {}
def attempt(name, action):
    try:
        result[name] = repr(action())
    except BaseException as error:
        result[name] = "stopped: " + type(error).__name__
def dial(host, port):
    with socket.create_connection((host, port), 3) as s:
        return s.getsockname()
def through_proxy(target):
    host, port = os.environ["HTTPS_PROXY"].rsplit("/", 1)[1].split(":")
    with socket.create_connection((host, int(port)), 5) as s:
        s.sendall(b"CONNECT " + target.encode() + b" HTTP/1.1" + END)
        answer = s.recv(100).decode()
    if not answer.startswith("HTTP/1.1 200"):
        raise ConnectionRefusedError(answer)
    return answer
def write(path):
    with open(path, "w") as f:
        f.write("x")
    return "written"
END = bytes([13, 10, 13, 10])  # written so because setuptools rewrites the escapes in a setup.py
PORT = %(port)d
for host in ("127.0.0.1", "169.254.169.254", "10.0.0.1", "198.51.100.7"):
    attempt("dial " + host, lambda: dial(host, PORT))
    attempt("proxy " + host, lambda: through_proxy("%%s:%%d" %% (host, PORT)))
attempt("proxy localhost", lambda: through_proxy("localhost:%%d" %% PORT))
attempt("resolve", lambda: socket.getaddrinfo("pypi.org", 443))
attempt("reachable index", lambda: through_proxy("%(index)s"))
attempt("read secret", lambda: open(%(secret)r).read())
attempt("list home", lambda: os.listdir(%(home)r))
for path in (%(home)r + "/written", "/usr/written", "/etc/written", "/ledex-tools/uv", "/ledex-tools/plan.json",
             sys.base_prefix + "/written", "/written"):
    attempt("write " + path, lambda: write(path))
attempt("see the caller", lambda: os.readlink("/proc/%(pid)d/cwd"))
os.makedirs("/ledex-downloads/uv/poison", exist_ok=True)
write("/ledex-downloads/uv/poison/mark")
for link, target in (("escape", "/etc/passwd"), ("upwards", "../../../outside")):
    if not os.path.islink(link):
        os.symlink(target, link)
write("existing.txt")
with open("attack.json", "w") as f:
    json.dump(result, f)
setup(name="hostile", version="1")
'''


@dataclass(frozen=True)
class Hostile:
    environment: Environment
    results: dict[str, str]
    tree: Tree
    home: Path
    dialled: list[object]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, runner: Runner, settings: SandboxSettings) -> Hostile:
    home = tmp_path_factory.mktemp("home")
    home.chmod(0o700)
    (home / "secret").write_text(SECRET)
    dialled: list[object] = []
    with socket.create_server(("0.0.0.0", 0)) as service:

        def serve() -> None:
            while True:
                try:
                    connection, address = service.accept()
                except OSError:
                    return
                dialled.append(address)
                connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        index = next(f"{host}:{port}" for host, port in sorted(configured_indexes().hosts(settings), reverse=True))
        attack = ATTACK % {"port": service.getsockname()[1], "secret": str(home / "secret"), "home": str(home), "index": index,
                           "pid": os.getpid()}  # fmt: skip
        tree = write(tmp_path_factory.mktemp("hostile") / "tree", {"setup.py": attack, "existing.txt": "untouched"})
        environment = build_environment(tree, runner, settings=settings, repository="example/hostile", trust="fork")
        service.shutdown(socket.SHUT_RDWR)
        thread.join(5)
    assert environment.artifacts is not None
    results = json.loads((environment.artifacts / "attack.json").read_text())
    return Hostile(environment, results, tree, home, dialled)


def test_a_build_reaches_no_local_private_or_link_local_address(hostile: Hostile) -> None:
    assert hostile.dialled == []
    asked = {name: text for name, text in hostile.results.items() if name.startswith(("dial ", "proxy "))}
    assert len(asked) == 9
    assert all(text.startswith("stopped: ") for text in asked.values()), asked


def test_a_build_reaches_the_index_only_by_the_proxy(hostile: Hostile) -> None:
    assert "200" in hostile.results["reachable index"]
    assert hostile.results["resolve"].startswith("stopped: ")


def test_a_build_cannot_read_the_callers_home(hostile: Hostile) -> None:
    assert hostile.results["read secret"].startswith("stopped: ")
    assert hostile.results["list home"].startswith("stopped: ")


def test_a_build_writes_nothing_outside(hostile: Hostile) -> None:
    writes = {name: text for name, text in hostile.results.items() if name.startswith("write ")}
    assert len(writes) == 7
    assert all(text.startswith("stopped: ") for text in writes.values()), writes
    assert sorted(p.name for p in hostile.home.iterdir()) == ["secret"]
    assert (hostile.tree.root / "existing.txt").read_text() == "untouched"


def test_links_out_of_the_tree_are_refused_and_said(hostile: Hostile) -> None:
    artifacts = hostile.environment.artifacts
    assert artifacts is not None
    assert not any(p.is_symlink() for p in artifacts.rglob("*"))
    assert any("links" in note and "refused" in note for note in hostile.environment.notes)


def test_a_file_that_the_tree_has_is_never_overlaid(hostile: Hostile) -> None:
    artifacts = hostile.environment.artifacts
    assert artifacts is not None
    assert not (artifacts / "existing.txt").exists()


@pytest.fixture(scope="module")
def other_builds(
    hostile: Hostile, tmp_path_factory: pytest.TempPathFactory, runner: Runner, settings: SandboxSettings
) -> dict[str, Environment]:
    """The hostile project's own files, built for another repository and for another trust level, after it poisoned its caches."""
    found = {}
    for repository, trust in (("example/victim", "fork"), ("example/hostile", "local")):
        tree = write(tmp_path_factory.mktemp("other") / "tree", {"module.py": ""})
        setup = ("find /ledex-downloads /env -name poison > seen.txt",)
        found[f"{repository} {trust}"] = build_environment(tree, runner, settings=settings, repository=repository, trust=trust, setup=setup)
    return found


@pytest.mark.parametrize("whose", ["example/victim fork", "example/hostile local"])
def test_a_poisoned_cache_is_seen_by_no_other_repository_or_trust_level(other_builds: dict[str, Environment], whose: str) -> None:
    artifacts = other_builds[whose].artifacts
    assert artifacts is not None
    assert (artifacts / "seen.txt").read_text() == ""


def test_equal_builds_of_two_repositories_are_kept_apart(other_builds: dict[str, Environment]) -> None:
    first, second = other_builds.values()
    assert first.key == second.key
    assert not set(first.mounts) & set(second.mounts) - set(locate(Path(os.path.realpath(sys.executable))).mounts)


def test_a_project_without_dependency_files_gets_pytest_and_its_own_folder(other_builds: dict[str, Environment], runner: Runner) -> None:
    environment = other_builds["example/victim fork"]
    assert environment.notes[0] == "no dependency file: pytest only"
    assert environment.variables["PYTHONPATH"] == "/ledex/tree"
    assert python(runner, environment, "import pytest, coverage").ok


# Builds that cannot succeed


def test_a_missing_package_is_named_in_one_sentence_with_the_way_out(tmp_path: Path, runner: Runner, settings: SandboxSettings) -> None:
    tree = write(tmp_path / "tree", {"requirements.txt": "six==99.99.99\n"})
    with pytest.raises(EnvironmentFailed, match=r"dependencies: .*six.*--python") as caught:
        build_environment(tree, runner, settings=settings, repository="example/missing", timeout=60)
    assert "\n" not in str(caught.value)


ASK = """import os, socket, sys, urllib.parse
proxy = urllib.parse.urlsplit(os.environ["https_proxy"])
with socket.create_connection((proxy.hostname, proxy.port)) as connection:
    connection.sendall(f"CONNECT {sys.argv[1]} HTTP/1.1\\r\\nHost: {sys.argv[1]}\\r\\n\\r\\n".encode())
    sys.exit(b" 200 " not in connection.recv(100))
"""


def test_without_a_network_a_build_reaches_no_index_and_says_so(tmp_path: Path, runner: Runner, settings: SandboxSettings) -> None:
    tree = write(tmp_path / "tree", {"ask.py": ASK})
    host, port = sorted(configured_indexes().hosts(settings), reverse=True)[0]
    asking, repository = (f"python ask.py {host}:{port}",), "example/closed"
    build_environment(tree, runner, settings=settings, repository=repository, setup=asking, timeout=120)
    with pytest.raises(EnvironmentFailed, match=r'switched off \(environment.network = "off"\)'):
        build_environment(tree, runner, settings=settings, repository=repository, setup=asking, timeout=120, network=False)
    closed = build_environment(tree, runner, settings=settings, repository=repository, timeout=120, network=False)
    assert python(runner, closed, "import pytest, coverage").ok


def test_a_build_that_takes_too_long_is_stopped(tmp_path: Path, runner: Runner, settings: SandboxSettings) -> None:
    tree = write(tmp_path / "tree", {"setup.py": "import time; time.sleep(100)"})
    with pytest.raises(EnvironmentFailed, match=r"took longer than 2 s.*--setup-timeout"):
        build_environment(tree, runner, settings=settings, repository="example/slow", timeout=2)


def test_a_build_that_fills_the_disk_is_stopped_and_deleted(tmp_path: Path, runner: Runner) -> None:
    settings = SandboxSettings(cache_folder=tmp_path / "cache", build_bytes=150_000_000)
    fill = "i=0; while [ $i -lt 40 ]; do head -c 100000000 /dev/zero > /env/f$i; i=$((i+1)); done"
    with pytest.raises(EnvironmentFailed, match="LEDEX_SANDBOX_BUILD_BYTES"):
        build_environment(write(tmp_path / "tree", {"m.py": ""}), runner, settings=settings, repository="example/full", setup=(fill,))
    assert list((tmp_path / "cache" / "building").iterdir()) == []


def test_a_required_python_that_is_not_here_is_said(tmp_path: Path, runner: Runner, settings: SandboxSettings) -> None:
    tree = write(tmp_path / "tree", {"pyproject.toml": "[project]\nname = 'x'\nrequires-python = '>=3.99'\n"})
    with pytest.raises(EnvironmentFailed, match=r"requires Python >=3\.99.*--python"):
        build_environment(tree, runner, settings=settings, repository="example/new")


def test_the_python_that_was_asked_for_is_used_or_said_to_be_missing(tmp_path: Path, runner: Runner, settings: SandboxSettings) -> None:
    tree = write(tmp_path / "tree", {"m.py": ""})
    oldest = min(i.version for i in discover(settings.interpreters) if i.version >= (3, 9))
    built = build_environment(tree, runner, settings=settings, repository="example/asked", python=f"{oldest[0]}.{oldest[1]}")
    assert built.version == oldest
    with pytest.raises(EnvironmentFailed, match=r"Python 3\.99 is asked for .*this machine has \d.*LEDEX_SANDBOX_INTERPRETERS"):
        build_environment(tree, runner, settings=settings, repository="example/asked", python="3.99")


def test_an_index_with_a_password_is_refused() -> None:
    with pytest.raises(EnvironmentFailed, match="needs a password"):
        configured_indexes({"PIP_INDEX_URL": "https://user:word@pypi.example.org/simple"}, ())


def test_pips_configuration_tells_the_hosts_and_the_environment_comes_first(tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://a.test/simple\nextra-index-url =\n  http://b.test:8080/x\n  file:///srv/y\n")
    found = configured_indexes({"PIP_INDEX_URL": "https://c.test/simple"}, (tmp_path / "pip.conf",))
    settings = SandboxSettings(extra_index_hosts=("d.test", "e.test:81"))
    assert found.hosts(settings) == {("c.test", 443), ("b.test", 8080), ("d.test", 443), ("e.test", 81)}
    assert configured_indexes({}, ()).hosts(SandboxSettings()) == {("pypi.org", 443), ("files.pythonhosted.org", 443)}


def test_settings_are_read_from_variables_with_commas_and_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEDEX_SANDBOX_EXTRA_INDEX_HOSTS", "a.test, b.test:8080")
    monkeypatch.setenv("LEDEX_SANDBOX_ALLOWED_PRIVATE_INDEXES", "10.0.0.5")
    settings = SandboxSettings()
    assert (settings.extra_index_hosts, settings.allowed_private_indexes) == (("a.test", "b.test:8080"), ("10.0.0.5",))
    monkeypatch.setenv("LEDEX_SANDBOX_EXTRA_INDEX_HOSTS", "https://a.test/simple")
    with pytest.raises(ValueError, match=r"pypi\.example\.org:8080"):
        SandboxSettings()


# Existing interpreters


def test_an_existing_environment_below_a_closed_folder_is_used_and_not_modified(
    tmp_path: Path, runner: Runner, settings: SandboxSettings
) -> None:
    folder = tmp_path / "closed" / "env with space"
    venv.create(folder, symlinks=True)
    folder.parent.chmod(0o700)
    before = contents(folder)
    found = existing_environment(folder / "bin" / "python", runner, settings=settings)
    result = python(runner, found, "import sys, pytest, coverage; print(sys.prefix, pytest.__file__)")
    assert result.ok, result.stderr
    assert result.stdout.decode().split("\n")[0].startswith(f"{folder} /ledex-overlay/")
    assert contents(folder) == before
    assert found.version == sys.version_info[:2]


def test_an_interpreter_that_has_the_tools_needs_no_overlay(runner: Runner, settings: SandboxSettings) -> None:
    found = existing_environment(Path(sys.executable), runner, settings=settings)
    assert found.overlay is None
    assert python(runner, found, "import pytest, coverage").ok


def test_the_tools_fit_the_oldest_python_of_this_machine(tmp_path: Path, runner: Runner, settings: SandboxSettings) -> None:
    oldest = min(discover(), key=lambda interpreter: interpreter.version)
    subprocess.run([oldest.executable, "-m", "venv", "--without-pip", str(tmp_path / "old")], check=True)
    found = existing_environment(tmp_path / "old" / "bin" / "python", runner, settings=settings)
    assert found.version == oldest.version
    result = python(runner, found, "import pytest, coverage; print(pytest.__version__)")
    assert result.ok, result.stderr


def test_an_environment_that_stands_on_a_linked_prefix_is_followed(tmp_path: Path, runner: Runner, settings: SandboxSettings) -> None:
    # uv makes them like this: the environment names a short link beside the installation's full name.
    real = Path(locate(Path(os.path.realpath(sys.executable))).executable)
    (tmp_path / "short").symlink_to(real.parent.parent)
    (tmp_path / "env" / "bin").mkdir(parents=True)
    (tmp_path / "env" / "bin" / "python").symlink_to(tmp_path / "short" / "bin" / real.name)
    (tmp_path / "env" / "pyvenv.cfg").write_text(f"home = {tmp_path}/short/bin\ninclude-system-site-packages = false\n")
    (tmp_path / "env" / "lib" / f"python3.{sys.version_info[1]}" / "site-packages").mkdir(parents=True)
    found = existing_environment(tmp_path / "env" / "bin" / "python", runner, settings=settings)
    assert python(runner, found, "import sys; print(sys.prefix)").stdout.decode().strip() == str(tmp_path / "env")


def test_a_script_in_the_place_of_an_interpreter_is_refused(tmp_path: Path, runner: Runner, settings: SandboxSettings) -> None:
    (tmp_path / "python").write_text("#!/bin/sh\nexec python3 \"$@\"\n")
    (tmp_path / "python").chmod(0o755)
    with pytest.raises(EnvironmentFailed, match=r"is a script.*pyenv which python"):
        existing_environment(tmp_path / "python", runner, settings=settings)


def test_a_missing_interpreter_is_refused(tmp_path: Path, runner: Runner, settings: SandboxSettings) -> None:
    with pytest.raises(EnvironmentFailed, match="cannot be read"):
        existing_environment(tmp_path / "none", runner, settings=settings)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's sandbox runs as another uid")
def test_an_environment_that_another_uid_cannot_read_is_refused_with_the_command_that_opens_it(
    tmp_path: Path, runner: Runner, settings: SandboxSettings
) -> None:
    venv.create(tmp_path / "env", symlinks=True)
    (tmp_path / "env").chmod(stat.S_IRWXU)
    with pytest.raises(EnvironmentFailed, match=r"chmod -R o\+rX"):
        existing_environment(tmp_path / "env" / "bin" / "python", runner, settings=settings)


@pytest.mark.parametrize(
    ("python_text", "pinned", "newest", "chosen"),
    [
        ("", "", None, (3, 11)), (">=3.9", "", None, (3, 11)), (">=3.12", "", None, (3, 12)), ("<3.10", "", None, (3, 9)),
        ("", "3.12", None, (3, 12)), ("", "", 9, (3, 9)), ("", "", 10, (3, 9)), (">=3.8", "", 6, (3, 11)), (">=3.11.4", "", 11, (3, 11)),
        (">=3.14", "", None, None),
    ],
)  # fmt: skip
def test_the_version_is_chosen_by_pin_then_by_what_was_tested(
    python_text: str, pinned: str, newest: int | None, chosen: tuple[int, int] | None
) -> None:
    assert choose([(3, 8), (3, 9), (3, 11), (3, 12)][1:], python_text, pinned, newest, (3, 11)) == chosen


@pytest.mark.parametrize(
    ("output", "cause"),
    [
        ("  × No solution found when resolving dependencies:\n  ╰─▶ Because six==9 was not found and\n      you require six==9, no.\n",
         "Because six==9 was not found and you require six==9, no."),
        ("error: No solution found when resolving dependencies\n  cause: Because there is no version of six==9\n",
         "Because there is no version of six==9"),
        ("Collecting x\n  Traceback:\n    a\n  ModuleNotFoundError: No module named 'numpy'\n\x1b[31merror\x1b[0m: subprocess\n",
         "ModuleNotFoundError: No module named 'numpy'"),
        ("a.c:1:10: fatal error: Python.h: No such file\nerror: command 'gcc' failed\n", "a.c:1:10: fatal error: Python.h: No such file"),
        ("", "no message"),
    ],
)  # fmt: skip
def test_the_first_real_error_line_is_found(output: str, cause: str) -> None:
    assert first_error([output]) == cause
