"""Which certificate and policy answer for a name."""

import msgspec
import pytest

from tests.tls.certificates import pair
from tls.policy import TlsPolicy
from tls.store import CertificateStore, Entry, Selection

DEFAULT = Entry(pairs=(pair("default.test"),))
MODERN = TlsPolicy(profile="modern")


def store() -> CertificateStore:
    return CertificateStore(
        {
            "a.test": Entry(pairs=(pair("a.test"),)),
            "*.a.test": Entry(pairs=(pair("*.a.test"),), policy=MODERN),
            "precise.a.test": Entry(policy=TlsPolicy(alpn=())),
            "both.test": Entry(
                pairs=(pair("both.test", algorithm="rsa"), pair("both.test", algorithm="ecdsa"))
            ),
        },
        DEFAULT,
    )


def select(name: str | None, *, ecdsa: bool = True, rsa: bool = True) -> Selection:
    return store().select(name, offers_ecdsa=ecdsa, offers_rsa=rsa)


@pytest.mark.parametrize(
    ("name", "match", "key", "certificate"),
    [
        pytest.param("a.test", "precise", "a.test", "a.test", id="precise"),
        pytest.param("x.a.test", "wildcard", "*.a.test", "*.a.test", id="one label below"),
        pytest.param("x.y.a.test", "default", None, "default.test", id="two labels below"),
        pytest.param("b.test", "default", None, "default.test", id="unknown"),
        pytest.param("localhost", "default", None, "default.test", id="one label"),
        pytest.param(None, "default", None, "default.test", id="no name"),
    ],
)
def test_the_most_precise_name_answers(
    name: str | None, match: str, key: str | None, certificate: str
) -> None:
    selected = select(name)
    assert (selected.match, selected.name) == (match, key)
    assert selected.preferred.names == (certificate,)
    assert selected.pairs == (selected.preferred,)


def test_a_name_without_certificate_keeps_its_policy_and_takes_no_wildcards_certificate() -> None:
    selected = select("precise.a.test")
    assert selected.preferred == DEFAULT.pairs[0]
    assert selected.policy == TlsPolicy(alpn=())
    assert selected.name == "precise.a.test"


@pytest.mark.parametrize(
    ("ecdsa", "rsa", "algorithm"),
    [(True, True, "ecdsa"), (True, False, "ecdsa"), (False, True, "rsa"), (False, False, "rsa")],
)
def test_ecdsa_is_preferred_when_offered(*, ecdsa: bool, rsa: bool, algorithm: str) -> None:
    selected = select("both.test", ecdsa=ecdsa, rsa=rsa)
    assert selected.preferred.algorithm == algorithm
    assert len(selected.pairs) == 2


def test_a_change_makes_another_store_and_leaves_the_first() -> None:
    first = store()
    second = first.change({"b.test": Entry(pairs=(pair("b.test"),))}, ["a.test", "gone.test"])

    def found(where: CertificateStore, name: str) -> tuple[str, ...]:
        return where.select(name, offers_ecdsa=True, offers_rsa=True).preferred.names

    assert found(first, "a.test") == ("a.test",)
    assert found(first, "b.test") == ("default.test",)
    assert found(second, "a.test") == ("default.test",)
    assert found(second, "b.test") == ("b.test",)
    assert len(first) == len(second) == 4


def test_the_default_can_be_replaced() -> None:
    changed = store().change({}, default=Entry(pairs=(pair("other.test"),)))
    selected = changed.select(None, offers_ecdsa=True, offers_rsa=True)
    assert selected.preferred.names == ("other.test",)


def test_a_default_without_certificate_is_refused() -> None:
    with pytest.raises(ValueError, match="default"):
        CertificateStore({}, Entry())


def test_values_are_frozen() -> None:
    entry = Entry()
    with pytest.raises(AttributeError):
        entry.pairs = ()  # type: ignore[misc] # the point of the test
    assert msgspec.structs.replace(entry, policy=MODERN) != entry
