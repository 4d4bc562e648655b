"""What the admin port shows of a snapshot, and above all what it does not."""

import re

import msgspec

from ingress_controller.admin.pages import routes_page
from router.model.origin import Origin
from router.model.snapshot import (
    Forward,
    Host,
    HttpsRules,
    Passthrough,
    PathCondition,
    Route,
    Snapshot,
    Terminate,
)
from router.model.upstreams import Upstream
from tests.tls.certificates import authorities, pair
from tls.certificate import CertificatePair
from tls.policy import TlsPolicy, UpstreamTls

ORIGIN = Origin("Ingress", "a", "shop", 0, 0)
OURS, DEFAULT = pair("shop.test", "*.shop.test"), pair("default.test", algorithm="rsa")
BUNDLE = authorities()
ROUTE = Route(
    PathCondition("prefix", ""),
    "/",
    Forward(()),
    ORIGIN,
    HttpsRules(redirect=True, hsts="max-age=1"),
)
SNAPSHOT = Snapshot(
    version=3,
    hosts={"default": {"shop.test": Host((ROUTE,))}},
    upstreams={
        "a/shop:443": Upstream(
            "a/shop:443",
            "a",
            "shop",
            "443",
            "https",
            UpstreamTls("shop.a.svc", client_certificate=OURS.digest),
        )
    },
    server_names={
        "default": {
            "": Terminate((DEFAULT.digest,)),
            "shop.test": Terminate(
                (OURS.digest,),
                TlsPolicy(client_certificates="required", authorities=BUNDLE.digest),
            ),
            "raw.test": Passthrough("a/shop:443", ORIGIN),
        }
    },
    certificates={each.digest: each for each in (OURS, DEFAULT)},
    authorities={BUNDLE.digest: BUNDLE},
)


def test_it_shows_which_certificate_and_policy_answer_for_a_name() -> None:
    page = routes_page(SNAPSHOT)

    names = page["server_names"]
    assert list(names) == ["*", "raw.test", "shop.test"]
    assert names["shop.test"]["certificates"] == (OURS.digest,)
    assert names["shop.test"]["client_certificates"] == "required"
    assert names["raw.test"]["passthrough"] == "a/shop:443"
    assert names["raw.test"]["origin"]["name"] == "shop"
    shown = page["certificates"][OURS.digest]
    assert shown["names"] == ("shop.test", "*.shop.test")
    assert shown["algorithm"] == "ecdsa"
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", shown["not_after"])
    assert page["authorities"][BUNDLE.digest]["subjects"] == BUNDLE.subjects


def test_it_shows_what_routes_and_upstreams_say_about_tls() -> None:
    page = routes_page(SNAPSHOT)
    (route,) = page["hosts"]["shop.test"]["routes"]
    assert route["https"] == {"redirect": True, "hsts": "max-age=1"}
    assert page["upstreams"]["a/shop:443"]["tls"] == {
        "server_name": "shop.a.svc",
        "verify": True,
        "authorities": "of the system",
        "client_certificate": OURS.digest,
    }


def secrets_of(pair: CertificatePair) -> list[bytes]:
    """Every line of the key; the last is short and might stand anywhere."""
    lines = pair.key.pem.splitlines()[1:-2]
    assert lines
    return lines


def test_no_key_is_ever_shown() -> None:
    page = msgspec.json.encode(routes_page(SNAPSHOT))
    assert b"PRIVATE" not in page
    assert b"BEGIN" not in page
    for each in (OURS, DEFAULT):
        for line in secrets_of(each):
            assert line not in page


def test_a_certificate_that_outlives_the_calendar_is_shown_all_the_same() -> None:
    eternal = msgspec.structs.replace(OURS, not_after=10**15)
    snapshot = Snapshot(certificates={eternal.digest: eternal})
    page = routes_page(snapshot)
    assert page["certificates"][eternal.digest]["not_after"] == str(10**15)
