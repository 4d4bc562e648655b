"""Pairs travel to workers, and print nothing that is secret."""

import logging
import pprint
import traceback

import msgspec
import pytest

from tests.tls.certificates import pair
from tls.certificate import CertificatePair
from tls.tickets import TicketSecret

SECRET = b"not-to-be-seen-anywhere-at-all!!"


def test_a_pair_travels_by_msgpack() -> None:
    sent = pair("a.test", "*.a.test")
    received = msgspec.msgpack.decode(msgspec.msgpack.encode(sent), type=CertificatePair)
    assert received == sent
    assert received.key.pem.startswith(b"-----BEGIN PRIVATE KEY-----")


def test_a_key_prints_as_redacted(caplog: pytest.LogCaptureFixture) -> None:
    shown = pair("a.test")
    key = shown.key.pem.decode().splitlines()[1]

    logging.getLogger("test").warning("pair %s %r", shown, shown.key)
    texts = [repr(shown), str(shown), f"{shown.key}", pprint.pformat(shown), caplog.text]

    assert all("redacted" in text for text in texts)
    assert not any(key in text for text in texts)
    assert "pem" not in dict(shown.key.__rich_repr__()) or "redacted" in str(
        shown.key.__rich_repr__()
    )


def test_a_ticket_secret_prints_as_redacted() -> None:
    secret = TicketSecret(SECRET)
    try:
        raise ValueError(secret)
    except ValueError as raised:
        shown = "".join(traceback.format_exception(raised)) + repr([secret]) + str(secret)
    assert "redacted" in shown
    assert SECRET.decode() not in shown
    assert secret.__rich_repr__() == [("secret", "redacted")]
