"""Diagnostics are bounded, and what is left out is said."""

from ingress_controller.objects.meta import ObjectKey
from ingress_controller.translate.diagnostics import Diagnostic, DiagnosticCode, Severity
from ingress_controller.translate.findings import MAX_ABOUT, MAX_OF_NAMESPACE, Findings

TOO_MANY = DiagnosticCode.FINDINGS_TOO_MANY


def finding(number: int, severity: Severity = "error", namespace: str = "evil") -> Diagnostic:
    return Diagnostic(
        code=DiagnosticCode.SERVICE_MISSING,
        severity=severity,
        object=ObjectKey("Ingress", namespace, "web"),
        field=f"spec.rules[{number}]",
        message=f"mistake {number}",
        consequence="requests get 503",
        remedy="mend it",
    )


def test_of_one_thing_the_gravest_are_kept_and_the_others_counted() -> None:
    findings = Findings()
    hints = [finding(number, "hint") for number in range(MAX_ABOUT)]
    errors = [finding(number) for number in range(50)]
    findings.note(("backends", "evil", "web"), (*hints, *errors))
    said = findings.about("backends", "evil", "web")
    assert len(said) == MAX_ABOUT + 1
    assert set(errors) < set(said)
    [more] = [one for one in said if one.code == TOO_MANY]
    assert more.message == "50 more findings of its kind are not listed; the first: mistake 50"
    findings.note(("backends", "evil", "web"), tuple(errors))
    assert findings.sorted == tuple(errors)


def test_no_namespace_fills_the_list() -> None:
    findings = Findings()
    for number in range(MAX_OF_NAMESPACE + 7):
        findings.note(("host", f"{number}.test"), (finding(number),))
    findings.note(("host", "good.test"), (finding(0, namespace="shop"),))
    assert len(findings.sorted) == MAX_OF_NAMESPACE + 2
    assert findings.sorted[-1] == finding(0, namespace="shop")
    [more] = [one for one in findings.sorted if one.code == TOO_MANY]
    assert more.message.startswith("7 more findings of namespace evil are not listed")
    for number in range(7):
        findings.note(("host", f"{number}.test"), ())
    assert TOO_MANY not in {one.code for one in findings.sorted}
