"""Listening sockets of the control process."""

import socket

import pytest

from ingress_controller.supervisor.sockets import BindError, bind_listener

LOOPBACK = ["127.0.0.1"]


def test_each_slot_listens_on_each_address_with_the_same_port() -> None:
    listener = bind_listener(["127.0.0.1", "::1"], 0, slots=3, port_flag="--http-port")
    try:
        assert listener.addresses == (f"127.0.0.1:{listener.port}", f"[::1]:{listener.port}")
        assert [len(sockets) for sockets in listener.slots] == [2, 2, 2]
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with socket.socket(family) as client:
                client.connect((address, listener.port))
    finally:
        listener.close()


def test_no_address_means_all() -> None:
    listener = bind_listener([], 0, slots=1, port_flag="--http-port")
    try:
        assert f"0.0.0.0:{listener.port}" in listener.addresses
    finally:
        listener.close()


def test_a_port_that_somebody_listens_on_is_refused_even_with_reuse() -> None:
    """A second instance must not take a share of the first one's connections unnoticed."""
    first = bind_listener(LOOPBACK, 0, slots=1, port_flag="--http-port")
    try:
        with pytest.raises(BindError) as caught:
            bind_listener(LOOPBACK, first.port, slots=1, port_flag="--http-port")
    finally:
        first.close()
    assert str(caught.value) == (
        f"cannot listen on 127.0.0.1:{first.port}: another program listens there; "
        "stop it, or choose another port with --http-port"
    )
    bind_listener(LOOPBACK, first.port, slots=1, port_flag="--http-port").close()


def test_an_address_that_the_machine_lacks_is_refused() -> None:
    with pytest.raises(BindError, match=r"192\.0\.2\.1:80.*has no such address"):
        bind_listener(["192.0.2.1"], 8080, slots=1, port_flag="--http-port")
