"""Workspaces: what a snapshot holds, what patches may do to it, and that the checkout stays as it was."""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import WorkspaceError
from sandbox.bubblewrap import BubblewrapRunner
from sandbox.git import git, resolve
from sandbox.limits import Limits
from sandbox.runner import Command
from sandbox.workspace import MAX_PATCH_BYTES, Workspace, at_revision, patch_paths, snapshot
from tests.sandbox.conftest import Repository, diff


def fingerprint(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Mode, modification time and content of everything below a folder, ``.git`` included."""
    found = {}
    for path in (folder, *sorted(folder.rglob("*"))):
        information = path.lstat()
        content = os.readlink(path) if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[os.fsencode(path).decode("latin-1")] = (information.st_mode, information.st_mtime_ns, content)
    return found


def inside(workspace: Workspace, *argv: str) -> str:
    """Output of a command in a fresh sandbox with the workspace laid out."""
    execution = BubblewrapRunner().run(Command(argv, tree=workspace.tree(), limits=Limits(wall_seconds=30)))
    assert execution.ok, execution
    return execution.stdout.decode("utf-8", "surrogateescape")


# What a snapshot holds


def test_changed_untracked_and_staged_files_are_taken_and_ignored_ones_left(repository: Repository) -> None:
    repository.files({"kept.py": "1\n", "changed.py": "old\n", ".gitignore": "*.log\nbuild/\n"}).commit()
    repository.files({"changed.py": "new\n", "untracked.py": "u\n", "staged.py": "s\n", "noise.log": "x", "build/out.py": "x"})
    repository.git("add", "staged.py")
    workspace = repository.workspace()
    assert workspace.files == (".gitignore", "changed.py", "kept.py", "staged.py", "untracked.py")
    assert workspace.read("changed.py") == b"new\n"
    assert workspace.commit == repository.git("rev-parse", "HEAD")


def test_a_file_deleted_in_the_work_tree_is_not_there(repository: Repository) -> None:
    repository.files({"gone.py": "1\n", "kept.py": "1\n"}).commit()
    (repository.folder / "gone.py").unlink()
    assert repository.workspace().files == ("kept.py",)


def test_a_repository_without_a_commit_can_be_taken(repository: Repository) -> None:
    repository.files({"a.py": "1\n"}).git("init", "-q")
    workspace = repository.workspace()
    assert workspace.files == ("a.py",)
    assert workspace.commit is None


def test_links_stay_links_and_executables_executable(repository: Repository) -> None:
    repository.files({"run.sh": "#!/bin/sh\n"})
    (repository.folder / "run.sh").chmod(0o700)
    (repository.folder / "link").symlink_to("run.sh")
    workspace = repository.commit().workspace()
    assert os.readlink(workspace.root / "link") == "run.sh"
    assert stat.S_IMODE((workspace.root / "run.sh").stat().st_mode) == 0o755


def test_modification_times_survive(repository: Repository) -> None:
    repository.files({"a.py": "1\n"}).commit()
    os.utime(repository.folder / "a.py", (1_000_000_000, 1_000_000_000))
    assert (repository.workspace().root / "a.py").stat().st_mtime == 1_000_000_000


def test_a_submodule_entry_without_its_content_is_skipped(repository: Repository) -> None:
    repository.files({"a.py": "1\n"}).commit()
    head = repository.git("rev-parse", "HEAD")
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{head},vendored")
    repository.git("commit", "-q", "-m", "submodule")
    assert repository.workspace().files == ("a.py",)
    assert at_revision(repository.folder, "HEAD", repository.space()).files == ("a.py",)


def test_files_of_a_submodule_are_taken(repository: Repository, tmp_path: Path) -> None:
    other = Repository(tmp_path / "other", tmp_path, repository.environment, repository.runner)
    other.folder.mkdir()
    other.files({"inner.py": "1\n"}).commit()
    repository.files({"a.py": "1\n"}).commit()
    repository.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other.folder), "lib")
    assert "lib/inner.py" in repository.workspace().files


@pytest.mark.parametrize("name", ["with space.py", "ünï.py", "quote'\"s.py", "back\\slash.py", "tab\t.py", "-dash.py", "$(x).py"])
def test_names_that_shells_and_locales_dislike_arrive_unchanged(repository: Repository, name: str) -> None:
    repository.files({name: "1\n"}).commit()
    assert name in repository.workspace().files


def test_names_that_are_no_utf8_arrive_unchanged(repository: Repository) -> None:
    name = os.fsdecode(b"caf\xe9.py")
    repository.files({name: "1\n"}).commit()
    workspace = repository.workspace()
    assert workspace.files == (name,)
    assert inside(workspace, "ls", "-b") == "caf\\351.py\n"
    assert inside(workspace.with_files({name: None}, repository.space()), "ls") == ""


def test_content_is_taken_byte_for_byte(repository: Repository) -> None:
    content = {
        "crlf.py": b"a = 1\r\nb = 2\r\n",
        "latin.py": b"# -*- coding: latin-1 -*-\nx = '\xe9'\n",
        "nul.bin": b"\0\xff" * 10,
        "none": b"",
    }
    workspace = repository.files(content).commit().workspace()
    assert {f: workspace.read(f) for f in content} == content


def test_sockets_and_pipes_are_left_out(repository: Repository) -> None:
    repository.files({"a.py": "1\n"}).commit()
    os.mkfifo(repository.folder / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(repository.folder / "s"))
        assert repository.workspace().files == ("a.py",)


def test_closed_files_are_opened_for_the_sandbox(repository: Repository) -> None:
    repository.files({"deep/er/secret.py": "1\n"}).commit()
    (repository.folder / "deep/er/secret.py").chmod(0o600)
    (repository.folder / "deep").chmod(0o700)
    assert inside(repository.workspace(), "cat", "deep/er/secret.py") == "1\n"


def test_a_python_in_the_c_locale_takes_hostile_names(repository: Repository) -> None:
    folder = repository.folder / "mit Leerzeichen é"
    repository.files({"mit Leerzeichen é/ünï.py": "1\n"}).commit()
    source = (
        "import sys\nfrom pathlib import Path\nfrom sandbox.workspace import snapshot\n"
        "print(len(snapshot(Path(sys.argv[1]), Path(sys.argv[2])).files))"
    )
    done = subprocess.run(
        [sys.executable, "-c", source, str(folder), str(repository.space())],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PATH": os.environ["PATH"]},
    )
    assert (done.stdout.strip(), done.returncode) == ("1", 0), done.stderr


def test_a_folder_of_the_checkout_means_the_whole_of_it(repository: Repository) -> None:
    repository.files({"a.py": "1\n", "sub/b.py": "1\n"}).commit()
    assert snapshot(repository.folder / "sub", repository.space()).files == ("a.py", "sub/b.py")


# The checkout stays


def test_taking_a_snapshot_changes_no_byte_mode_or_time(repository: Repository) -> None:
    repository.files({"a.py": "1\n", "crlf.py": b"x\r\n", "sub/b.py": "2\n"}).commit().files({"a.py": "dirty\n", "new.py": "n\n"})
    (repository.folder / "link").symlink_to("nowhere")
    before = fingerprint(repository.folder)
    workspace = repository.workspace()
    patched = workspace.patched(diff("sub/b.py", "2\n", "3\n"), repository.space())
    at_revision(repository.folder, "HEAD", repository.space())
    assert inside(patched, "sh", "-c", "cat sub/b.py; rm -rf *; echo x > a.py") == "3\n"
    assert fingerprint(repository.folder) == before


def test_a_read_only_checkout_is_enough(repository: Repository) -> None:
    repository.files({"a.py": "1\n"}).commit()
    for path in (*repository.folder.rglob("*"), repository.folder):
        path.chmod(path.stat().st_mode & ~0o222)
    try:
        assert inside(repository.workspace().with_files({"a.py": b"2\n"}, repository.space()), "cat", "a.py") == "2\n"
    finally:
        for path in (repository.folder, *repository.folder.rglob("*")):
            path.chmod(path.stat().st_mode | 0o200)


# Hostile checkouts


@pytest.mark.parametrize("make", ["missing", "file", "plain"])
def test_what_is_no_checkout_is_named_in_one_sentence(tmp_path: Path, make: str) -> None:
    path = tmp_path / "x"
    if make == "file":
        path.write_text("")
    elif make == "plain":
        path.mkdir()
    with pytest.raises(WorkspaceError, match="git checkout") as raised:
        snapshot(path, tmp_path / "into")
    assert "\n" not in str(raised.value)


def test_no_program_of_the_repositorys_configuration_runs(repository: Repository, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    script = tmp_path / "evil.sh"
    script.write_text(f"#!/bin/sh\ntouch {marker}\n")
    script.chmod(0o755)
    repository.files({"a.py": "1\n", ".gitattributes": "*.py filter=evil diff=evil\n"}).commit()
    for key in (
        "core.fsmonitor",
        "core.sshCommand",
        "core.pager",
        "core.editor",
        "filter.evil.clean",
        "filter.evil.smudge",
        "filter.evil.process",
        "diff.evil.textconv",
        "diff.external",
        "remote.origin.uploadpack",
        "gpg.program",
        "credential.helper",
    ):
        repository.git("config", key, str(script))
    repository.git("config", "core.hooksPath", str(tmp_path))
    for name in ("post-index-change", "pre-commit", "post-checkout"):
        (tmp_path / name).symlink_to(script)
    head = repository.git("rev-parse", "HEAD")
    marker.unlink(missing_ok=True)
    workspace = repository.workspace()
    at_revision(repository.folder, head, repository.space())
    workspace.patched(diff("a.py", "1\n", "2\n"), repository.space())
    assert not marker.exists()


def test_missing_objects_are_fetched_from_nowhere(repository: Repository, tmp_path: Path) -> None:
    """A repository that declares itself a partial clone makes Git run its own transport programs."""
    marker = tmp_path / "ran"
    script = tmp_path / "evil.sh"
    script.write_text(f"#!/bin/sh\ntouch {marker}\n")
    script.chmod(0o755)
    repository.files({"a.py": "content\n"}).commit()
    blob = repository.git("rev-parse", "HEAD:a.py")
    (repository.folder / ".git/objects" / blob[:2] / blob[2:]).unlink()
    for key, value in (
        ("core.repositoryFormatVersion", "1"),
        ("extensions.partialClone", "origin"),
        ("remote.origin.promisor", "true"),
        ("remote.origin.url", str(tmp_path)),
        ("remote.origin.uploadpack", str(script)),
    ):
        repository.git("config", key, value)
    with pytest.raises(WorkspaceError):
        at_revision(repository.folder, "HEAD", repository.space())
    assert not marker.exists()


def test_a_work_tree_elsewhere_is_refused(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/secret").write_text("secret")
    repository.files({"a.py": "1\n"}).commit()
    repository.git("config", "core.worktree", str(tmp_path / "home"))
    with pytest.raises(WorkspaceError):
        repository.workspace()


def test_a_tracked_folder_that_became_a_link_brings_nothing_in(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/passwd").write_text("secret")
    repository.files({"sub/passwd": "x\n"}).commit()
    (repository.folder / "sub/passwd").unlink()
    (repository.folder / "sub").rmdir()
    (repository.folder / "sub").symlink_to(tmp_path / "home")
    workspace = repository.workspace()
    assert workspace.files == ("sub",)
    with pytest.raises(WorkspaceError, match="no regular file"):
        workspace.read("sub/passwd")


def forged_tree(repository: Repository, *entries: tuple[str, bytes, str]) -> str:
    """A commit whose tree holds these (mode, raw name, content), checks left out."""
    raw = b""
    for mode, name, content in entries:
        blob = git("hash-object", "-w", "--stdin", cwd=repository.folder, stdin=content.encode()).decode().strip()
        raw += mode.encode() + b" " + name + b"\0" + bytes.fromhex(blob)
    tree = git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", cwd=repository.folder, stdin=raw).decode().strip()
    return repository.git("commit-tree", "-m", "x", tree)


@pytest.mark.parametrize(
    "entries",
    [
        [("100644", b"../escaped", "evil")],
        [("100644", b"..", "evil")],
        [("100644", b"/tmp/escaped", "evil")],
        [("120000", b"a", "OUTSIDE"), ("100644", b"a/escaped", "evil")],
        [("120000", b"a", "OUTSIDE/escaped"), ("100644", b"a", "evil")],
    ],
    ids=["dots", "parent", "absolute", "beyond a link", "through a link"],
)
def test_a_forged_tree_writes_nothing_outside(repository: Repository, tmp_path: Path, entries: list[tuple[str, bytes, str]]) -> None:
    repository.files({"a.py": "1\n"}).commit()
    outside = tmp_path / "outside"
    outside.mkdir()
    commit = forged_tree(repository, *((m, n, c.replace("OUTSIDE", str(outside))) for m, n, c in entries))
    into = repository.space()
    with pytest.raises(WorkspaceError):
        at_revision(repository.folder, commit, into)
    assert list(outside.iterdir()) == []
    assert not (into / "escaped").exists()


@pytest.mark.parametrize("revision", ["--output=/tmp/x", "-h", "no-such-branch", "HEAD:a.py", ""])
def test_what_names_no_commit_is_refused(repository: Repository, revision: str) -> None:
    repository.files({"a.py": "1\n"}).commit()
    with pytest.raises(WorkspaceError):
        resolve(repository.folder, revision)


# Patches


BEFORE = "def f():\n    return 1\n"


@pytest.fixture
def workspace(repository: Repository) -> Workspace:
    repository.files({"code.py": BEFORE, "crlf.py": b"a = 1\r\nb = 2\r\n", "sub/deep.py": "x = 1\n"})
    (repository.folder / "link").symlink_to("sub")
    (repository.folder / "passwd").symlink_to("/etc/passwd")
    return repository.commit().workspace()


def test_a_patch_changes_the_view_and_not_the_snapshot(workspace: Workspace, repository: Repository) -> None:
    patched = workspace.patched(diff("code.py", BEFORE, BEFORE.replace("1", "2")), repository.space())
    assert patched.read("code.py") == b"def f():\n    return 2\n"
    assert workspace.read("code.py") == BEFORE.encode()
    assert patched.diff_from(workspace) == {"code.py": (BEFORE.encode(), b"def f():\n    return 2\n")}
    assert inside(patched, "cat", "code.py") == "def f():\n    return 2\n"


def test_patches_stack(workspace: Workspace, repository: Repository) -> None:
    once = workspace.patched(diff("code.py", BEFORE, "x = 2\n"), repository.space())
    twice = once.patched(diff("sub/deep.py", "x = 1\n", "x = 3\n"), repository.space())
    assert inside(twice, "cat", "code.py", "sub/deep.py") == "x = 2\nx = 3\n"


def test_files_can_be_added_and_removed(workspace: Workspace, repository: Repository) -> None:
    added = workspace.patched(diff("new/file.py", "", "n = 1\n"), repository.space())
    assert added.exists("new/file.py")
    removed = added.with_files({"code.py": None, "new/file.py": None}, repository.space())
    assert not removed.exists("code.py")
    assert inside(removed, "sh", "-c", "ls code.py new/file.py 2>/dev/null | wc -l") == "0\n"


def test_line_ends_survive_a_patch(workspace: Workspace, repository: Repository) -> None:
    patch = b"--- a/crlf.py\n+++ b/crlf.py\n@@ -1,2 +1,2 @@\n a = 1\r\n-b = 2\r\n+b = 3\r\n"
    assert workspace.patched(patch, repository.space()).read("crlf.py") == b"a = 1\r\nb = 3\r\n"


def test_modes_survive_a_patch(repository: Repository) -> None:
    repository.files({"run.sh": "echo 1\n"})
    (repository.folder / "run.sh").chmod(0o755)
    workspace = repository.commit().workspace().patched(diff("run.sh", "echo 1\n", "echo 2\n"), repository.space())
    assert inside(workspace, "./run.sh") == "2\n"


HOSTILE_PATCHES = {
    "parent": b"--- a/../escaped.py\n+++ b/../escaped.py\n@@ -0,0 +1 @@\n+evil\n",
    "new parent": b"diff --git a/../escaped.py b/../escaped.py\nnew file mode 100644\n"
    b"--- /dev/null\n+++ b/../escaped.py\n@@ -0,0 +1 @@\n+evil\n",
    "quoted parent": b'--- /dev/null\n+++ "b/\\056\\056/escaped.py"\n@@ -0,0 +1 @@\n+evil\n',
    "absolute": b"--- /dev/null\n+++ b//tmp/escaped.py\n@@ -0,0 +1 @@\n+evil\n",
    "git": b"--- /dev/null\n+++ b/.git/hooks/pre-commit\n@@ -0,0 +1 @@\n+evil\n",
    "git in capitals": b"--- /dev/null\n+++ b/.GIT/hooks/pre-commit\n@@ -0,0 +1 @@\n+evil\n",
    "inner git": b"--- /dev/null\n+++ b/sub/.git/config\n@@ -0,0 +1 @@\n+evil\n",
    "through a link": b"--- /dev/null\n+++ b/link/planted.py\n@@ -0,0 +1 @@\n+evil\n",
    "beyond a link": b"--- a/link/deep.py\n+++ b/link/deep.py\n@@ -1 +1 @@\n-x = 1\n+x = 2\n",
    "to a link": b"--- a/passwd\n+++ b/passwd\n@@ -1 +1 @@\n"
    b"-/etc/passwd\n\\ No newline at end of file\n+/etc/shadow\n\\ No newline at end of file\n",
    "new link": b"diff --git a/x b/x\nnew file mode 120000\n"
    b"--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+/etc/passwd\n\\ No newline at end of file\n",
    "submodule": b"diff --git a/x b/x\nnew file mode 160000\n--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+Subproject commit "
    + b"1" * 40
    + b"\n",
    "rename out": b"diff --git a/code.py b/../escaped.py\nsimilarity index 100%\nrename from code.py\nrename to ../escaped.py\n",
    "copy out": b"diff --git a/code.py b/../escaped.py\nsimilarity index 100%\ncopy from code.py\ncopy to ../escaped.py\n",
    "rename from a link": b"diff --git a/passwd b/x.py\nsimilarity index 100%\nrename from passwd\nrename to x.py\n",
    "below a file": b"--- /dev/null\n+++ b/code.py/x.py\n@@ -0,0 +1 @@\n+evil\n",
    "over a folder": b"--- /dev/null\n+++ b/sub\n@@ -0,0 +1 @@\n+evil\n",
    "new over an old": b"--- /dev/null\n+++ b/code.py\n@@ -0,0 +1 @@\n+evil\n",
    "other context": b"--- a/code.py\n+++ b/code.py\n@@ -1,2 +1,2 @@\n def g():\n-    return 1\n+    return 2\n",
    "binary": b"diff --git a/x b/x\nnew file mode 100644\nindex 0000000..1111111\nGIT binary patch\nliteral 5\nMcmZQzWMT#Y01f~L\n\n",
    "large": b"--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+" + b"x" * MAX_PATCH_BYTES + b"\n",
    "empty": b"",
    "prose": b"I fixed the bug.\n",
}


@pytest.mark.parametrize("patch", HOSTILE_PATCHES.values(), ids=HOSTILE_PATCHES.keys())
def test_a_hostile_patch_is_refused_and_writes_nothing(workspace: Workspace, repository: Repository, patch: bytes) -> None:
    before, into = fingerprint(repository.folder), repository.space()
    with pytest.raises(WorkspaceError) as raised:
        workspace.patched(patch, into)
    assert "\n" not in str(raised.value)
    assert fingerprint(repository.folder) == before
    assert not list(repository.scratch.rglob("*escaped*"))
    assert not list(repository.scratch.rglob("planted*"))
    assert not Path("/tmp/escaped.py").exists()


def test_a_rename_names_both_its_paths() -> None:
    patch = b"diff --git a/a.py b/b.py\nsimilarity index 100%\nrename from a.py\nrename to b.py\n"
    assert set(patch_paths(patch)) == {"a.py", "b.py"}


@pytest.mark.parametrize("file", ["../x", "/etc/passwd", "a/../../x", "a\0b"])
def test_a_path_that_leaves_the_tree_is_refused(workspace: Workspace, repository: Repository, file: str) -> None:
    with pytest.raises(WorkspaceError):
        workspace.path(file)
    with pytest.raises(WorkspaceError):
        workspace.with_files({file: b"evil"}, repository.space())


def test_a_link_is_never_read_through(workspace: Workspace) -> None:
    for file in ("passwd", "link/deep.py", "link"):
        with pytest.raises(WorkspaceError, match="no regular file"):
            workspace.read(file)
