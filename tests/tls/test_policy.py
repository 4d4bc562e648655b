"""Policies are values: equal ones have equal digests, unequal ones do not."""

import msgspec
import pytest

from tls.policy import AuthoritiesDigest, TlsPolicy, UpstreamTls, policy_digest, refuses_alpn

POLICIES = [
    TlsPolicy(),
    TlsPolicy(profile="modern"),
    TlsPolicy(alpn=()),
    TlsPolicy(alpn=("h2", "http/1.1")),
    TlsPolicy(client_certificates="optional", authorities=AuthoritiesDigest("a")),
    TlsPolicy(client_certificates="required", authorities=AuthoritiesDigest("a")),
    TlsPolicy(client_certificates="required", authorities=AuthoritiesDigest("b")),
    TlsPolicy(client_certificates="required", authorities=AuthoritiesDigest("a"), verify_depth=1),
    TlsPolicy(client_certificates="required", authorities=AuthoritiesDigest("a"), verify_depth=0),
]


def test_each_difference_makes_another_digest() -> None:
    assert len({policy_digest(policy) for policy in POLICIES}) == len(POLICIES)
    assert len(set(POLICIES)) == len(POLICIES)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_is_the_same_after_a_journey(policy: TlsPolicy) -> None:
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(policy), type=TlsPolicy)
    assert again == policy
    assert policy_digest(again) == policy_digest(policy)


def test_upstream_profiles_travel_and_hash() -> None:
    profile = UpstreamTls(server_name="a.test", verify=False)
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(profile), type=UpstreamTls)
    assert {profile: 1}[again] == 1


@pytest.mark.parametrize(
    ("ours", "offered", "refused"),
    [
        pytest.param(("http/1.1",), (b"h2", b"http/1.1"), False, id="one in common"),
        pytest.param(("http/1.1",), (), False, id="the client does not take part"),
        pytest.param((), (b"h2",), False, id="we do not take part"),
        pytest.param(("http/1.1",), (b"h2",), True, id="none in common"),
        pytest.param(("h2", "http/1.1"), (b"acme-tls/1",), True, id="another protocol"),
    ],
)
def test_alpn_without_a_common_protocol_is_refused(
    ours: tuple[str, ...], offered: tuple[bytes, ...], *, refused: bool
) -> None:
    """RFC 7301 §3.2."""
    assert refuses_alpn(TlsPolicy(alpn=ours), offered) is refused
