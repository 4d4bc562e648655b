"""Who gets new requests, by the conditions of EndpointSlices."""

import pytest

from router.balance.endpoints import eligible
from router.model.upstreams import Endpoint, EndpointSet

READY = Endpoint(address="192.0.2.1", port=80)
UNREADY = Endpoint(address="192.0.2.2", port=80, ready=False, serving=False)
ENDING = Endpoint(address="192.0.2.3", port=80, ready=False, serving=True, terminating=True)
ENDING_DEAF = Endpoint(address="192.0.2.4", port=80, ready=False, serving=False, terminating=True)
WARMING = Endpoint(address="192.0.2.5", port=80, ready=False, serving=True)


@pytest.mark.parametrize(
    ("endpoints", "expected"),
    [
        pytest.param((READY, UNREADY), (READY,), id="only ready ones"),
        pytest.param((READY, ENDING), (READY,), id="terminating ones rest while others exist"),
        pytest.param((ENDING, UNREADY), (ENDING,), id="serving and terminating as the last resort"),
        pytest.param((ENDING_DEAF, UNREADY), (), id="terminating without serving never"),
        pytest.param((WARMING,), (), id="serving alone is not ready"),
        pytest.param((), (), id="none"),
    ],
)
def test_eligible(endpoints: tuple[Endpoint, ...], expected: tuple[Endpoint, ...]) -> None:
    assert eligible(EndpointSet(endpoints)) == expected
