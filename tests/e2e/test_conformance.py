"""The cases of the Ingress conformance suite (kubernetes-sigs/ingress-controller-conformance),
restated: real Deployments of an echo backend, real Services, requests to the address in the status.
"""

import asyncio
import time
from collections.abc import Iterator

import pytest

from tests.e2e.certificates import Certificate, issue
from tests.e2e.controller import Controller
from tests.e2e.kube import Kube
from tests.e2e.objects import ingress, path, paths_of, secret, service, tls_entry
from tests.e2e.outside import Edge
from tests.e2e.space import Space, prepared

REDIRECTS = (301, 302, 303, 307, 308)
AGENT = ("User-Agent", "conformance/1.0")


@pytest.fixture(scope="module")
def certificate() -> Certificate:
    return issue("foo.bar.com")


@pytest.fixture(scope="class")
def _default_backend(controller: Controller) -> Iterator[None]:
    """Gone before the other cases begin, which expect 404 where nothing matches."""
    everything = ingress("default-backend", default="echo-service")

    async def setup(space: Space) -> None:
        await space.deploy("echo-service")
        await space.create(everything)
        await space.until_published("default-backend", [controller.edge.host])

    async def end(name: str) -> None:
        async with Kube() as kube:
            await Space(kube, name=name).delete(everything)
            await controller.edge.until_status(404, "my-host")

    with prepared(setup) as name:
        yield
        asyncio.run(end(name))


@pytest.fixture(scope="module")
def _host_rules(controller: Controller, certificate: Certificate) -> Iterator[str]:
    async def setup(space: Space) -> None:
        await space.deploy("host-foo", "host-wildcard", make_service=False)
        await space.create(
            service("host-foo"),
            service("host-wildcard", ports=[{"name": "http", "port": 8080, "targetPort": "web"}]),
            secret("conformance-tls", certificate.pem, certificate.private_key),
            ingress(
                "host-rules",
                paths_of("*.foo.com", path("/", "host-wildcard:http")),
                paths_of("foo.bar.com", path("/", "host-foo")),
                tls=[tls_entry("conformance-tls", "foo.bar.com")],
            ),
        )
        await space.until_published("host-rules", [controller.edge.host])

    with prepared(setup) as name:
        yield name


@pytest.fixture(scope="module")
def _path_rules(controller: Controller) -> Iterator[str]:
    names = ("foo-exact", "foo-prefix", "aaa-bbb-prefix", "aaa-prefix", "aaa-bbb-slash-prefix")

    async def setup(space: Space) -> None:
        await space.deploy(*names, "foo-slash-exact")
        await space.create(
            ingress(
                "path-rules",
                paths_of("exact-path-rules", path("/foo", "foo-exact", "Exact")),
                paths_of(
                    "prefix-path-rules",
                    path("/foo", "foo-prefix"),
                    path("/aaa/bbb", "aaa-bbb-prefix"),
                    path("/aaa", "aaa-prefix"),
                ),
                paths_of(
                    "mixed-path-rules",
                    path("/foo", "foo-prefix"),
                    path("/foo", "foo-exact", "Exact"),
                ),
                paths_of(
                    "trailing-slash-path-rules",
                    path("/aaa/bbb/", "aaa-bbb-slash-prefix"),
                    path("/foo/", "foo-slash-exact", "Exact"),
                ),
            )
        )
        await space.until_published("path-rules", [controller.edge.host])

    with prepared(setup) as name:
        yield name


# default_backend.feature


@pytest.mark.usefixtures("_default_backend")
class TestDefaultBackend:
    @pytest.mark.parametrize(
        ("method", "host", "target"),
        [
            pytest.param("GET", "my-host", "/", id="GET /"),
            pytest.param("GET", "my-host", "/path", id="GET a sub-path"),
            pytest.param("POST", "my-host", "/", id="POST"),
            pytest.param("PUT", "", "/", id="PUT to the address itself"),
            pytest.param("DELETE", "my-host", "/", id="DELETE"),
            pytest.param("PATCH", "my-host", "/", id="PATCH"),
        ],
    )
    async def test_the_default_backend_gets_what_no_rule_matches(
        self, edge: Edge, method: str, host: str, target: str
    ) -> None:
        # The reader of answers takes nothing but HTTP/1.1.
        answer = await edge.get(host or edge.host, target, AGENT, method=method)

        assert answer.seen["service"] == "echo-service"
        for field in ("content-length", "content-type", "date", "server"):
            assert answer.reply.get(field), field
        assert answer.seen["proto"] == "HTTP/1.1"
        assert answer.seen["method"] == method
        assert answer.seen["path"] == target
        assert answer.seen["host"] == (host or edge.host)
        assert list(AGENT) in answer.seen["headers"]


# host_rules.feature


@pytest.mark.usefixtures("_host_rules")
async def test_a_precise_host_is_served_over_https_with_its_certificate(
    edge: Edge, certificate: Certificate
) -> None:
    answer = await edge.get("foo.bar.com", tls=True)

    assert answer.seen["service"] == "host-foo"
    assert answer.certificate == certificate.der


@pytest.mark.usefixtures("_host_rules")
async def test_a_precise_host_is_served_over_http_perhaps_after_a_redirect(edge: Edge) -> None:
    answer = await edge.get("foo.bar.com")
    if answer.status in REDIRECTS:
        assert answer.reply.get("location") == "https://foo.bar.com/"
        answer = await edge.get("foo.bar.com", tls=True)

    assert answer.seen["service"] == "host-foo"


@pytest.mark.usefixtures("_host_rules")
async def test_one_label_below_a_wildcard_is_served(edge: Edge) -> None:
    assert (await edge.get("bar.foo.com")).seen["service"] == "host-wildcard"


@pytest.mark.usefixtures("_host_rules")
@pytest.mark.parametrize(
    "host",
    [
        pytest.param("subdomain.bar.com", id="unknown sub-domain"),
        pytest.param("baz.bar.foo.com", id="two labels below a wildcard"),
        pytest.param("foo.com", id="the apex of a wildcard"),
    ],
)
async def test_a_host_that_no_rule_names_is_not_served(edge: Edge, host: str) -> None:
    assert (await edge.get(host)).status == 404


# ingress_class.feature


async def test_an_ingress_of_a_class_that_nobody_serves_gets_no_address(
    space: Space, edge: Edge, standing: list[str]
) -> None:
    await space.stand("web", on=standing)
    await space.create(
        ingress("foreign", paths_of("foreign.test", path("/", "web")), ingress_class="nobodys"),
        ingress("ours", paths_of("ours.test", path("/", "web"))),
    )
    await space.until_published("ours", [edge.host])

    assert await space.published("foreign") == []
    assert (await edge.get("foreign.test")).status == 404


# load_balancing.feature


async def test_ten_pods_share_the_requests(space: Space, edge: Edge) -> None:
    await space.deploy("echo")
    await space.create(ingress("balanced", paths_of("balanced.test", path("/", "echo"))))
    await edge.until_served("balanced.test", by="echo")
    await space.scale("echo", 10)

    end = time.monotonic() + 10
    while len(pods := set(await edge.pods("balanced.test", count=100))) < 10:
        assert time.monotonic() < end, f"100 requests reached {len(pods)} Pods"
        await asyncio.sleep(0.1)


# path_rules.feature


@pytest.mark.usefixtures("_path_rules")
@pytest.mark.parametrize(
    ("host", "target", "by"),
    [
        pytest.param("exact-path-rules", "/foo", "foo-exact", id="Exact hit"),
        pytest.param("exact-path-rules", "/foo/", None, id="Exact, trailing slash"),
        pytest.param("exact-path-rules", "/FOO", None, id="Exact, case"),
        pytest.param("exact-path-rules", "/bar", None, id="Exact, other"),
        pytest.param("prefix-path-rules", "/foo", "foo-prefix", id="Prefix hit"),
        pytest.param("prefix-path-rules", "/foo/", "foo-prefix", id="Prefix, trailing slash"),
        pytest.param("prefix-path-rules", "/FOO", None, id="Prefix, case"),
        pytest.param("prefix-path-rules", "/aaa/bbb", "aaa-bbb-prefix", id="longest Prefix"),
        pytest.param("prefix-path-rules", "/aaa/bbb/ccc", "aaa-bbb-prefix", id="its sub-path"),
        pytest.param("prefix-path-rules", "/aaa/ccc", "aaa-prefix", id="shorter Prefix"),
        pytest.param("prefix-path-rules", "/aaaccc", None, id="not element-wise"),
        pytest.param("prefix-path-rules", "/foo/", "foo-prefix", id="again with slash"),
        pytest.param("mixed-path-rules", "/foo", "foo-exact", id="Exact before Prefix"),
        pytest.param(
            "trailing-slash-path-rules", "/aaa/bbb", "aaa-bbb-slash-prefix", id="rule with slash"
        ),
        pytest.param(
            "trailing-slash-path-rules", "/aaa/bbb/", "aaa-bbb-slash-prefix", id="both with slash"
        ),
        pytest.param("trailing-slash-path-rules", "/foo", None, id="Exact with slash"),
    ],
)
async def test_the_path_decides(edge: Edge, host: str, target: str, by: str | None) -> None:
    answer = await edge.get(host, target)

    if by is None:
        assert answer.status == 404
    else:
        assert answer.seen["service"] == by
