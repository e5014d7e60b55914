"""A measure: the accuracy on the class that a trained model knows worst. One function of a subject.

moebench run examples/everything.toml
"""

from moebench.measures import Scores, Subject
from moebench.training.evaluate import evaluate_task


def worst_class(subject: Subject, part: str = "test") -> Scores:
    """``worst_class``: the lowest accuracy of a class. part: of the data."""
    data = subject.data(part)
    right_N = evaluate_task(subject.model, subject.task, data, precision=subject.precision).values["accuracy"]
    class_N = data.targets[subject.task.class_target].cpu()
    scores = Scores()
    scores.put("worst_class", min(float(right_N[class_N == each].mean()) for each in class_N.unique()))
    return scores
