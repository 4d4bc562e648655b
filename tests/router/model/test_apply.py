"""A delta leads from one snapshot to the next, and shares what it does not name."""

import pytest

from router.model.apply import OutOfStepError, apply_delta
from router.model.snapshot import Delta, Host, Listener, Snapshot
from router.model.upstreams import Endpoint, EndpointSet, Upstream

ONE = EndpointSet((Endpoint("10.0.0.1", 80),))
BASE = Snapshot(
    version=3,
    listeners={"http": Listener("http", "http", 80)},
    hosts={"default": {"a.test": Host(), "b.test": Host()}},
    upstreams={"n/s:80": Upstream("n/s:80", "n", "s", "80")},
    endpoints={"n/s:80": EndpointSet()},
)


def test_a_delta_of_another_version_is_refused() -> None:
    with pytest.raises(OutOfStepError, match="from version 2 does not apply to version 3"):
        apply_delta(BASE, Delta(base=2, version=4))


def test_endpoints_alone_share_everything_else() -> None:
    after = apply_delta(BASE, Delta(base=3, version=4, endpoints={"n/s:80": ONE}))
    assert after.version == 4
    assert after.endpoints == {"n/s:80": ONE}
    assert after.hosts is BASE.hosts
    assert after.upstreams is BASE.upstreams
    assert BASE.endpoints == {"n/s:80": EndpointSet()}


def test_hosts_are_added_replaced_and_removed() -> None:
    new = Host()
    delta = Delta(base=3, version=4, hosts={"default": {"a.test": None, "c.test": new}})
    after = apply_delta(BASE, delta)
    assert set(after.hosts["default"]) == {"b.test", "c.test"}
    assert set(BASE.hosts["default"]) == {"a.test", "b.test"}


def test_a_host_set_may_be_new() -> None:
    after = apply_delta(BASE, Delta(base=3, version=4, hosts={"other": {"x.test": Host()}}))
    assert after.hosts == {**BASE.hosts, "other": {"x.test": Host()}}


def test_upstreams_go_with_their_endpoints() -> None:
    delta = Delta(base=3, version=4, upstreams={"n/s:80": None}, endpoints={"n/s:80": None})
    after = apply_delta(BASE, delta)
    assert (after.upstreams, after.endpoints) == ({}, {})


def test_listeners_stay() -> None:
    assert apply_delta(BASE, Delta(base=3, version=4)).listeners is BASE.listeners
