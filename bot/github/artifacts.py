"""JUnit reports out of artifacts. Pure; an artifact is written by the pull request's own code, so it may be anything."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from bot.runs import Report

_LOOKS_LIKE_REPORTS = re.compile(r"junit|test|report|result|xml|surefire", re.IGNORECASE)
_UNFIT = re.compile(r"[^\w.\-/ \[\]()+=]")


@dataclass(frozen=True)
class Caps:
    """``artifact_bytes``: packed; ``report_bytes``, ``total_bytes``: unpacked; ``ratio``: unpacked over packed, of one entry."""

    artifacts: int = 10
    artifact_bytes: int = 20_000_000
    entries: int = 2_000
    reports: int = 200
    report_bytes: int = 10_000_000
    total_bytes: int = 40_000_000
    ratio: int = 200


@dataclass(frozen=True)
class Artifact:
    id: int
    name: str
    size: int
    expired: bool


def worth_reading(artifacts: Iterable[Artifact], caps: Caps) -> list[Artifact]:
    """Those that may hold reports: named like it first, then small ones first."""
    fit = [a for a in artifacts if not a.expired and 0 < a.size <= caps.artifact_bytes]
    return sorted(fit, key=lambda a: (not _LOOKS_LIKE_REPORTS.search(a.name), a.size))[: caps.artifacts]


def read_reports(archive: bytes, prefix: str, caps: Caps) -> tuple[Report, ...]:
    """Its JUnit files in the archive's order, named ``prefix/path``. What breaks a cap is left out; too many entries, and all of it is."""
    reports: list[Report] = []
    total = 0
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            entries = opened.infolist()
            if len(entries) > caps.entries:
                return ()
            for entry in entries:
                if len(reports) >= caps.reports or not _may_be_report(entry, caps):
                    continue
                total += entry.file_size  # zipfile never unpacks more than that, and broken entries cost time too
                if total > caps.total_bytes:
                    break
                content = _read(opened, entry)
                if content and is_junit(content):
                    reports.append(Report(safe_name(f"{prefix}/{entry.filename}"), content))
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError):
        pass  # the entries that were read before it broke are as good as any
    return tuple(reports)


def is_junit(content: bytes) -> bool:
    """Whether the first element is one of JUnit's, not that it is well-formed."""
    opening = re.search(rb"<([A-Za-z_][\w.\-]*)", content[:4096])
    return opening is not None and opening.group(1) in (b"testsuites", b"testsuite")


def safe_name(name: str) -> str:
    """A relative path of plain characters, without ``..``, at most 200 long."""
    parts = [_UNFIT.sub("_", part) for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return "/".join(parts)[-200:].lstrip("/") or "report.xml"


def _may_be_report(entry: zipfile.ZipInfo, caps: Caps) -> bool:
    if entry.is_dir() or not entry.filename.lower().endswith(".xml") or entry.flag_bits & 1:
        return False
    return entry.file_size <= caps.report_bytes and entry.file_size <= caps.ratio * max(entry.compress_size, 1)


def _read(opened: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes | None:
    try:
        return opened.read(entry)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError):
        return None
