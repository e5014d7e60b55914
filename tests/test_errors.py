"""Every error has a code, and each code one sentence."""

import ast
import copy
import pickle
from collections import Counter
from pathlib import Path

import moebench
from moebench import errors
from moebench.errors import BudgetError, MoebenchError, UnknownNameError

CODE = Path(moebench.__file__).parent
KINDS = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, MoebenchError)}
OWN_CODES = {"UnknownNameError"}


def made():
    """(place, code) of every error that the harness makes; None where the call has no code of its own."""
    for path in sorted(CODE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS - OWN_CODES:
                given = next((each.value for each in node.keywords if each.arg == "code"), None)
                if not (isinstance(given, ast.Name | ast.Attribute | ast.Subscript | ast.Call)):
                    yield f"{path.relative_to(CODE)}:{node.lineno}", getattr(given, "value", None)


def test_every_error_has_a_code_and_each_code_one_sentence():
    found = list(made())
    assert len(found) > 100
    assert [place for place, code in found if not code] == []
    counted = Counter(code for _, code in found)
    assert [code for code, count in counted.items() if count > 1] == []
    assert [code for code in counted if code != code.lower() or " " in code or "_" in code] == []


def test_an_error_keeps_its_code_and_facts_on_its_way_from_a_worker():
    for error in (
        UnknownNameError("task", "digit", ["digits"], "suite 'x'"),
        BudgetError("no.", code="b", nearest=(1,)),
    ):
        for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
            assert type(again) is type(error)
            assert (str(again), again.code, again.facts) == (str(error), error.code, error.facts)


def test_a_name_that_nothing_has_is_answered_with_the_nearest():
    error = UnknownNameError("kind of thing", "digit", ["digits", "mnist"])
    assert (error.code, error.facts["known"]) == ("unknown-kind-of-thing", ["digits", "mnist"])
    assert str(error) == "unknown kind of thing 'digit'; did you mean 'digits'?"
