"""A study: one claim about the records of a suite, with the rule of its verdict. Read by `moebench report`.

moebench run examples/everything.toml
"""

from moebench.studies import Bound, Claim, Study, difference, every

SUITE = "everything"


def sparse_beats_dense(evidence):
    sparse, dense = (evidence.values(SUITE, "worst_class", row, "worst_class") for row in ("from_nothing", "dense"))
    return every(
        [Bound(0, least_seeds=2).judge("from_nothing less dense", difference(sparse, dense))], "it did not run"
    )


STUDY = Study(
    name="everything",
    source="nobody",
    question="Do experts help where a dense layer is worst?",
    claims=(
        Claim(
            key="sparse-beats-dense",
            source="extension",
            part=SUITE,
            statement="Experts help on the class that is known worst.",
            paper="-",
            here="Accuracy on the worst class: from_nothing less dense.",
            rule="Holds when the interval over seeds lies above 0.",
            unit="difference",
            judge=sparse_beats_dense,
        ),
    ),
    plots=(),
)
