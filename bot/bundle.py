"""The file of a proof bundle: named contents <-> one .tar.gz, the same bytes for the same contents. Reading trusts nothing in it."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bot import BotError
from sandbox.limits import MIB

FORMAT = 1
PROOF, STATEMENT, ENVELOPE, TREE = "proof.json", "statement.json", "statement.dsse.json", "tree.bundle"
MAX_ARCHIVE = 96 * MIB
MAX_CONTENT = 128 * MIB
MAX_FILES = 100
_MAX_JSON = 16 * MIB
_NAME = re.compile(r"(proof\.json|statement(\.dsse)?\.json|patch\.diff|(before|after)\.xml|tree\.bundle|logs/[a-z0-9][a-z0-9._-]{0,60})\Z")
_UNLISTED = frozenset({PROOF, STATEMENT, ENVELOPE})
"""Not among the hashes of ``proof.json``: itself, and what is made from it."""


class DamagedBundle(BotError):
    """The file is no proof bundle, or not as it was written; one sentence."""


@dataclass(frozen=True)
class Bundle:
    """A bundle whose parts fit together: ``proof`` is ``proof.json`` (schema: ``bot/proof.schema.json``), ``files`` are all its files."""

    proof: Mapping[str, Any]
    files: Mapping[str, bytes]
    sha256: str


def pack(files: Mapping[str, bytes]) -> bytes:
    """One archive: names in order, no owner, no time."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(files):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(files[name]), 0o644
            tar.addfile(member, io.BytesIO(files[name]))
    return gzip.compress(buffer.getvalue(), mtime=0)


def listing(files: Mapping[str, bytes]) -> dict[str, dict[str, object]]:
    """The hashes of the files that stand in ``proof.json``."""
    return {name: {"sha256": sha256(data), "bytes": len(data)} for name, data in sorted(files.items()) if name not in _UNLISTED}


def read_bundle(path: Path) -> Bundle:
    """Read and check a bundle; nothing is written to disk. Raises DamagedBundle."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_ARCHIVE + 1)
    except OSError as error:
        raise DamagedBundle(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > MAX_ARCHIVE:
        raise DamagedBundle(f"{path} is larger than {MAX_ARCHIVE // MIB} MB: it is no proof bundle")
    files = unpack(data)
    proof = _read_proof(files)
    listed = proof["files"]
    for name in listed.keys() | (files.keys() - _UNLISTED):
        if name not in files:
            raise DamagedBundle(f"the bundle is damaged: {name} is missing")
        if name not in listed or listed[name]["sha256"] != sha256(files[name]):
            raise DamagedBundle(f"the bundle is damaged: {name} is not the file that proof.json names (hash mismatch)")
    if proof["patch"]["complete"] and proof["patch"]["sha256"] != sha256(files["patch.diff"]):
        raise DamagedBundle("the bundle is damaged: patch.diff is not the patch that was verified (hash mismatch)")
    _check_statement(files)
    return Bundle(proof, files, sha256(data))


def unpack(data: bytes) -> dict[str, bytes]:
    """The files of an archive by name: only regular files with the names that a bundle has, each once. Raises DamagedBundle."""
    unzipping = zlib.decompressobj(wbits=31)
    try:
        content = unzipping.decompress(data, MAX_CONTENT + 1)
    except zlib.error:
        raise DamagedBundle("the bundle is damaged: it cannot be unzipped") from None
    if len(content) > MAX_CONTENT:
        raise DamagedBundle(f"the bundle holds more than {MAX_CONTENT // MIB} MB: it is not read")
    if not unzipping.eof or unzipping.unused_data:
        raise DamagedBundle("the bundle is damaged: it does not end where it should")
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
            for member in tar:
                if member.type != tarfile.REGTYPE or not _NAME.match(member.name):
                    raise DamagedBundle(f"the bundle holds {ascii(member.name)[:80]}, which no proof bundle has")
                if member.name in files or len(files) == MAX_FILES:
                    raise DamagedBundle("the bundle holds a file twice, or too many files")
                source = tar.extractfile(member)
                files[member.name] = source.read() if source is not None else b""
                if len(files[member.name]) != member.size:
                    raise DamagedBundle(f"the bundle is damaged: {member.name} is cut short")
    except (tarfile.TarError, ValueError, EOFError, OverflowError) as error:
        raise DamagedBundle(f"the bundle is damaged: it is no tar archive ({type(error).__name__})") from None
    return files


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@cache
def schema() -> dict[str, Any]:
    """The JSON schema of ``proof.json``."""
    found: dict[str, Any] = json.loads(Path(__file__).with_name("proof.schema.json").read_text(encoding="utf-8"))
    return found


def _read_proof(files: Mapping[str, bytes]) -> dict[str, Any]:
    import jsonschema

    proof = _json(files, PROOF)
    number = proof.get("format")
    if isinstance(number, int) and number > FORMAT:
        raise DamagedBundle(f"the bundle has the format {number}, and this ledexbot reads {FORMAT}: install a newer one")
    errors = sorted(jsonschema.Draft202012Validator(schema()).iter_errors(proof), key=lambda e: list(map(str, e.absolute_path)))
    if errors:
        where = ".".join(map(str, errors[0].absolute_path)) or PROOF
        raise DamagedBundle(f"the bundle is damaged: {ascii(where)[:120]} in proof.json is missing something or is of the wrong kind")
    if any("\n" in proof[name] for name in ("head_sha", "base_sha", "repository")):  # `$` of a pattern stands before a last line end too
        raise DamagedBundle("the bundle is damaged: a name in proof.json holds a line end")
    return proof


def _check_statement(files: Mapping[str, bytes]) -> None:
    """The statement is about this proof, and the signed one is the same."""
    try:
        said = {c.get("name"): c["digest"].get("sha256") for c in _json(files, STATEMENT)["predicate"]["configuration"]}
    except (KeyError, TypeError, AttributeError):
        said = {}
    if said.get(PROOF) != sha256(files[PROOF]):
        raise DamagedBundle("the bundle is damaged: statement.json is about another proof.json (hash mismatch)")


def _json(files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    try:
        if len(files[name]) > _MAX_JSON:
            raise ValueError
        found = json.loads(files[name])
    except KeyError:
        raise DamagedBundle(f"the bundle is damaged: {name} is missing") from None
    except (ValueError, RecursionError):
        raise DamagedBundle(f"the bundle is damaged: {name} is no JSON") from None
    if not isinstance(found, dict):
        raise DamagedBundle(f"the bundle is damaged: {name} is no JSON object")
    return found
