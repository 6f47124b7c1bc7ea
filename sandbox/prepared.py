"""The folder that every sandbox finds as /etc: the system's public settings, copied once a process."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import tempfile
from pathlib import Path

_ETC = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "alternatives", "ssl/certs", "ssl/openssl.cnf", "ca-certificates",
        "ca-certificates.conf", "mime.types", "debian_version", "os-release", "timezone", "java-17-openjdk", "maven")  # fmt: skip


@functools.cache
def _make_prepared_folder() -> Path:
    """``etc``: copies of the system's public settings (bubblewrap reads all mounts again for every bind, so one folder saves
    milliseconds); ``empty``: an empty folder."""
    prepared = Path(tempfile.mkdtemp(prefix="ledex-prepared-"))
    atexit.register(_remove_prepared, prepared, os.getpid())
    folder = prepared / "etc"
    (prepared / "empty").mkdir()
    folder.mkdir()
    for name in _ETC:
        source, target = Path("/etc", name), folder / name
        with contextlib.suppress(OSError, shutil.Error):  # what cannot be read here is not public
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, symlinks=True)
            else:
                shutil.copyfile(source, target)
    (folder / "nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files\n")
    (folder / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
    for name in ("passwd", "group"):
        (folder / name).touch()
    for path in (prepared, *prepared.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
    return prepared


def _remove_prepared(folder: Path, process: int) -> None:
    if os.getpid() == process:  # a forked child that ends does not take its parent's folder away
        shutil.rmtree(folder, ignore_errors=True)


def prepared_folder() -> Path:
    if not _make_prepared_folder().is_dir():  # something that tidies /tmp took it
        _make_prepared_folder.cache_clear()
    return _make_prepared_folder()
