"""How a project of another language gets what its tests need: which files say so, the steps of a build, the variables of a run. Pure but
for reading the workspace.

A build has the network (the language's registries through the proxy); a run has none, and finds under ``/env`` what the build left there.
Compiled parts of the project itself are never reused unless the tool compares contents: Go does, cargo and Maven compare times, which a
snapshot of another commit can get wrong.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from sandbox.frameworks import TestPlan
from sandbox.frameworks.adapter import Language, joined, text_of
from sandbox.frameworks.scripts import manifest_of
from sandbox.plan import ENV, Attempt, Step
from sandbox.workspace import Workspace

LANGUAGES: Mapping[str, Language] = {
    "node": "javascript", "vitest": "javascript", "jest": "javascript", "go": "go", "cargo": "rust", "maven": "java", "gradle": "java",
}  # fmt: skip
_MANIFESTS: Mapping[Language, re.Pattern[str]] = {
    "javascript": re.compile(r"(?:^|/)(?:package\.json|package-lock\.json|npm-shrinkwrap\.json|yarn\.lock|pnpm-lock\.yaml"
                             r"|pnpm-workspace\.yaml|\.npmrc|\.yarnrc(?:\.yml)?)$"),
    "go": re.compile(r"(?:^|/)go\.(?:mod|sum|work|work\.sum)$"),
    "rust": re.compile(r"(?:^|/)(?:Cargo\.(?:toml|lock)|rust-toolchain(?:\.toml)?|\.cargo/config(?:\.toml)?)$"),
    "java": re.compile(r"(?:^|/)(?:pom\.xml|[\w.-]+\.gradle(?:\.kts)?|gradle\.properties|libs\.versions\.toml|gradle-wrapper\.properties"
                       r"|\.mvn/[\w.-]+)$"),
}  # fmt: skip
DEBIAN_REPOSITORY = "/usr/share/maven-repo"
SETTINGS = f"{ENV}/settings.xml"
NPM_CACHE = "/ledex-downloads/npm"
_JVM = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"


def manifest_files(workspace: Workspace, language: Language) -> tuple[str, ...]:
    """The files whose contents decide what a build brings."""
    return tuple(f for f in workspace.files if _MANIFESTS[language].search(f) and "node_modules/" not in f)


def setup_steps(plan: TestPlan, workspace: Workspace, setup: tuple[str, ...], debian: bool) -> tuple[Step, ...]:
    """The steps of a build; none where the project needs nothing that is not in its tree. ``setup`` are the policy's own commands, which
    come last; ``debian``: whether this machine has Debian's repository of Maven artifacts."""
    steps: tuple[Step, ...] = {
        "javascript": lambda: _javascript(plan, workspace), "go": lambda: _go(plan, workspace), "rust": lambda: _rust(plan, workspace),
        "java": lambda: _java(plan, debian),
    }[LANGUAGES[plan.framework]]()  # fmt: skip
    return (*steps, *(Step(f"setup command {line!r}", (Attempt((("/bin/sh", "-c", line),)),)) for line in setup))


def run_variables(plan: TestPlan, version: tuple[int, int]) -> dict[str, str]:
    """What a run of the tests finds in its environment, beside PATH. ``version`` is the toolchain's."""
    language = LANGUAGES[plan.framework]
    if language == "javascript":
        # Each WebAssembly memory reserves ten gigabytes of addresses otherwise, past what a process may have here.
        plain = {"NODE_OPTIONS": "--disable-wasm-trap-handler"} if (20, 15) <= version < (21, 0) or version >= (22, 2) else {}
        return {**plain, "CI": "true", "NO_COLOR": "1", "npm_config_offline": "true", "npm_config_update_notifier": "false"}
    if language == "go":
        return {**_GO, "GOPROXY": "off", "GOSUMDB": "off", "GOCACHE": "/tmp/gocache"}
    if language == "rust":
        return {**_RUST, "CARGO_NET_OFFLINE": "true", "CARGO_HOME": "/tmp/cargo", "CARGO_TARGET_DIR": "/tmp/target", "RUST_BACKTRACE": "1"}
    return {"MAVEN_OPTS": _JVM, "GRADLE_OPTS": _JVM}


_GO = {"GOTOOLCHAIN": "local", "GOPATH": "/tmp/gopath", "GOMODCACHE": f"{ENV}/gomod", "GOTELEMETRY": "off"}
_RUST = {"CARGO_INCREMENTAL": "0", "CARGO_TERM_COLOR": "never", "CARGO_PROFILE_TEST_DEBUG": "line-tables-only",
         "CARGO_PROFILE_DEV_DEBUG": "line-tables-only"}  # fmt: skip


def _shell(folder: str, *lines: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", "\n".join([f"cd {shlex.quote(folder)} || exit 1", *lines]))


def _attempts(*commands: tuple[str, ...]) -> tuple[Attempt, ...]:
    return tuple(Attempt((command,)) for command in commands)


# JavaScript: node_modules, beside the lock file


def _javascript(plan: TestPlan, workspace: Workspace) -> tuple[Step, ...]:
    folder = install_folder(workspace, plan.folder)
    manifests = {folder, plan.folder}
    if not any(_needs_packages(workspace, f) for f in manifests):
        return ()
    commands = []
    locked = {name: workspace.exists(joined(folder, name)) for name in ("package-lock.json", "npm-shrinkwrap.json", "pnpm-lock.yaml",
                                                                        "yarn.lock")}  # fmt: skip
    # With npm's usual 15 connections a busy machine shakes hands too slowly, and the registry resets all of them at once.
    quiet = " ".join(f"npm_config_{n}=false" for n in ("fund", "audit", "progress", "update_notifier"))
    cache = f"export npm_config_cache={NPM_CACHE} npm_config_maxsockets=6 {quiet}"
    if locked["pnpm-lock.yaml"]:
        commands.append(_shell(folder, cache, "pnpm install --frozen-lockfile --store-dir /ledex-downloads/pnpm"))
    elif locked["yarn.lock"]:
        commands.append(_shell(folder, cache, "yarn install --frozen-lockfile --non-interactive --cache-folder /ledex-downloads/yarn"))
    elif locked["package-lock.json"] or locked["npm-shrinkwrap.json"]:
        commands.append(_shell(folder, cache, "npm ci --prefer-offline"))
    # What an earlier build of this repository downloaded is asked for first; a version that came out since is in the registry alone.
    commands += [_shell(folder, cache, f"npm install --no-save{offline}") for offline in (" --prefer-offline", "")]
    return (Step("node_modules", _attempts(*commands)),)


def install_folder(workspace: Workspace, folder: str) -> str:
    """Where dependencies are installed: the nearest folder with a lock file, or the workspace's top that lists this package."""
    parts = [] if folder == "." else folder.split("/")
    for count in range(len(parts), -1, -1):
        place = "/".join(parts[:count]) or "."
        if any(workspace.exists(joined(place, n)) for n in ("package-lock.json", "npm-shrinkwrap.json", "pnpm-lock.yaml", "yarn.lock")):
            return place
        if place != folder and "workspaces" in manifest_of(workspace, place):
            return place
    return folder


def _needs_packages(workspace: Workspace, folder: str) -> bool:
    manifest = manifest_of(workspace, folder)
    return any(manifest.get(name) for name in ("dependencies", "devDependencies", "optionalDependencies", "workspaces"))


# Go: the module cache, and the standard library compiled once


def _go(plan: TestPlan, workspace: Workspace) -> tuple[Step, ...]:
    text = text_of(workspace, joined(plan.folder, "go.mod"))
    variables = " ".join(f"{k}={v}" for k, v in {**_GO, "GOCACHE": f"{ENV}/gocache"}.items())
    steps = []
    vendored = any(f.startswith(joined(plan.folder, "vendor") + "/") for f in workspace.files)
    if re.search(r"^\s*require\b", text, re.M) and not vendored:
        steps.append(Step("modules", _attempts(_shell(plan.folder, f"export {variables} GOFLAGS=-modcacherw", "go mod download"))))
    compile_all = _shell(plan.folder, f"export {variables} GOPROXY=off GOSUMDB=off", "go test -run '^$' ./... >/dev/null 2>&1; exit 0")
    return (*steps, Step("compiled packages", _attempts(compile_all), optional=True))


# Rust: the registry's sources, and the dependencies compiled


def _rust(plan: TestPlan, workspace: Workspace) -> tuple[Step, ...]:
    if not _needs_crates(workspace):
        return ()
    variables = " ".join(f"{k}={v}" for k, v in {**_RUST, "CARGO_HOME": f"{ENV}/cargo", "CARGO_TARGET_DIR": f"{ENV}/target"}.items())
    locked = " --locked" if workspace.exists(joined(plan.folder, "Cargo.lock")) else ""
    fetch = _shell(plan.folder, f"export {variables}", f"cargo fetch{locked}")
    build = _shell(plan.folder, f"export {variables} CARGO_NET_OFFLINE=true", "cargo test --workspace --no-run")
    return (Step("crates", _attempts(fetch)), Step("compiled dependencies", _attempts(build), optional=True))


def _needs_crates(workspace: Workspace) -> bool:
    """Whether a manifest asks for a crate that is no path in the tree."""
    import tomllib

    for path in (f for f in workspace.files if f.rpartition("/")[2] == "Cargo.toml"):
        try:
            data = tomllib.loads(text_of(workspace, path))
        except tomllib.TOMLDecodeError:
            continue
        shared = data.get("workspace", {})
        tables = [data, shared if isinstance(shared, dict) else {}, *(t for t in data.get("target", {}).values() if isinstance(t, dict))]
        for table in tables:
            for name in ("dependencies", "dev-dependencies", "build-dependencies"):
                wanted = table.get(name, {})
                for needs in wanted.values() if isinstance(wanted, dict) else ():
                    if not (isinstance(needs, dict) and ("path" in needs or needs.get("workspace"))):
                        return True
    return False


# Java: the local repository, filled by a build that runs no test


def _java(plan: TestPlan, debian: bool) -> tuple[Step, ...]:
    proxy = ('p=${https_proxy##*:}; p=${p%/}',
             f'export MAVEN_OPTS="{_JVM} -Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=$p -Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=$p"')
    if plan.framework == "gradle":
        gradle = "./gradlew" if plan.shell else "gradle"
        lines = ('p=${https_proxy##*:}; p=${p%/}', f"export GRADLE_USER_HOME={ENV}/gradle",
                 f'export GRADLE_OPTS="{_JVM} -Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=$p -Dhttps.proxyHost=127.0.0.1 '
                 '-Dhttps.proxyPort=$p"', f"{gradle} --no-daemon testClasses; s=$?; rm -rf .gradle; exit $s")  # fmt: skip
        return (Step("Gradle's dependencies", _attempts(_shell(plan.folder, *lines)), optional=True),)
    # No test has this name: the plugins that run tests are resolved, and no test is run.
    maven = ("mvn -B -q -s SETTINGS test -Dtest=LedexRunsNoTest -DfailIfNoTests=false -Dsurefire.failIfNoSpecifiedTests=false; s=$?\n"
             "find . -name target -type d -prune -exec rm -rf {} +\nexit $s").replace("SETTINGS", SETTINGS)  # fmt: skip
    offline = _shell(plan.folder, _settings(DEBIAN_REPOSITORY, offline=True), maven)
    online = _shell(plan.folder, _settings(f"{ENV}/m2", offline=False), *proxy,
                    maven.replace("exit $s", _settings(f"{ENV}/m2", offline=True) + "\nexit $s"))  # fmt: skip
    note = f"plugins and libraries come from {DEBIAN_REPOSITORY}"
    attempts = ((Attempt((offline,), note),) if debian else ()) + _attempts(online)
    return (Step("Maven's dependencies", attempts),)


def _settings(repository: str, *, offline: bool) -> str:
    text = f"<settings><localRepository>{repository}</localRepository><offline>{str(offline).lower()}</offline></settings>"
    return f"printf %s '{text}' > {SETTINGS}"
