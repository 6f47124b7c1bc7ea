"""The proof bundle: its format, its statement and signature, what is left out of it, and how the App writes it."""

from __future__ import annotations

import base64
import gzip
import io
import json
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from bot import attestation, bundle
from bot.attestation import SigningFailed
from bot.bundle import read_bundle
from bot.bundled_code import bundle_of, patched_tree, unbundle
from bot.demo.emulator import script
from bot.demo.stage import Stage, stage
from bot.junit import write_junit
from bot.models import FixRow
from bot.policy import LearningPolicy, RepositoryPolicy
from bot.proof import Code, proof_files, read_code, write_bundle
from bot.replay import check_signature
from bot.telling import proof_reply
from inference.outcome import Outcome
from inference.patch import unified_diff
from inference.policy import EnvironmentPolicy
from inference.repair import RepairRequest
from sandbox.frameworks.junit import read_junit
from sandbox.report import Failure, TestReport
from tests.bot.proofs import AFTER, BEFORE, BEST, FAILURE, PATCH, VERDICT, facts
from tests.git_repository import GitRepository

GOLDEN = Path(__file__).parent / "fixtures"
TREE = "e" * 40
CANARIES = ("ghs_" + "c4" * 18, "ghs_123456_eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiIxMjM0NTYifQ.c2lnbmF0dXJlLWNhbmFyeQ")


def steady(data: bytes) -> dict[str, Any]:
    """Without what depends on the machine and the version."""
    found: dict[str, Any] = json.loads(data)
    if "versions" in found:
        found["versions"] |= {"ledexbot": "0", "host_python": "3"}
    else:
        found["predicate"]["configuration"][0]["digest"] = {}
    return found


@pytest.mark.parametrize("name", ["proof.json", "statement.json"])
def test_the_format_is_that_of_the_golden_file(name: str) -> None:
    assert steady(proof_files(facts(), Code(patched_tree=TREE))[name]) == json.loads((GOLDEN / name).read_text(encoding="utf-8"))


def test_the_golden_file_fits_the_shipped_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(bundle.schema())
    jsonschema.validate(json.loads((GOLDEN / "proof.json").read_text(encoding="utf-8")), bundle.schema())


def test_the_same_facts_make_the_same_bytes() -> None:
    assert bundle.pack(proof_files(facts(), Code())) == bundle.pack(dict(reversed(proof_files(facts(), Code()).items())))


def test_an_archive_names_no_owner_and_no_time() -> None:
    data = bundle.pack(proof_files(facts(), Code()))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = tar.getmembers()
    assert [m.name for m in members] == sorted(m.name for m in members)
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in members} == {(0, 0, 0, "", "")}
    assert data[4:8] == b"\0\0\0\0"


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write_bundle(facts(), tmp_path / "proofs" / "17.tar.gz")
    found = read_bundle(tmp_path / "proofs" / "17.tar.gz")
    assert found.files["patch.diff"] == PATCH
    assert found.proof["verdict"] == VERDICT.to_json()
    assert found.proof["failing"] == [FAILURE.test_id]


def test_only_the_server_can_read_a_bundle_and_nothing_else_is_left_beside_it(tmp_path: Path) -> None:
    write_bundle(facts(), tmp_path / "17.tar.gz")
    assert [f.name for f in tmp_path.iterdir()] == ["17.tar.gz"]
    assert stat.S_IMODE((tmp_path / "17.tar.gz").stat().st_mode) == 0o600


def test_the_reports_hold_every_test_before_and_after() -> None:
    files = proof_files(facts(), Code())
    assert read_junit(files["before.xml"]).outcomes == BEFORE.outcomes
    assert read_junit(files["after.xml"]).outcomes == AFTER.outcomes
    assert read_junit(files["before.xml"]).failures[0].message == FAILURE.message


@given(st.dictionaries(st.text(min_size=1), st.sampled_from(["passed", "failed", "error", "skipped"]), max_size=5), st.text())
def test_any_test_id_and_message_makes_xml_that_can_be_read(outcomes: dict[str, Any], text: str) -> None:
    report = TestReport(outcomes, tuple(Failure(test, text, text, (), text) for test in outcomes))
    found = read_junit(write_junit(report, "before"))
    assert found.complete
    assert len(found.failed) <= len(report.failed)


def test_a_long_log_is_cut_and_its_whole_hash_is_kept() -> None:
    run = facts().run
    long = replace(run, jobs=(replace(run.jobs[0], log="line\n" * 200_000),))
    files = proof_files(facts(run=long), Code())
    [entry] = [e for e in json.loads(files["proof.json"])["logs"] if e["job"]]
    assert len(files[entry["name"]]) < 300_000
    assert (entry["bytes"], entry["truncated"]) == (1_000_000, True)
    assert entry["sha256"] == bundle.sha256(b"line\n" * 200_000)


# No secrets


@pytest.mark.parametrize("token", CANARIES)
def test_no_token_reaches_any_file(token: str, tmp_path: Path) -> None:
    failure = replace(FAILURE, message=f"got {token}", text=f"Authorization: bearer {token}", test_id=f"test_shop.py::test[{token}]")
    report = TestReport({failure.test_id: "failed"}, (failure,))
    plain = facts()
    verdict = replace(VERDICT, report=report, output=f"env {token}", checks=(replace(VERDICT.checks[0], detail=f"uses {token}"),))
    best = replace(BEST, verdict=verdict, explanation=f"see {token}", patch=PATCH.replace(b"min(prices)", token.encode()))
    assert plain.outcome.reproduction is not None
    outcome = replace(
        plain.outcome, proposals=(best,), test_command=f"TOKEN={token} pytest",
        reproduction=replace(plain.outcome.reproduction, failing=(failure.test_id,), output=f"::mask::{token}", report=report))  # fmt: skip
    run = replace(plain.run, workflow=f"CI {token}", jobs=(replace(plain.run.jobs[0], name=f"job {token}", log=f"remote: {token}\n" * 9),))
    policy = RepositoryPolicy(environment=EnvironmentPolicy(variables={"TOKEN": token}, setup=(f"pip login {token}",)))
    write_bundle(replace(plain, run=run, best=best, outcome=outcome, policy=policy), tmp_path / "p.tar.gz")
    found = read_bundle(tmp_path / "p.tar.gz")
    assert {name for name, data in found.files.items() if token.encode() in data} == set()
    assert token.encode() not in gzip.decompress((tmp_path / "p.tar.gz").read_bytes())
    assert found.proof["patch"]["complete"] is False


def test_no_code_is_in_a_bundle_unless_the_policy_shares_it(tmp_path: Path) -> None:
    repository, head, base = commits(tmp_path)
    private = facts(repository=repository.folder, base_sha=base, pull=replace(facts().pull, head_sha=head))
    assert read_code(private).bundle is None
    assert "share_code" in read_code(private).reason
    shared = replace(private, policy=RepositoryPolicy(learning=LearningPolicy(share_code=True)))
    assert read_code(shared).bundle is not None


# Code


def commits(folder: Path) -> tuple[GitRepository, str, str]:
    """A repository with a history, its base and its head."""
    repository = GitRepository(folder / "shop").files({"secret-of-old.txt": "once\n"})
    repository.folder.mkdir(exist_ok=True)
    repository.commit().git("rm", "-q", "secret-of-old.txt")
    base = repository.files({"shop.py": b"    return min(prices)\n"}).commit().git("rev-parse", "HEAD")
    head = repository.files({"shop.py": b"    return max(prices)\n"}).commit().git("rev-parse", "HEAD")
    return repository, head, base


def test_the_code_is_two_commits_and_nothing_of_their_history(tmp_path: Path) -> None:
    repository, head, base = commits(tmp_path)
    unbundle(bundle_of(repository.folder, head, base), tmp_path / "out", head, base)
    out = GitRepository(tmp_path / "out")
    assert out.git("show", f"{head}:shop.py") == "return max(prices)"
    assert out.git("show", f"{base}:shop.py") == "return min(prices)"
    kinds = out.git("cat-file", "--batch-all-objects", "--batch-check=%(objecttype)").split()
    assert kinds.count("commit") == 2
    assert "once" not in out.git("grep", "-h", "", head, base)


def test_the_tree_that_was_tested_is_named_as_git_names_it(tmp_path: Path) -> None:
    repository, head, base = commits(tmp_path)
    before = repository.git("count-objects")
    assert patched_tree(repository.folder, head, PATCH) == repository.git("rev-parse", f"{base}^{{tree}}")
    assert repository.git("count-objects") == before


# Statement


def test_a_statement_is_about_the_patched_tree_not_about_the_head() -> None:
    said = json.loads(proof_files(facts(), Code(patched_tree=TREE))["statement.json"])
    assert said["_type"] == "https://in-toto.io/Statement/v1"
    assert said["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert [s["digest"] for s in said["subject"]] == [{"sha256": bundle.sha256(PATCH)}, {"gitTree": TREE}]


@pytest.mark.parametrize(
    ("outcomes", "result"),
    [({"a": "passed", "b": "skipped"}, "PASSED"), ({"a": "xpassed"}, "WARNED"), ({"a": "passed", "b": "error"}, "FAILED"), ({}, "FAILED")],
)
def test_the_result_of_a_statement_is_that_of_the_whole_run(outcomes: dict[str, Any], result: str) -> None:
    assert attestation.statement(TestReport(outcomes), b"", b"", None, {})["predicate"]["result"] == result


def keys(folder: Path) -> tuple[Path, Path]:
    """A new pair: the private key's file, the public key's."""
    key = Ed25519PrivateKey.generate()
    private, public = folder / "private.pem", folder / "public.pem"
    private.write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))  # fmt: skip
    public.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


def test_what_is_signed_is_the_encoding_of_dsse() -> None:
    # The example of the DSSE specification.
    assert attestation.encoded("http://example.com/HelloWorld", b"hello world") == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_a_signed_bundle_is_believed_with_its_key_only(tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    write_bundle(facts(), tmp_path / "p.tar.gz", private)
    found = read_bundle(tmp_path / "p.tar.gz")
    check_signature(found, public)
    (tmp_path / "other").mkdir()
    with pytest.raises(SigningFailed, match="no signature"):
        check_signature(found, keys(tmp_path / "other")[1])


def test_a_signature_on_another_statement_is_refused(tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    write_bundle(facts(), tmp_path / "p.tar.gz", private)
    found = read_bundle(tmp_path / "p.tar.gz")
    other = attestation.sign(b"{}", private)
    with pytest.raises(SigningFailed, match="not the one in the bundle"):
        check_signature(replace(found, files={**found.files, "statement.dsse.json": other}), public)
    envelope = json.loads(found.files["statement.dsse.json"])
    envelope["payload"] = base64.b64encode(b"{}").decode()
    with pytest.raises(SigningFailed, match="no signature"):
        check_signature(replace(found, files={**found.files, "statement.dsse.json": json.dumps(envelope).encode()}), public)


def test_a_key_that_is_none_is_one_sentence_without_its_content(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("top secret")
    with pytest.raises(SigningFailed, match=r"key\.pem holds no private key") as caught:
        write_bundle(facts(), tmp_path / "p.tar.gz", tmp_path / "key.pem")
    assert "top secret" not in str(caught.value)


# The App

SHOP = "def cheapest(prices):\n    return min(prices)\n"
BROKEN = SHOP.replace("min(prices)", "max(prices)")
FIX = unified_diff({"shop.py": (BROKEN.encode(), SHOP.encode())})
LOG = (
    f"remote token {CANARIES[1]}\n============================= test session starts ==============================\ncollected 1 item\n"
    "=========================== short test summary info ============================\n"
    "FAILED test_shop.py::test_cheapest - assert 3 == 1\n"
    "============================== 1 failed in 0.02s ===============================\n"
    "##[error]Process completed with exit code 1.\n"
)


@dataclass(frozen=True)
class Posted:
    stage: Stage
    fix: FixRow
    comments: list[str]
    found: bundle.Bundle


@pytest.fixture(scope="module")
def posted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Posted]:
    """A fix that was posted and asked about, with a stand-in for the repair."""

    def repair(request: RepairRequest) -> Outcome:
        best = replace(BEST, patch=FIX)
        return replace(facts().outcome, proposals=(best,))

    with stage(tmp_path_factory.mktemp("stage"), extra={"repair": repair}) as running:
        files = {"shop.py": SHOP, "test_shop.py": "", ".github/ledex.toml": "[learning]\nshare_code = true\n"}
        repository = script.add_repository(running.emulator, "octo/shop", files, writers=("maintainer",))
        pull = script.open_pull_request(running.emulator, repository, "cheap", {"shop.py": BROKEN})
        script.fail_run(running.emulator, pull, [script.CiJob("test", LOG)])
        running.settle(60)
        script.comment(running.emulator, pull, "/ledex proof", by="maintainer")
        running.settle(60)
        with running.context.database.reading() as session:
            fix = session.scalars(select(FixRow)).one()
            session.expunge(fix)
        assert fix.proof_path is not None
        found = read_bundle(running.context.settings.data_dir / fix.proof_path)
        yield Posted(running, fix, [c.body for c in script.comments_of(running.emulator, pull)], found)


def test_a_posted_fix_has_a_bundle_named_after_its_run(posted: Posted) -> None:
    assert posted.fix.proof_path == f"proofs/{posted.fix.run_id}.tar.gz"
    assert posted.found.files["patch.diff"] == FIX
    assert posted.found.proof["head_sha"] == posted.fix.head_sha


def test_the_bundle_of_a_repository_that_shares_its_code_holds_both_commits(posted: Posted, tmp_path: Path) -> None:
    proof = posted.found.proof
    unbundle(posted.found.files["tree.bundle"], tmp_path / "out", proof["head_sha"], proof["base_sha"])
    assert GitRepository(tmp_path / "out").git("show", f"{proof['head_sha']}:shop.py") == BROKEN.strip()


def test_the_comment_says_how_to_run_the_proof_again(posted: Posted) -> None:
    assert f"ledex replay {posted.fix.run_id}.tar.gz\n" in posted.comments[0]


def test_the_command_proof_is_answered_with_the_facts_and_the_hash_of_the_bundle(posted: Posted) -> None:
    reply = posted.comments[-1]
    assert posted.found.sha256 in reply
    assert bundle.sha256(FIX) in reply
    assert "1 failed of 3 before, 0 of 3 after" in reply
    assert str(posted.stage.context.settings.data_dir) not in reply


def test_a_bundle_that_is_gone_is_not_told_from() -> None:
    reply = proof_reply("V4", "a" * 40, "proofs/17.tar.gz", None, "")
    assert reply.startswith("Verified V4 on `aaaaaaaaaaaa`. Its proof bundle is not kept any more")


def test_a_token_in_the_log_of_ci_is_not_in_the_bundle(posted: Posted) -> None:
    assert not [name for name, data in posted.found.files.items() if CANARIES[1].encode() in data]
    assert "logs/ci-1.txt" in posted.found.files
