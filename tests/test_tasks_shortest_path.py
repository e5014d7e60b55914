"""Shortest paths: against scipy's, without a graph in two parts, and in the form that the decoder reads."""

import numpy as np
import pytest
import torch
from scipy.sparse.csgraph import shortest_path

from moebench.errors import UnknownNameError
from moebench.tasks import Stream, get_task
from moebench.tasks.shortest_path import (
    EDGES,
    END,
    HELD_OUT,
    LONGEST,
    NODE,
    NODES,
    PAIRS,
    SHARES,
    SHORTEST,
    adjacency,
    distances,
    draw,
    tenth,
)

TASK = get_task("shortest_path")


def some(part="train", count=400, seed=0):
    return draw(part, count, torch.Generator().manual_seed(seed))


def read(data, row):
    """(joined_VV, source, nodes of the answer) of one input, from its token ids alone."""
    tokens, answer = data.inputs[row].flatten().tolist(), data.targets["path"][row].tolist()
    joined_VV = np.zeros((NODES, NODES))
    for edge in tokens[:EDGES]:
        u, v = PAIRS[edge]
        joined_VV[u, v] = joined_VV[v, u] = 1
    target, source = (token - NODE for token in tokens[EDGES : EDGES + 2])
    assert tokens[EDGES + 2 :] == answer[:-1]
    path = [token - NODE for token in answer if token != END]
    assert answer == [NODE + node for node in path] + [END] * (LONGEST - len(path))
    assert path[-1] == target
    return joined_VV, source, path


@pytest.mark.parametrize("part", SHARES)
def test_the_answer_is_the_only_shortest_path(part):
    data = some(part)
    text, path_NA = TASK.info.inputs, data.targets["path"]
    assert data.inputs.shape == (400, text.length)
    assert path_NA.shape == (400, text.answer)
    assert int(max(data.inputs.max(), path_NA.max())) < text.vocabulary == TASK.info.outputs
    for row in range(400):
        joined_VV, source, path = read(data, row)
        assert joined_VV.sum() == 2 * EDGES
        distance_VV = shortest_path(joined_VV, unweighted=True)
        assert SHORTEST <= len(path) <= LONGEST
        assert distance_VV[source, path[-1]] == len(path)
        assert all(joined_VV[u, v] for u, v in zip([source, *path], path, strict=False))
        # Walks as long as the distance are the shortest paths: one of them.
        assert np.linalg.matrix_power(joined_VV, len(path))[source, path[-1]] == 1


def test_distances_and_numbers_of_paths_are_scipys():
    edge_NM = torch.stack(
        [torch.randperm(len(PAIRS), generator=torch.Generator().manual_seed(s))[:EDGES] for s in range(50)]
    )
    joined_NVV = adjacency(edge_NM)
    distance_NVV, paths_NVV = distances(joined_NVV)
    for joined_VV, distance_VV, paths_VV in zip(joined_NVV.numpy(), distance_NVV, paths_NVV, strict=True):
        expected = np.minimum(shortest_path(joined_VV, unweighted=True), LONGEST + 1)
        assert distance_VV.tolist() == expected.tolist()
        walks = [np.linalg.matrix_power(joined_VV.astype(int), length) for length in range(LONGEST + 1)]
        for u in range(NODES):
            for v in range(NODES):
                length = int(expected[u, v])
                assert paths_VV[u, v] == (walks[length][u, v] if length <= LONGEST else 0)


def test_a_graph_by_hand():
    """0-1-2-3 in a row, 4 joined to 1 and 3: two shortest paths from 1 to 3, one from 0 to 2; the others apart."""
    edges = [(0, 1), (1, 2), (2, 3), (1, 4), (3, 4)]
    joined_NVV = adjacency(torch.tensor([[PAIRS.index(edge) for edge in edges]]))
    distance_NVV, paths_NVV = distances(joined_NVV)
    assert distance_NVV[0, 0].tolist() == [0, 1, 2, 3, 2] + [LONGEST + 1] * (NODES - 5)
    assert paths_NVV[0, 0].tolist() == [1, 1, 1, 2, 1] + [0] * (NODES - 5)
    assert paths_NVV[0, 1, 3] == 2


def graphs(data):
    return {tuple(sorted(row)) for row in data.inputs[:, :EDGES].tolist()}


def test_no_graph_is_in_two_parts():
    seen = {part: graphs(some(part, 3_000)) for part in SHARES}
    assert not seen["train"] & seen["validation"]
    assert not seen["train"] & seen["test"]
    assert not seen["validation"] & seen["test"]
    assert sorted(n for share in SHARES.values() for n in share) == list(range(10))


def test_a_graphs_part_does_not_depend_on_the_order_of_its_edges():
    edge_NM = torch.stack([torch.randperm(len(PAIRS))[:EDGES] for _ in range(5_000)])
    assert torch.equal(tenth(edge_NM), tenth(edge_NM.flip(1)))
    shares = tenth(edge_NM).bincount(minlength=10) / len(edge_NM)
    assert float((shares - 0.1).abs().max()) < 0.02


def test_every_length_is_asked_for_and_edges_come_evenly():
    data = some(count=8_000)
    lengths = (data.targets["path"] != END).sum(1).bincount(minlength=LONGEST + 1)[SHORTEST:]
    assert float(lengths.min()) > 8_000 / 6
    first = data.inputs[:, 0].bincount(minlength=len(PAIRS)) / 8_000
    assert float((first * len(PAIRS) - 1).abs().max()) < 0.35


def test_training_is_a_stream_and_held_out_sets_are_fixed():
    validation, test = TASK.load("validation"), TASK.load("test")
    assert len(test) == len(validation) == HELD_OUT
    assert torch.equal(test.inputs, TASK.load("test").inputs)
    stream = TASK.load("train")
    assert isinstance(stream, Stream)
    one, other = (stream.draw(16, torch.Generator().manual_seed(seed)).inputs for seed in (3, 3))
    assert torch.equal(one, other)
    assert not torch.equal(one, stream.draw(16, torch.Generator().manual_seed(4)).inputs)
    with pytest.raises(UnknownNameError, match="unknown part 'valid' in task 'shortest_path'"):
        TASK.load("valid")
