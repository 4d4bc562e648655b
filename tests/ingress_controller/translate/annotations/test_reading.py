"""Annotations of one Ingress: prefixes, unknown names, values that cannot be read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress_controller.objects.meta import ObjectKey, ObjectMeta
from ingress_controller.translate.annotations import IngressSettings, read_settings
from ingress_controller.translate.annotations.reading import SettingsRead
from ingress_controller.translate.annotations.settings import NGINX_PREFIX, PREFIX
from ingress_controller.translate.annotations.table import ROWS, Row

KEY = ObjectKey("Ingress", "default", "i")


def read(annotations: dict[str, str], labels: dict[str, str] | None = None) -> SettingsRead:
    return read_settings(KEY, ObjectMeta("i", "default", labels or {}, annotations))


def told(found: SettingsRead) -> list[tuple[str, str]]:
    return [(each.code.value, each.severity) for each in found.diagnostics]


def test_an_ingress_without_annotations_of_ours_has_the_defaults() -> None:
    assert read({"example.com/x": "y"}) == (IngressSettings(), ())


def test_our_own_prefix_wins_and_a_contradiction_is_told() -> None:
    both = {PREFIX + "ssl-redirect": "true", NGINX_PREFIX + "ssl-redirect": "false"}
    found = read(both)
    assert found.settings.ssl_redirect is True
    assert told(found) == [("annotation-contradictory", "warning")]
    assert told(read(dict.fromkeys(both, " true "))) == []


@pytest.mark.parametrize(
    ("name", "code", "severity", "closed"),
    [
        (PREFIX + "ssl-redirct", "annotation-unknown", "warning", False),
        (PREFIX + "whitelist-source-range", "annotation-unknown", "error", True),
        (NGINX_PREFIX + "tls-profile", "annotation-unused", "hint", False),
        (NGINX_PREFIX + "auth-url", "annotation-unused", "warning", False),
    ],
)
def test_a_name_that_is_none_is_told(name: str, code: str, severity: str, closed: bool) -> None:
    found = read({name: "x"})
    assert told(found) == [(code, severity)]
    assert bool(found.settings.closed) == closed


def test_a_misspelt_name_is_answered_with_the_right_one() -> None:
    (found,) = read({PREFIX + "ssl-redirct": "x"}).diagnostics
    assert found.remedy == f"write {PREFIX}ssl-redirect"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_value_that_cannot_be_read_has_the_consequence_of_its_row(row: Row) -> None:
    found = read({PREFIX + row.name: "\x00 no value"})
    errors = [each for each in found.diagnostics if each.severity == "error"]
    closed = bool(found.settings.closed) or (
        found.settings.clients is not None and bool(found.settings.clients.problem)
    )
    assert closed == (row.on_bad == "closes")
    assert bool(errors) == (row.name != "auth-tls-error-page")


def test_challenges_of_cert_manager_are_left_in_peace() -> None:
    labels = {"acme.cert-manager.io/http01-solver": "true"}
    assert told(read({PREFIX + "nonsense": "x", NGINX_PREFIX + "auth-url": "x"}, labels)) == []


NAMES = st.sampled_from([row.name for row in ROWS]) | st.text(max_size=20)
VALUES = st.text(max_size=20) | st.sampled_from(["true", "off", "a/b", "1" * 400, "HTTPS"])


@given(
    st.dictionaries(
        st.builds(str.__add__, st.sampled_from([PREFIX, NGINX_PREFIX]), NAMES), VALUES, max_size=6
    )
)
def test_no_annotation_stops_the_reading(annotations: dict[str, str]) -> None:
    for each in read(annotations).diagnostics:
        assert each.message
        assert each.consequence
        assert each.remedy
        assert len(each.message) < 1000
