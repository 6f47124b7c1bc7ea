"""The proof as an in-toto statement (Statement v1, predicate test-result v0.1), and its DSSE envelope signed with Ed25519.

https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md and https://github.com/secure-systems-lab/dsse
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from bot import BotError
from sandbox.report import TestReport

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://in-toto.io/attestation/test-result/v0.1"
PAYLOAD = "application/vnd.in-toto+json"


class SigningFailed(BotError):
    """The key cannot be used, or a signature is not the key's; one sentence."""


def statement(
    report: TestReport, proof: bytes, patch: bytes, patched_tree: str | None, sources: dict[str, tuple[str, str]]
) -> dict[str, Any]:
    """What the whole run of the patched tree came to.

    The subjects are the patch and, where it is known, the git tree that it makes of the head: neither commit of ``sources``, which are
    (address, commit id) by name, passed these tests as it is. ``result`` is of that run: FAILED also where only tests failed that failed
    before the pull request. Tests that passed against expectation are warnings.
    """
    failed = list(report.failed)
    warned = [test for test, outcome in report.outcomes.items() if outcome == "xpassed"]
    subject: list[dict[str, Any]] = [{"name": "patch.diff", "digest": {"sha256": hashlib.sha256(patch).hexdigest()}}]
    if patched_tree is not None:
        subject.append({"name": "patched-tree", "digest": {"gitTree": patched_tree}})
    configuration: list[dict[str, Any]] = [{"name": "proof.json", "digest": {"sha256": hashlib.sha256(proof).hexdigest()}}]
    for name, (address, commit) in sources.items():
        configuration.append({"name": name, "uri": f"git+{address}@{commit}", "digest": {"gitCommit": commit}})
    return {
        "_type": STATEMENT,
        "subject": subject,
        "predicateType": PREDICATE,
        "predicate": {
            "result": "FAILED" if failed or not report.outcomes else "WARNED" if warned else "PASSED",
            "configuration": configuration,
            "passedTests": list(report.passed),
            "warnedTests": warned,
            "failedTests": failed,
        },
    }


def sign(payload: bytes, key_file: Path) -> bytes:
    """A DSSE envelope of a statement's bytes. ``key_file`` holds an Ed25519 private key in PEM without a password. Raises SigningFailed."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(key_file.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise SigningFailed(f"{key_file} holds no private key that can be read ({type(error).__name__})") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise SigningFailed(f"{key_file} holds no Ed25519 key: make one with `openssl genpkey -algorithm ed25519`")
    signature = {"keyid": _key_id(key.public_key()), "sig": _base64(key.sign(encoded(PAYLOAD, payload)))}
    envelope = {"payload": _base64(payload), "payloadType": PAYLOAD, "signatures": [signature]}
    return json.dumps(envelope, indent=1, sort_keys=True).encode() + b"\n"


def signed_payload(envelope: bytes, key_file: Path) -> bytes:
    """The statement's bytes out of an envelope that the key of ``key_file`` (public, PEM) has signed. Raises SigningFailed."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(key_file.read_bytes())
    except (OSError, ValueError) as error:
        raise SigningFailed(f"{key_file} holds no public key that can be read ({type(error).__name__})") from None
    if not isinstance(key, Ed25519PublicKey):
        raise SigningFailed(f"{key_file} holds no Ed25519 public key")
    try:
        found = json.loads(envelope)
        payload, kind = base64.b64decode(found["payload"], validate=True), str(found["payloadType"])
        signatures = [base64.b64decode(s["sig"], validate=True) for s in found["signatures"][:16]]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise SigningFailed("statement.dsse.json is no DSSE envelope") from None
    for signature in signatures:
        try:
            key.verify(signature, encoded(kind, payload))
        except InvalidSignature:
            continue
        if kind == PAYLOAD:
            return payload
    raise SigningFailed(f"no signature of statement.dsse.json was made with the key of {key_file}")


def encoded(kind: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: what is signed. The lengths count bytes."""
    name = kind.encode()
    return b"DSSEv1 %d %b %d %b" % (len(name), name, len(payload), payload)


def _key_id(key: Any) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
