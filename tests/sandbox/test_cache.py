"""The cache of environments: isolation by name, leases, eviction, and what a hostile build may leave."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from sandbox import EnvironmentFailed
from sandbox.cache import EnvironmentCache, Slot, disk_usage, remove_escaping, seal


@pytest.fixture
def cache(tmp_path: Path) -> EnvironmentCache:
    return EnvironmentCache(tmp_path / "cache", 1_000_000)


def publish(cache: EnvironmentCache, slot: Slot, size: int = 1000, used: float | None = None) -> None:
    """One finished entry of ``size`` bytes, last used at ``used``."""
    with cache.building() as folder:
        (folder / "env").mkdir()
        (folder / "env" / "file").write_bytes(os.urandom(size))
        seal(folder / "env")
        cache.publish(folder, slot, {})
    if used is not None:
        os.utime(slot.folder / "entry.json", (used, used))


def test_other_repositories_and_trust_levels_have_other_places(cache: EnvironmentCache) -> None:
    slots = [cache.slot(repository, trust, "k") for repository in ("a/b", "a/c", "../a/b") for trust in ("local", "fork", "../x")]
    slots += [cache.downloads(repository, trust) for repository in ("a/b", "a/c") for trust in ("local", "fork")]
    slots += [*cache.tools("k")]
    assert len({s.folder for s in slots}) == len({s.lock for s in slots}) == len(slots)
    assert all(s.folder.resolve().is_relative_to(cache.folder) and s.lock.parent == cache.folder / "locks" for s in slots)


def test_an_entry_appears_whole_or_not_at_all(cache: EnvironmentCache) -> None:
    slot = cache.slot("a/b", "local", "k")
    with cache.building() as folder:
        (folder / "env").mkdir()
    assert slot.read() is None
    assert list((cache.folder / "building").iterdir()) == []
    publish(cache, slot)
    assert (slot.read() or {})["bytes"] >= 1000


def test_eviction_takes_what_was_unused_longest_and_never_what_is_in_use(cache: EnvironmentCache) -> None:
    now = time.time()
    slots = [cache.slot("a/b", "local", f"k{n}") for n in range(4)]
    for number, slot in enumerate(slots):
        publish(cache, slot, 400_000, now - 1000 + number)
    held = cache.lease(slots[0], exclusive=False, timeout=0)
    assert held is not None
    assert cache.evict() == 2
    assert [slot.read() is not None for slot in slots] == [True, False, False, True]
    held.release()
    cache.limit_bytes = 500_000
    assert cache.evict() == 1
    assert [slot.read() is not None for slot in slots] == [False, False, False, True]
    assert list((cache.folder / "deleting").iterdir()) == []


def test_a_lease_ends_with_what_holds_it(cache: EnvironmentCache) -> None:
    slot = cache.slot("a/b", "local", "k")
    held = cache.lease(slot, exclusive=True, timeout=0)
    assert held is not None
    assert cache.lease(slot, exclusive=False, timeout=0.1) is None
    del held
    assert cache.lease(slot, exclusive=False, timeout=0) is not None


def test_two_readers_share_a_lease_and_a_builder_waits(cache: EnvironmentCache) -> None:
    slot = cache.slot("a/b", "local", "k")
    first, second = (cache.lease(slot, exclusive=False, timeout=0) for _ in range(2))
    assert first is not None
    assert second is not None
    assert cache.lease(slot, exclusive=True, timeout=0) is None


def test_a_sealed_build_is_unwritable_without_set_id_bits_pipes_or_sockets(tmp_path: Path) -> None:
    folder = tmp_path / "env"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "tool").write_text("x")
    (folder / "bin" / "tool").chmod(0o6777)
    (folder / "private").write_text("x")
    (folder / "private").chmod(0o600)
    os.mkfifo(folder / "pipe")
    seal(folder)
    assert stat.S_IMODE((folder / "bin" / "tool").stat().st_mode) == 0o555
    assert stat.S_IMODE((folder / "private").stat().st_mode) == 0o444
    assert not (folder / "pipe").exists()


def test_sealing_changes_nothing_behind_links(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("x")
    outside.chmod(0o640)
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "link").symlink_to(outside)
    seal(tmp_path / "env")
    assert stat.S_IMODE(outside.stat().st_mode) == 0o640


def test_links_that_lead_out_of_the_artifacts_are_removed(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    links = {"absolute": "/etc/passwd", "inner/up": "../../secret", "inner/down": "fine", "ok": "inner/down", "n\nl": "/"}
    for name, target in links.items():
        (tmp_path / name).symlink_to(target)
    assert sorted(remove_escaping(tmp_path)) == ["absolute", "inner/up", "n\nl"]
    assert (tmp_path / "ok").is_symlink()
    assert not (tmp_path / "absolute").is_symlink()


def test_a_folder_too_deep_for_python_is_measured_sealed_and_deleted(cache: EnvironmentCache) -> None:
    slot = cache.slot("a/b", "local", "k")
    with cache.building() as folder:
        (folder / "env").mkdir()
        current = os.open(folder / "env", os.O_RDONLY)
        for _ in range(3000):
            os.mkdir("d", dir_fd=current)
            inner = os.open("d", os.O_RDONLY, dir_fd=current)
            os.close(current)
            current = inner
        os.close(current)
        seal(folder / "env")
        cache.publish(folder, slot, {})
    assert disk_usage(slot.folder) > 3000
    cache.delete(slot.folder)
    assert not slot.folder.exists()
    assert list((cache.folder / "deleting").iterdir()) == []


def test_a_cache_folder_of_another_kind_is_refused_with_the_way_out(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    with pytest.raises(EnvironmentFailed, match="LEDEX_SANDBOX_CACHE_FOLDER"):
        EnvironmentCache(tmp_path / "link", 0)


def test_the_cache_folder_is_closed_to_other_users(cache: EnvironmentCache) -> None:
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700
