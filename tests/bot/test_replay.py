"""``ledex replay``: proofs that hold and that do not in a real sandbox, and bundles that are damaged or hostile."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bot import bundle
from bot.bundle import DamagedBundle, read_bundle
from bot.policy import LearningPolicy, RepositoryPolicy
from bot.proof import Code, Facts, proof_files, write_bundle
from inference.patch import unified_diff
from inference.policy import EnvironmentPolicy
from inference.repair import RepairRequest, repair_checkout
from tests.bot.proofs import archive, facts, saved, with_proof
from tests.end_to_end.checkouts import command
from tests.git_repository import GitRepository

SHOP = "def total(prices):\n    return sum(prices)\n\n\ndef cheapest(prices):\n    return min(prices)\n"
TESTS = (
    "from shop import cheapest, total\n\n\ndef test_total():\n    assert total([1, 2]) == 3\n\n\n"
    "def test_cheapest():\n    assert cheapest([3, 1, 2]) == 1\n    assert cheapest([2, 9]) == 2\n"
)
BROKEN = SHOP.replace("min(prices)", "max(prices)")
POLICY = RepositoryPolicy(
    environment=EnvironmentPolicy(variables={"PYTEST_ADDOPTS": "-p no:hypothesispytest"}), learning=LearningPolicy(share_code=True)
)


@dataclass(frozen=True)
class Proven:
    """A repair that really happened, its bundle, and the checkout that it was made in."""

    facts: Facts
    file: Path
    repository: GitRepository


@pytest.fixture(scope="module")
def proven(tmp_path_factory: pytest.TempPathFactory) -> Proven:
    folder = tmp_path_factory.mktemp("proven")
    (folder / "shop").mkdir()
    repository = GitRepository(folder / "shop").files({"shop.py": SHOP, "test_shop.py": TESTS}).commit()
    base = repository.git("rev-parse", "HEAD")
    head = repository.files({"shop.py": BROKEN}).commit().git("rev-parse", "HEAD")
    outcome = repair_checkout(
        RepairRequest(repository.folder, head=head, base=base, python=Path(sys.executable), budget=30.0, policy=POLICY))  # fmt: skip
    assert outcome.best is not None, outcome.reason
    plain = facts()
    pull, run = replace(plain.pull, head_sha=head), replace(plain.run, head_sha=head)
    whole = Facts(17, run, pull, base, outcome, outcome.best, POLICY, plain.made_at, repository.folder)
    write_bundle(whole, folder / "17.tar.gz")
    return Proven(whole, folder / "17.tar.gz", repository)


def replayed(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """``ledex replay`` in a process of its own, with this suite's interpreter for the project's tests."""
    return command("replay", *arguments, "--python", sys.executable)


def test_what_a_repair_saw_is_in_its_bundle(proven: Proven) -> None:
    found = read_bundle(proven.file)
    assert found.proof["failing"] == ["test_shop.py::test_cheapest"]
    assert found.proof["versions"]["python"] == ".".join(map(str, sys.version_info[:2]))
    assert found.proof["versions"]["pytest"] == pytest.__version__
    assert found.proof["environment"]["lock_hash"]
    assert b"assert 3 == 1" in found.files["before.xml"]
    said = json.loads(found.files["statement.json"])["predicate"]
    assert (said["result"], said["passedTests"]) == ("PASSED", ["test_shop.py::test_total", "test_shop.py::test_cheapest"])


def test_a_proof_that_holds_exits_with_0_from_the_bundle_alone(proven: Proven) -> None:
    done = replayed(proven.file)
    assert done.returncode == 0, done.stderr.decode()
    assert b"Still holds" in done.stdout
    assert b"1 of 1 failing tests pass" in done.stdout


def test_a_bundle_without_code_is_run_from_a_checkout_that_stays_as_it_is(proven: Proven, tmp_path: Path) -> None:
    private = replace(proven.facts, policy=POLICY.model_copy(update={"learning": LearningPolicy()}))
    write_bundle(private, tmp_path / "17.tar.gz")
    before = proven.repository.git("status", "--porcelain"), proven.repository.git("count-objects")
    done = replayed(tmp_path / "17.tar.gz", "--repository", proven.repository.folder)
    assert done.returncode == 0, done.stderr.decode()
    assert (proven.repository.git("status", "--porcelain"), proven.repository.git("count-objects")) == before


def test_a_patch_that_repairs_nothing_does_not_hold(proven: Proven, tmp_path: Path) -> None:
    wrong = unified_diff({"shop.py": (BROKEN.encode(), BROKEN.replace("max(prices)", "prices[0]").encode())})
    write_bundle(replace(proven.facts, best=replace(proven.facts.best, patch=wrong)), tmp_path / "17.tar.gz")
    done = replayed(tmp_path / "17.tar.gz")
    assert done.returncode == 1, done.stderr.decode()
    assert b"Does not hold" in done.stdout
    assert b"test_shop.py::test_cheapest still fails" in done.stdout


def test_a_failure_that_is_not_there_does_not_hold(proven: Proven, tmp_path: Path) -> None:
    green = replace(proven.facts, pull=replace(proven.facts.pull, head_sha=proven.facts.base_sha))
    write_bundle(green, tmp_path / "17.tar.gz")
    done = replayed(tmp_path / "17.tar.gz", "--repository", proven.repository.folder)
    assert done.returncode == 1, done.stderr.decode()
    assert b"the failure is not there any more: all 2 tests pass" in done.stdout


def test_a_command_that_a_forger_put_in_runs_only_inside_the_sandbox(proven: Proven, tmp_path: Path) -> None:
    mark = tmp_path / "escaped"

    def forge(proof: dict[str, Any]) -> None:
        proof["policy"]["environment"]["test"] = f"touch {mark}; exit 1"

    done = replayed(saved(tmp_path, bundle.pack(with_proof(read_bundle(proven.file).files, forge))))
    assert done.returncode == 1, done.stderr.decode()
    assert not mark.exists()


# Wrong use


def test_a_bundle_without_code_asks_for_a_checkout(tmp_path: Path) -> None:
    done = replayed(saved(tmp_path, bundle.pack(proof_files(facts(), Code()))))
    assert done.returncode == 2
    assert b"name a checkout of octo/shop that has its commits with --repository" in done.stderr


def test_a_checkout_without_the_commits_is_told_how_to_get_them(tmp_path: Path, proven: Proven) -> None:
    file = saved(tmp_path, bundle.pack(proof_files(facts(), Code())))
    done = replayed(file, "--repository", proven.repository.folder)
    assert done.returncode == 2
    assert b"git fetch origin pull/7/head" in done.stderr


def test_an_unsigned_bundle_is_refused_where_a_key_is_asked_for(tmp_path: Path) -> None:
    done = replayed(saved(tmp_path, bundle.pack(proof_files(facts(), Code()))), "--key", tmp_path / "public.pem")
    assert (done.returncode, done.stderr) == (2, b"ledex: the bundle is not signed\n")


def test_a_patch_with_a_credential_taken_out_is_not_run(tmp_path: Path) -> None:
    plain = facts()
    file = saved(tmp_path, bundle.pack(proof_files(replace(plain, best=replace(plain.best, patch=b"+ghs_" + b"c4" * 18)), Code())))
    done = replayed(file)
    assert done.returncode == 2
    assert b"a credential was taken out of the patch" in done.stderr


def test_a_file_that_is_not_there_is_wrong_use(tmp_path: Path) -> None:
    done = replayed(tmp_path / "none.tar.gz")
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1


# Damaged and hostile bundles


def sound() -> dict[str, bytes]:
    return proof_files(facts(), Code())


def test_a_damaged_bundle_exits_with_2_and_one_sentence(tmp_path: Path) -> None:
    done = replayed(saved(tmp_path, bundle.pack({**sound(), "patch.diff": b"another patch\n"})))
    assert done.returncode == 2
    assert b"the bundle is damaged: patch.diff is not the file that proof.json names (hash mismatch)\n" in done.stderr


@pytest.mark.parametrize("name", ["patch.diff", "before.xml", "after.xml", "logs/before.txt", "proof.json", "statement.json"])
def test_a_changed_file_is_noticed(name: str, tmp_path: Path) -> None:
    files = sound()
    changed = files[name].replace(b"octo/shop", b"octo/sh0p") if name.endswith(".json") else files[name] + b" "
    assert changed != files[name]
    if name == "statement.json":
        changed = files[name].replace(bundle.sha256(files["proof.json"]).encode(), b"0" * 64)
    with pytest.raises(DamagedBundle, match="hash mismatch"):
        read_bundle(saved(tmp_path, bundle.pack({**files, name: changed})))


@pytest.mark.parametrize("name", ["patch.diff", "before.xml", "proof.json", "statement.json"])
def test_a_missing_file_is_noticed(name: str, tmp_path: Path) -> None:
    with pytest.raises(DamagedBundle, match="is missing"):
        read_bundle(saved(tmp_path, bundle.pack({n: data for n, data in sound().items() if n != name})))


def test_a_file_that_the_proof_does_not_name_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(DamagedBundle, match=r"tree\.bundle"):
        read_bundle(saved(tmp_path, bundle.pack({**sound(), "tree.bundle": b"x"})))


def link(kind: bytes, name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


@pytest.mark.parametrize(
    "member",
    [
        (tarfile.TarInfo("../escaped"), b"x"), (tarfile.TarInfo("/tmp/escaped"), b"x"), (tarfile.TarInfo("logs/../../escaped"), b"x"),
        (tarfile.TarInfo("logs/a\nb"), b"x"), (tarfile.TarInfo("patch.diff\n"), b"x"), (tarfile.TarInfo("other.txt"), b"x"),
        link(tarfile.SYMTYPE, "patch.diff", "/etc/passwd"), link(tarfile.LNKTYPE, "patch.diff", "/etc/passwd"),
        link(tarfile.DIRTYPE, "logs", ""), link(tarfile.FIFOTYPE, "patch.diff", ""), link(tarfile.CHRTYPE, "patch.diff", ""),
    ],
    ids=["parent", "absolute", "inner-parent", "line-end", "last-line-end", "unknown", "symlink", "hardlink", "folder", "fifo", "device"],
)  # fmt: skip
def test_an_odd_member_is_refused(member: tuple[tarfile.TarInfo, bytes], tmp_path: Path) -> None:
    with pytest.raises(DamagedBundle, match="which no proof bundle has"):
        read_bundle(saved(tmp_path, archive(member)))
    assert [f.name for f in tmp_path.iterdir()] == ["17.tar.gz"]


def test_a_file_that_comes_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DamagedBundle, match="twice"):
        read_bundle(saved(tmp_path, archive((tarfile.TarInfo("patch.diff"), b"one"), (tarfile.TarInfo("patch.diff"), b"two"))))


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    bomb = gzip.compress(b"\0" * (bundle.MAX_CONTENT + 1), compresslevel=9)
    with pytest.raises(DamagedBundle, match="holds more than 128 MB"):
        read_bundle(saved(tmp_path, bomb))


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.pop("head_sha"), lambda p: p.update(head_sha="HEAD"), lambda p: p.update(head_sha="--upload-pack=touch"),
        lambda p: p.update(head_sha="a" * 40 + "\n"), lambda p: p.update(repository="../../etc"), lambda p: p.update(repeats=10**9),
        lambda p: p.update(files=[]), lambda p: p["verdict"].update(level="V9"), lambda p: p.update(failing=[7]),
    ],
)  # fmt: skip
def test_a_proof_with_other_fields_than_its_schema_has_is_refused(change: Callable[[dict[str, Any]], object], tmp_path: Path) -> None:
    with pytest.raises(DamagedBundle):
        read_bundle(saved(tmp_path, bundle.pack(with_proof(sound(), change))))


def test_a_proof_of_a_later_format_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(DamagedBundle, match=r"has the format 2.*install a newer one"):
        read_bundle(saved(tmp_path, bundle.pack(with_proof(sound(), lambda p: p.update(format=2)))))


def test_unknown_fields_of_a_proof_are_kept(tmp_path: Path) -> None:
    found = read_bundle(saved(tmp_path, bundle.pack(with_proof(sound(), lambda p: p.update(later="kept")))))
    assert found.proof["later"] == "kept"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"[" * 100_000, b"\xff", b"null"])
def test_a_proof_that_is_no_object_is_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(DamagedBundle):
        read_bundle(saved(tmp_path, bundle.pack({**sound(), "proof.json": content})))


@pytest.mark.parametrize("cut", [0, 1, 11, 200, -1, -9])
def test_an_archive_that_was_cut_is_refused(cut: int, tmp_path: Path) -> None:
    with pytest.raises(DamagedBundle):
        read_bundle(saved(tmp_path, bundle.pack(sound())[:cut]))


def test_code_that_git_cannot_read_is_a_damaged_bundle(tmp_path: Path) -> None:
    done = replayed(saved(tmp_path, bundle.pack(proof_files(facts(), Code(bundle=b"# v2 git bundle\nno")))))
    assert done.returncode == 2
    assert b"git cannot read tree.bundle" in done.stderr
