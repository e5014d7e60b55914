"""Does a variant keep what it claims? One function a property, from the command line or as pytest tests.

``moebench check NAME`` runs them all; in a plug-in's own tests::

    from moebench.checks import conformance

    @conformance(MyVariant)
    def test_my_variant(check):
        check()
"""

from moebench.checks.outcome import CheckFailed, CheckReport, CheckResult, NotApplicable
from moebench.checks.parametrize import conformance
from moebench.checks.run import all_checks, run_checks
from moebench.checks.subject import BuiltLayer, CheckSubject

__all__ = [
    "BuiltLayer",
    "CheckFailed",
    "CheckReport",
    "CheckResult",
    "CheckSubject",
    "NotApplicable",
    "all_checks",
    "conformance",
    "run_checks",
]
