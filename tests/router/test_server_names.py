"""Which policy, certificate or passthrough answers for a name, as a pure value."""

from hypothesis import given
from hypothesis import strategies as st

from router.model.apply import apply_delta
from router.model.snapshot import Delta, Passthrough, Snapshot
from router.server_names import ServerNames
from tests.harness.secure import Name, needs_certificate, renamed, secured
from tests.harness.worker import snapshot
from tests.tls.certificates import authorities, pair
from tls.names import normalise, wildcard_of
from tls.policy import TlsPolicy
from tls.store import Selection

ISSUER = authorities()
KINDS = {
    "own": Name(pairs=(pair("own.test"),)),
    "two": Name(pairs=(pair("own.test"), pair("own.test", algorithm="rsa"))),
    "bare": Name(),
    "modern": Name(policy=TlsPolicy(profile="modern")),
    "guarded": needs_certificate("own.test", issuer=ISSUER),
    "optional": needs_certificate("own.test", issuer=ISSUER, optional=True),
    "passed": Name(passthrough="web"),
}
LABELS = st.sampled_from(["a", "b", "c"])
PATTERNS = st.one_of(
    st.builds("{}.test".format, LABELS),
    st.builds("{}.{}.test".format, LABELS, LABELS),
    st.builds("*.{}.test".format, LABELS),
    st.just("*.test"),
)
TABLES = st.dictionaries(PATTERNS, st.sampled_from(sorted(KINDS)), max_size=6)
NAMES = st.one_of(
    st.none(),
    st.builds("{}.test".format, LABELS),
    st.builds("{}.{}.test".format, LABELS, LABELS),
    st.builds("{}.{}.{}.test".format, LABELS, LABELS, LABELS),
    st.just("test"),
)


def _snapshot(table: dict[str, str], default: str = "own") -> Snapshot:
    names = {pattern: KINDS[kind] for pattern, kind in table.items()}
    return secured(snapshot(1, {}, {"web": []}), {"": KINDS[default], **names})


def _found(table: dict[str, str], name: str | None) -> str | None:
    """The plain rule: precise, else one-label wildcard, else the default (None)."""
    for pattern in (name, None if name is None else wildcard_of(name)):
        if pattern is not None and pattern in table:
            return pattern
    return None


@given(table=TABLES, name=NAMES)
def test_precise_then_wildcard_then_default(table: dict[str, str], name: str | None) -> None:
    names = ServerNames.of(_snapshot(table), "default")
    found = names.select(name, offers_ecdsa=True, offers_rsa=True)
    pattern = _found(table, name)
    kind = KINDS["own" if pattern is None else table[pattern]]
    if kind.passthrough:
        assert isinstance(found, Passthrough)
        assert name is not None
        assert names.policy_for(name) is None
        return
    assert isinstance(found, Selection)
    assert found.policy == kind.policy
    assert found.pairs == (kind.pairs or KINDS["own"].pairs)
    assert found.preferred in found.pairs
    if name is not None:
        assert names.policy_for(name) == kind.policy


@given(table=TABLES, changes=st.dictionaries(PATTERNS, st.sampled_from([*KINDS, ""]), max_size=4))
def test_changes_give_what_a_whole_snapshot_would(
    table: dict[str, str], changes: dict[str, str]
) -> None:
    before = _snapshot(table)
    delta = renamed({pattern: KINDS[kind] for pattern, kind in changes.items() if kind})
    gone = {pattern: None for pattern, kind in changes.items() if not kind}
    delta = Delta(
        base=1,
        version=2,
        server_names={"default": {**delta.server_names["default"], **gone}},
        certificates=delta.certificates,
        authorities=delta.authorities,
    )
    after = apply_delta(before, delta)
    changed = ServerNames.of(before, "default").changed(
        delta.server_names["default"], after, "default"
    )
    whole = ServerNames.of(after, "default")
    for name in (None, "a.test", "b.test", "a.b.test", "c.a.test", "a.a.a.test", "test"):
        for ecdsa in (True, False):
            asked = {"offers_ecdsa": ecdsa, "offers_rsa": not ecdsa}
            assert changed.select(name, **asked) == whole.select(name, **asked)
    assert changed.guarded >= whole.guarded


@given(table=TABLES, default=st.sampled_from(["own", "modern", "guarded"]))
def test_guarded_whenever_a_check_could_fail(table: dict[str, str], default: str) -> None:
    names = ServerNames.of(_snapshot(table, default), "default")
    policies = {KINDS[kind].policy for kind in (*table.values(), default) if kind != "passed"}
    demanding = any(policy.client_certificates == "required" for policy in policies)
    assert names.guarded is (len(policies) > 1 or demanding)


def test_without_a_default_certificate_nothing_is_answered() -> None:
    names = ServerNames.of(Snapshot(), "default")
    assert names.select("a.test", offers_ecdsa=True, offers_rsa=True) is None
    assert names.policy_for("a.test") is None
    bare = ServerNames.of(_snapshot({"a.test": "guarded"}, "bare"), "default")
    assert bare.select("a.test", offers_ecdsa=True, offers_rsa=True) is None


def test_a_certificate_that_is_not_there_leaves_the_default() -> None:
    whole = _snapshot({"a.test": "guarded"})
    whole = secured(snapshot(1, {}, {}), {"a.test": KINDS["guarded"]})
    default = whole.certificates[whole.server_names["default"][""].certificates[0]]  # type: ignore[union-attr]  # it is a Terminate
    names = ServerNames.of(
        Snapshot(server_names=whole.server_names, certificates={default.digest: default}),
        "default",
    )
    found = names.select("a.test", offers_ecdsa=True, offers_rsa=True)
    assert isinstance(found, Selection)
    assert found.pairs == (default,)
    assert found.policy == KINDS["guarded"].policy, "the policy stays: it refuses every client"
    assert found.authorities is None


@given(name=st.text(max_size=30))
def test_names_that_are_in_normal_form_have_an_answer(name: str) -> None:
    names = ServerNames.of(_snapshot({"*.test": "guarded"}), "default")
    normal = normalise(name)
    assert names.select(normal, offers_ecdsa=False, offers_rsa=False) is not None
