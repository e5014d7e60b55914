"""The shortest path between two nodes of a random graph, given as a list of its edges (arXiv 2410.19034)."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

from moebench.tasks.base import Part, Split, Stream, TaskInfo, Tokens, digest_of
from moebench.tasks.targets import Sequences, accuracy

if TYPE_CHECKING:
    from torch import Generator, Tensor

NODES, EDGES = 10, 13
SHORTEST, LONGEST = 2, 4
"""Edges of the paths that are asked for: drawn evenly, and anew with the graph where it has no such path."""

PAIRS = tuple((u, v) for u in range(NODES) for v in range(u + 1, NODES))
NODE = len(PAIRS)
"""Token ids: an edge u-v has that of its pair, a node NODE + its number, the end of a path END."""
END = NODE + NODES

PRIME = 1_000_003
"""Mixes all edges of a graph into its tenth."""

HELD_OUT = 2_000
SEEDS = {"validation": 1, "test": 2}
SHARES: dict[Part, range] = {"train": range(8), "validation": range(8, 9), "test": range(9, 10)}
"""Tenths of all graphs by part; a graph's tenth is worked out from its edges."""


class ShortestPathTask(Sequences):
    """Undirected graphs with every set of edges equally likely, as far as there is a path to ask for; the path asked
    for is the only shortest one between its ends. A path is right when every node of it is.

    An input is the edges in random order, the target, the source, and the path after the source but for its last
    place; the source and these places each answer with the node that follows, then with END.
    """

    info = TaskInfo(
        name="shortest_path",
        inputs=Tokens(length=EDGES + 2 + LONGEST - 1, vocabulary=END + 1, answer=LONGEST),
        targets={"path": END + 1},
        headline=accuracy(floor=0.0),
        label=f"shortest path, {NODES} nodes, {EDGES} edges",
    )
    split = f"by graph: fresh ones of eight tenths of all; {HELD_OUT} of one tenth and of another, seeds 1 and 2"

    @overload
    def load(self, part: Literal["train"], data_dir: Path | None = None) -> Stream: ...
    @overload
    def load(self, part: Literal["validation", "test"], data_dir: Path | None = None) -> Split: ...
    def load(self, part: Part, data_dir: Path | None = None) -> Split | Stream:
        """Graphs that no other part has, whatever is asked of them; ``data_dir`` is not used."""
        import torch

        self.check_part(part)
        if part == "train":
            return Stream(partial(draw, part))
        return draw(part, HELD_OUT, torch.Generator().manual_seed(SEEDS[part]))

    def digest(self, data_dir: Path | None = None) -> str:
        """Twenty hexadecimal digits of what the data are drawn by."""
        return digest_of(f"shortest_path {NODES} {EDGES} {SHORTEST} {LONGEST} {self.split}")


def draw(part: Part, count: int, generator: Generator) -> Split:
    """So many inputs (N, T) of one part, and their answers (N, A)."""
    import torch

    inputs, answers, found = [], [], 0
    while found < count:
        prompt_NT, answer_NA = _some(part, 2 * (count - found) + 8, generator)  # enough, most often, for training
        inputs.append(torch.cat([prompt_NT, answer_NA[:, :-1]], 1))
        answers.append(answer_NA)
        found += len(answer_NA)
    return Split(torch.cat(inputs)[:count], {"path": torch.cat(answers)[:count]})


def _some(part: Part, count: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Prompts and answers from ``count`` random graphs, without those that are of no use."""
    import torch

    # The largest of random numbers: a random set of pairs, in random order.
    edge_NM = torch.rand(count, len(PAIRS), generator=generator).topk(EDGES).indices
    length_N = torch.randint(SHORTEST, LONGEST + 1, (count,), generator=generator)
    score_NVV = torch.rand(count, NODES, NODES, generator=generator)
    joined_NVV = adjacency(edge_NM)
    distance_NVV, paths_NVV = distances(joined_NVV)
    asked_NVV = (distance_NVV == length_N[:, None, None]) & (paths_NVV == 1)
    chosen_N = score_NVV.masked_fill(~asked_NVV, -1).flatten(1).argmax(1)
    source_N, target_N = chosen_N // NODES, chosen_N % NODES
    tenths = torch.tensor(list(SHARES[part]))
    useful = asked_NVV.flatten(1).any(1) & torch.isin(tenth(edge_NM), tenths)
    answer_NA = walk(joined_NVV, distance_NVV, source_N, target_N)
    prompt_NT = torch.cat([edge_NM, NODE + target_N[:, None], NODE + source_N[:, None]], 1)
    return prompt_NT[useful], answer_NA[useful]


def adjacency(edge_NM: Tensor) -> Tensor:
    """joined_NVV, bool and symmetric, of graphs given as the ids of their edges."""
    import torch

    end_P2 = torch.tensor(PAIRS)
    u_NM, v_NM = end_P2[edge_NM].unbind(2)
    joined_NVV = torch.zeros(len(edge_NM), NODES, NODES, dtype=torch.bool)
    graph_N1 = torch.arange(len(edge_NM))[:, None]
    joined_NVV[graph_N1, u_NM, v_NM] = joined_NVV[graph_N1, v_NM, u_NM] = True
    return joined_NVV


def distances(joined_NVV: Tensor) -> tuple[Tensor, Tensor]:
    """distance_NVV in edges, and how many shortest paths there are; beyond LONGEST they are LONGEST + 1 and 0."""
    import torch

    step_NVV = joined_NVV.float()
    walks_NVV = torch.eye(NODES).expand_as(step_NVV)
    distance_NVV = torch.where(walks_NVV > 0, 0, LONGEST + 1)
    paths_NVV = walks_NVV.clone()
    for length in range(1, LONGEST + 1):
        walks_NVV = walks_NVV @ step_NVV  # small whole numbers, exact in float32
        first = (walks_NVV > 0) & (distance_NVV > LONGEST)
        distance_NVV = distance_NVV.masked_fill(first, length)
        paths_NVV = torch.where(first, walks_NVV, paths_NVV)
    return distance_NVV, paths_NVV


def walk(joined_NVV: Tensor, distance_NVV: Tensor, source_N: Tensor, target_N: Tensor) -> Tensor:
    """answer_NA: the nodes of the shortest path after its source, then END."""
    import torch

    graph_N = torch.arange(len(source_N))
    left_NV = distance_NVV[graph_N, :, target_N]
    at_N, answers = source_N, []
    for _ in range(LONGEST):
        there_N = at_N == target_N
        nearer_NV = joined_NVV[graph_N, at_N] & (left_NV == left_NV[graph_N, at_N, None] - 1)
        at_N = torch.where(there_N, at_N, nearer_NV.int().argmax(1))
        answers.append(torch.where(there_N, END, NODE + at_N))
    return torch.stack(answers, 1)


def tenth(edge_NM: Tensor) -> Tensor:
    """0 to 9: which tenth of all graphs each belongs to, by its edges in whatever order."""
    key_N = (1 << edge_NM).sum(1)
    return key_N % PRIME % 10
