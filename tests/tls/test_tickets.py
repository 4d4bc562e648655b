"""Ticket keys: the same in each worker, others for each scope."""

import os

import pytest

from tests.tls.certificates import pair
from tls.policy import AuthoritiesDigest, TlsPolicy
from tls.tickets import KEYS_BYTES, TicketSecret, ticket_keys, ticket_scope

A = (pair("a.test"),)
B = (pair("b.test"),)
OPEN = TlsPolicy()
CLOSED = TlsPolicy(client_certificates="required", authorities=AuthoritiesDigest("x"))
SECRET = TicketSecret(b"s" * 32)


def test_keys_depend_on_secret_and_scope_alone() -> None:
    scope = ticket_scope(A, OPEN)
    keys = ticket_keys(SECRET, scope)

    assert len(keys) == KEYS_BYTES
    assert len(scope) <= 32
    assert keys == ticket_keys(TicketSecret(b"s" * 32), ticket_scope(A, OPEN))
    assert keys != ticket_keys(TicketSecret(os.urandom(32)), scope)


def test_each_part_of_the_keys_differs_in_another_scope() -> None:
    ours = ticket_keys(SECRET, ticket_scope(A, OPEN))
    theirs = ticket_keys(SECRET, ticket_scope(A, CLOSED))

    for start, end in ((0, 16), (16, 48), (48, 80)):
        assert ours[start:end] != theirs[start:end]
    assert len({ours[start : start + 16] for start in range(0, 80, 16)}) == 5


@pytest.mark.parametrize(
    ("pairs", "policy"),
    [
        pytest.param(A, CLOSED, id="another policy"),
        pytest.param(B, OPEN, id="another name"),
        pytest.param(A + B, OPEN, id="one name more"),
    ],
)
def test_another_host_is_another_scope(pairs: tuple, policy: TlsPolicy) -> None:  # type: ignore[type-arg] # of pairs
    assert ticket_scope(pairs, policy) != ticket_scope(A, OPEN)


def test_a_renewed_certificate_is_the_same_scope() -> None:
    renewed = pair("a.test", issuer="other authority")
    assert renewed.digest != A[0].digest
    assert ticket_scope((renewed,), OPEN) == ticket_scope(A, OPEN)


def test_both_algorithms_of_one_name_are_one_scope() -> None:
    both = (pair("a.test", algorithm="rsa"), pair("a.test"))
    assert ticket_scope(both, OPEN) == ticket_scope(A, OPEN)
