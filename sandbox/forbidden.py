"""What a fix may neither touch nor newly mention: paths and names, as data, by language."""

from __future__ import annotations

from collections.abc import Mapping

FORBIDDEN_PATHS = (
    ".git/**", ".github/**", ".gitlab-ci.yml", ".circleci/**", "azure-pipelines.yml", "Jenkinsfile", ".travis.yml", "appveyor.yml",
    "**/*.lock", "**/*-lock.json", "**/package-lock.json", "**/pnpm-lock.yaml", "**/go.sum", "**/requirements*.txt",
    "**/pyproject.toml", "**/setup.py", "**/setup.cfg", "**/package.json", "**/Cargo.toml", "**/go.mod", "**/pom.xml", "**/build.gradle*",
    "**/tox.ini", "**/noxfile.py", "**/pytest.ini", "**/.pytest.ini", "**/pytest.toml", "**/.pytest.toml",
    "**/.coveragerc", "**/conftest.py", "**/sitecustomize.py",
    "**/usercustomize.py", "**/*.pth", "**/Makefile", "**/migrations/**", "**/__snapshots__/**", "**/*.snap", "**/.env*",
    "**/*.pem", "**/*.key", "**/*.pyc", "**/*.so", "**/*.dist-info/**", "**/*.egg-info/**", "**/*.egg-link", "**/fixtures/**",
    "**/testdata/**", "**/test_data/**", "**/test-data/**",
    # JavaScript
    "**/vitest.*", "**/vite.config.*", "**/jest.*", "**/babel.config.*", "**/.babelrc*", "**/.mocharc*", "**/karma.conf.*",
    "**/tsconfig*.json", "**/.npmrc", "**/.yarnrc*", "**/pnpm-workspace.yaml", "**/node_modules/**", "**/*.node",
    # Go, Rust
    "**/go.work*", "**/vendor/**", "**/.cargo/**", "**/build.rs", "**/rust-toolchain*", "**/clippy.toml", "**/nextest.toml",
    # Java
    "**/settings.gradle*", "**/gradle.properties", "**/gradlew*", "**/gradle/**", "**/mvnw*", "**/.mvn/**", "**/*.class", "**/*.jar",
    "**/META-INF/services/**", "**/junit-platform.properties",
)  # fmt: skip
"""Never touched by a fix: CI, manifests and locks, test framework configuration and entry points, test data, migrations, snapshots,
secrets, binaries."""

REACHES = frozenset({
    "_getframe", "currentframe", "_current_frames", "f_back", "f_globals", "f_locals", "tb_frame", "gi_frame", "settrace", "setprofile",
    "gc", "get_objects", "get_referrers", "atexit", "modules", "_exit", "pytest", "_pytest",
    "pluggy", "unittest", "ctypes", "addaudithook", "sys.modules", "_clear_type_cache", "PYTEST_CURRENT_TEST", "__import__", "eval", "exec",
    "importlib", "abort", "kill", "killpg", "setrecursionlimit", "__code__", "__subclasses__", "dup2", "memfd_create", "socketpair",
    "conftest",
    "excepthook", "__excepthook__", "breakpoint", "builtins", "__builtins__", "load_tests", "monkeypatch", "execv", "execve", "execvp",
    "execvpe",
    "execl", "execle", "execlp", "execlpe", "posix_spawn", "posix_spawnp", "fork", "forkpty", "fromfd", "fdopen", "sendfile", "writev",
    "/proc",
    "/run/ledex",
    "/dev/fd", "raise_signal", "pthread_kill", "meta_path", "path_hooks", "path_importer_cache", "SkipTest", "code_info", "marshal",
})  # fmt: skip
"""Names that reach for the interpreter or the judge, beside all that begin with ``pytest`` or hold ``_ledex_``, as the judge's files do; a
patch may not mention any more often than the file did."""

DELAYS = frozenset(
    {"sleep", "retry", "retries", "retrying", "tenacity", "backoff", "max_retries", "rerun", "flaky", "skip", "skipif", "xfail"}
)
"""A patch that newly waits, tries again or leaves tests out makes no code right."""

_ANY = frozenset({"/proc", "/dev/fd", "/run/ledex", "ledex-report", "fork", "exec", "kill", "abort"})
REACHES_OF: Mapping[str, frozenset[str]] = {
    "javascript": _ANY | {
        "exit", "exitCode", "reallyExit", "eval", "Function", "child_process", "worker_threads", "vm", "inspector", "globalThis",
        "__proto__", "defineProperty", "setPrototypeOf", "prepareStackTrace", "captureStackTrace", "uncaughtException", "assert", "expect",
        "vitest",
        "jest", "node:test", "node:assert", "node:vm", "node:child_process", "node:module", "describe", "VITEST", "JEST_WORKER_ID",
        "NODE_TEST_CONTEXT", "NODE_ENV", "execArgv", "argv", "mock", "asymmetricMatch", "$$typeof",
    },
    "go": _ANY | {
        "Exit", "Goexit", "testing", "testify", "syscall", "unsafe", "os/exec", "Caller", "Callers", "linkname", "Args", "Stdout",
        "plugin", "--- PASS", '"Action"', "recover",
    },
    "rust": _ANY | {
        "exit", "catch_unwind", "set_hook", "take_hook", "cfg", "cfg_attr", "ctor", "transmute", "asm", "no_mangle", "link_section",
        "proc_macro", "resume_unwind", "Backtrace", "quick_exit",
    },
    "java": _ANY | {
        "exit", "halt", "getRuntime", "ProcessBuilder", "reflect", "setAccessible", "forName", "getStackTrace", "StackWalker", "Unsafe",
        "junit", "surefire", "mockito", "Assert", "addShutdownHook", "setSecurityManager", "instrument", "Instrumentation", "ClassLoader",
        "setUncaughtExceptionHandler", "setDefaultUncaughtExceptionHandler", "MethodHandles",
    },
}  # fmt: skip
"""The same for other languages. A name counts only where the patch mentions it more often than the file did, so a file that is about
processes may be repaired; ``cfg`` and ``recover`` are among them, since code that behaves otherwise under test, or swallows what a test
waits for, is no fix."""

DELAYS_OF: Mapping[str, frozenset[str]] = {
    "javascript": frozenset({"setTimeout", "setInterval", "sleep", "retry", "retries", "retryTimes", "runIf", "skipIf"}),
    "go": frozenset({"Sleep", "NewTimer", "NewTicker", "Tick", "AfterFunc", "Skipf", "SkipNow", "retry", "Retry"}),
    "rust": frozenset({"sleep", "sleep_until", "sleep_ms", "park_timeout", "retry", "Retry", "interval"}),
    "java": frozenset({"sleep", "Disabled", "Ignore", "Assume", "Assumptions", "assumeTrue", "assumeFalse", "RepeatedTest", "Retry",
                       "retry", "parkNanos"}),
}  # fmt: skip
"""Words such as ``skip`` and ``todo`` are everyday names in code; in tests, which no fix touches, they need no rule of their own."""
