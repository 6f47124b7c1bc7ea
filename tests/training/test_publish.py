"""Gate, registry, canary and servers; and the loop around them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import httpx
import pytest

from inference.adapters import Registry
from inference.model import ModelError
from inference.trajectory import Feedback, Trajectory, write_trajectories
from tests.training.trajectories import trajectory
from tests.vllm.tiny_model import make_tiny_adapter
from training import DataError, NotPromoted
from training.loop import watch
from training.publish import publish
from training.recipe import read_recipe, shipped_recipes
from training.settings import load_settings
from training.statistics import Interval, Promotion

YES = Promotion(True, "pass@1 is better", {"pass@1": Interval(0.1, 0.05, 0.15)})
NO = Promotion(False, "pass@1 is not better beyond noise", {})


@pytest.fixture(scope="module")
def weights(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("adapters")
    return [make_tiny_adapter(tiny, folder / str(seed), seed) for seed in (1, 2, 3)]


class Bytes(httpx.SyncByteStream):
    """A body that comes from a wire, not one that was read already."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    def __iter__(self) -> Iterator[bytes]:
        yield self.body


class Server:
    """vLLM's two endpoints for adapters and its list of models."""

    def __init__(self, refuses: bool = False) -> None:
        self.names: set[str] = set()
        self.refuses = refuses

    def client(self) -> httpx.Client:
        return httpx.Client(transport=httpx.MockTransport(self.answer), base_url="http://vllm:8000")

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/models":
            models = [{"id": "base", "parent": None, "root": "base"}, *({"id": n, "parent": "base"} for n in sorted(self.names))]
            return self.reply(200, {"object": "list", "data": models})
        name = json.loads(request.content)["lora_name"]
        if request.url.path == "/v1/unload_lora_adapter":
            self.names.discard(name)
        elif self.refuses:
            return self.reply(400, {"error": {"message": "no room", "type": "BadRequest", "code": 400}})
        else:
            self.names.add(name)
        return self.reply(200, "Success")

    def reply(self, status: int, body: object) -> httpx.Response:
        return httpx.Response(status, stream=Bytes(json.dumps(body).encode()), headers={"content-type": "application/json"})


def test_an_adapter_goes_on_trial_and_then_answers_for_all(tmp_path: Path, weights: Sequence[Path]) -> None:
    registry, server = Registry(tmp_path), Server()
    first = publish(registry, weights[0], "ledex", "tiny", YES, promote=True, servers=[server.client()])
    assert registry.states().active == first.card.served_name
    second = publish(registry, weights[1], "ledex", "tiny", YES, servers=[server.client()])
    assert registry.states().canary == second.card.served_name
    assert second.card.parent == first.card.served_name
    assert server.names == {first.card.served_name, second.card.served_name}
    assert second.card.metrics["gate"]["differences"]["pass@1"]["low"] == 0.05
    assert second.card.metrics["forced"] is False


def test_the_gate_stops_what_is_no_better_and_force_is_recorded(tmp_path: Path, weights: Sequence[Path]) -> None:
    registry = Registry(tmp_path)
    for verdict in (NO, None):
        with pytest.raises(NotPromoted, match="not published"):
            publish(registry, weights[0], "ledex", "tiny", verdict)
    assert registry.cards() == ()
    forced = publish(registry, weights[0], "ledex", "tiny", NO, force=True)
    assert forced.card.metrics["forced"] is True


def test_where_a_server_refuses_everything_is_as_before(tmp_path: Path, weights: Sequence[Path]) -> None:
    registry, good, bad = Registry(tmp_path), Server(), Server()
    both = [good.client(), bad.client()]
    first = publish(registry, weights[0], "ledex", "tiny", YES, promote=True, servers=both)
    canary = publish(registry, weights[1], "ledex", "tiny", YES, servers=both)
    bad.refuses = True
    for promote in (False, True):
        with pytest.raises(ModelError, match="no room"):
            publish(registry, weights[2], "ledex", "tiny", YES, promote=promote, servers=both)
        states = registry.states()
        assert (states.active, states.canary) == (first.card.served_name, canary.card.served_name)
        assert good.names == {first.card.served_name, canary.card.served_name}


def test_the_loop_learns_when_enough_is_new_and_goes_on_after_a_kill(tmp_path: Path) -> None:
    inbox, work = tmp_path / "inbox", tmp_path / "work"
    inbox.mkdir()
    slept: list[float] = []
    seen: list[int] = []

    def arrive(seconds: float) -> None:
        slept.append(seconds)
        number = len(slept)
        (inbox / f"{number}.jsonl").write_text("".join(write_trajectories([trajectory(f"{number}-a"), trajectory(f"{number}-b")])) + "{cut")

    def one_round(found: Sequence[Trajectory], folder: Path) -> str:
        seen.append(len(found))
        if len(seen) == 2:
            raise NotPromoted("not better")
        if len(seen) == 3:
            raise DataError("disk full of rubbish")
        return "published"

    state = watch(inbox, work, one_round, least_new=3, most_rounds=1, sleep=arrive)
    assert (seen, len(slept), state.rounds) == ([4], 2, ["published"])
    state = watch(inbox, work, one_round, least_new=3, most_rounds=2, sleep=arrive)
    assert state.rounds == ["published", "not better", "failed: disk full of rubbish"]
    assert seen == [4, 8, 12]


def test_what_people_did_later_is_new_and_silence_is_not(tmp_path: Path) -> None:
    inbox, seen = tmp_path / "inbox", list[dict[str, str]]()
    inbox.mkdir()
    applied = Feedback("applied", 1.0)
    said: dict[str, tuple[Feedback, ...]] = {"a": (applied,), "b": (applied,), "c": (applied,)}
    later: list[dict[str, tuple[Feedback, ...]]] = [
        {"c": (applied, Feedback("stacked", 2.0))}, {"b": (applied, Feedback("ignored", 2.0))},
        {"a": (applied, Feedback("reverted", 2.0))}, {"b": (Feedback("edited", 3.0, edit_distance=0.9),)}]  # fmt: skip

    def export(changes: Mapping[str, tuple[Feedback, ...]] = {}) -> None:
        said.update(changes)
        (inbox / "all.jsonl").write_text("".join(write_trajectories(trajectory(name, feedback=did) for name, did in said.items())))

    def one_round(found: Sequence[Trajectory], folder: Path) -> str:
        seen.append({one.id: one.feedback[-1].kind for one in found})
        return "published"

    export()
    slept: list[float] = []

    def arrive(seconds: float) -> None:
        export(later[len(slept)])
        slept.append(seconds)

    watch(inbox, tmp_path / "work", one_round, least_new=3, most_rounds=1, sleep=arrive)
    watch(inbox, tmp_path / "work", one_round, least_new=1, most_rounds=2, sleep=arrive)
    assert seen[1:] == [{"a": "reverted", "b": "ignored", "c": "stacked"}, {"a": "reverted", "b": "edited", "c": "stacked"}]
    assert len(slept) == 4


def test_a_round_goes_on_in_its_folder_only_with_its_own_data(tmp_path: Path) -> None:
    inbox, folders = tmp_path / "inbox", list[str]()
    inbox.mkdir()
    (inbox / "1.jsonl").write_text("".join(write_trajectories([trajectory("a")])))

    class Killed(BaseException):
        pass

    def killed(found: Sequence[Trajectory], folder: Path) -> str:
        folders.append(folder.name)
        raise Killed

    for name in (None, None, "b"):
        if name is not None:
            (inbox / "2.jsonl").write_text("".join(write_trajectories([trajectory(name)])))
        with pytest.raises(Killed):
            watch(inbox, tmp_path / "work", killed, least_new=1, most_rounds=1)
    assert folders[0] == folders[1] != folders[2]
    assert all(name.startswith("round-1-") for name in folders)


def test_a_round_that_breaks_a_library_ends_no_loop_and_a_damaged_state_is_said(tmp_path: Path) -> None:
    inbox, work = tmp_path / "inbox", tmp_path / "work"
    inbox.mkdir()
    work.mkdir()
    (inbox / "1.jsonl").write_text("".join(write_trajectories([trajectory("a")])))
    (work / "loop.json").write_text('{"learned": ["old"], "rounds": ["published"]}')  # as an earlier version wrote it

    def broken(found: Sequence[Trajectory], folder: Path) -> str:
        raise RuntimeError("CUDA out of memory\nmore")

    assert watch(inbox, work, broken, least_new=1, most_rounds=1).rounds == ["published", "failed: RuntimeError: CUDA out of memory"]
    (work / "loop.json").write_text('{"learned": ')
    with pytest.raises(DataError, match="damaged: delete it"):
        watch(inbox, work, broken, least_new=1, most_rounds=1)


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_is_read_by_its_name(name: str) -> None:
    assert read_recipe(Path(name)).base_model


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('base_model = "x"\n[sft]\nepoch = 1\n', "sft.epoch"),
        ('base_model = "x"\n[sft]\nepochs = "many"\n', "sft.epochs"),
        ("[sft]\n", "base_model"),
        ("base_model =", "no TOML"),
        ('base_model = "x"\n[reward]\nname = "free"\n', "reward.name"),
    ],
)
def test_a_wrong_recipe_names_its_key(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(DataError, match=told):
        read_recipe(tmp_path / "r.toml")
    with pytest.raises(DataError, match="gated, paper, tiny"):
        read_recipe(tmp_path / "absent.toml")


def test_a_wrong_setting_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEDEX_TRAINING_JOBS", "none")
    with pytest.raises(DataError, match="LEDEX_TRAINING_JOBS"):
        load_settings()
