"""Placement: what actors reserve, how many fit on which nodes, and where commit tasks run."""

from __future__ import annotations

import pytest
import ray

from dentgen.errors import SpecError
from dentgen.pipeline.actors.placement import CommitPlaces, Node, Reservation, living_nodes
from dentgen.spec.pipeline import PipelineSpec

GPU_NODES = [Node("head", 4, 0), Node("a", 8, 4), Node("b", 8, 1)]


def cpus(*numbers: float) -> list[Node]:
    return [Node(f"n{place}", number, 0) for place, number in enumerate(numbers)]


@pytest.mark.parametrize(("available", "actors", "reserved"), [(2, 1, 1.0), (2, 2, 0.5), (8, 2, 1.0), (1, 1, 0.0)])
def test_actors_leave_a_cpu_to_the_commit_tasks(available: float, actors: int, reserved: float) -> None:
    reservation = Reservation.of(PipelineSpec(actors=actors), "cpu", cpus(available))
    assert (reservation.cpus, reservation.gpus) == (reserved, 0)


def test_a_range_of_actors_reserves_as_its_fewest_do() -> None:
    settings = PipelineSpec.model_validate({"actors": {"min": 2, "max": 64}})
    assert Reservation.of(settings, "cpu", cpus(2)).cpus == 0.5
    assert Reservation.of(settings, "cpu", [Node("head", 0, 0)]).cpus == 1.0, "nodes with CPUs join later"


@pytest.mark.parametrize(
    ("device", "gpus_per_actor", "expected"),
    [("cuda", None, (0, 1)), ("cuda", 0.25, (0, 0.25)), ("cpu", None, (1, 0)), ("cpu", 1, (0, 1)), ("cuda", 2, (0, 2))],
)
def test_actors_on_gpus_reserve_no_cpu(
    device: str, gpus_per_actor: float | None, expected: tuple[float, float]
) -> None:
    reservation = Reservation.of(PipelineSpec(gpus_per_actor=gpus_per_actor), device, cpus(8))
    assert (reservation.cpus, reservation.gpus) == expected


def test_an_actor_on_a_gpu_that_it_does_not_reserve_is_refused() -> None:
    with pytest.raises(SpecError) as caught:
        Reservation.of(PipelineSpec(gpus_per_actor=0), "cuda", GPU_NODES)
    assert caught.value.key == "pipeline.gpus_per_actor"


@pytest.mark.parametrize(
    ("reservation", "nodes", "room"),
    [
        (Reservation(0, 1), GPU_NODES, 5),
        (Reservation(0, 2), GPU_NODES, 2),
        (Reservation(0, 0.25), GPU_NODES, 20),
        (Reservation(0, 0.1), [Node("a", 1, 1)], 10),
        (Reservation(0, 0.3), [Node("a", 1, 1)], 3),
        (Reservation(0, 1), cpus(8), 0),
        (Reservation(1, 0), cpus(2, 2), 3),
        (Reservation(1, 0), cpus(1.5, 1.5, 1.5, 1.5), 4),
        (Reservation(0.5, 0), cpus(2), 2),
        (Reservation(1, 0), cpus(0), 0),
        (Reservation(0, 0), cpus(1), None),
    ],
)
def test_room_is_counted_by_node(reservation: Reservation, nodes: list[Node], room: int | None) -> None:
    assert reservation.room(nodes) == room


def test_a_machine_that_no_other_joins_must_have_room() -> None:
    Reservation(0, 1).require_room(GPU_NODES)
    Reservation(0, 0).require_room(cpus(1))
    with pytest.raises(SpecError) as caught:
        Reservation(0, 8).require_room(GPU_NODES)
    assert (caught.value.key, caught.value.found) == ("pipeline.gpus_per_actor", "8")
    assert "4" in caught.value.expected


def test_commits_run_in_turn_on_nodes_without_a_gpu() -> None:
    places = CommitPlaces()
    places.see([*GPU_NODES, Node("second", 2, 0), Node("without", 0, 0)])
    assert [places.next("a") for _ in range(4)] == ["head", "second", "head", "second"]


@pytest.mark.parametrize("nodes", [GPU_NODES[1:], cpus(2, 2), [Node("head", 0, 0), Node("a", 4, 1)]])
def test_elsewhere_commits_run_where_a_unit_was_made(nodes: list[Node]) -> None:
    places = CommitPlaces()
    places.see(nodes)
    assert places.next("there") == "there"


def test_commits_at_once_follow_actors_and_cpus() -> None:
    places = CommitPlaces()
    places.see(cpus(2))
    assert [places.most(actors) for actors in (1, 64)] == [4, 4]
    places.see([*GPU_NODES[1:], *cpus(64)])
    assert [places.most(actors) for actors in (1, 16, 64)] == [4, 64, 128]


def test_nodes_that_are_gone_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = [
        {"NodeID": "a", "Alive": True, "Resources": {"CPU": 2.0, "GPU": 1.0, "memory": 1e9}},
        {"NodeID": "b", "Alive": True, "Resources": {}},
        {"NodeID": "c", "Alive": False, "Resources": {"CPU": 2.0}},
    ]
    monkeypatch.setattr(ray, "nodes", lambda: answer)
    assert living_nodes() == [Node("a", 2, 1), Node("b", 0, 0)]
