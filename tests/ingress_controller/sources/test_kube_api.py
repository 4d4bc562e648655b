"""Requests and watches end in bytes or in one of our errors, and every wait has an end."""

import asyncio
import contextlib
import gc
import gzip
import os
import re
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from email.utils import formatdate
from pathlib import Path

import pytest
import uvloop

from ingress_controller.sources import kube_api as module
from ingress_controller.sources.connections import KEEPALIVE
from ingress_controller.sources.credentials import Login
from ingress_controller.sources.errors import (
    ApiError,
    ConflictError,
    ForbiddenError,
    GoneError,
    InvalidError,
    MalformedAnswerError,
    NotFoundError,
    ThrottledError,
    UnauthorizedError,
    UnavailableError,
)
from ingress_controller.sources.kube_api import Access, KubeApi
from tests.harness.kube_api import FakeKubeApi
from tests.harness.kube_tls import authority_file, server_context
from tests.harness.serving import Handler, serving
from tests.harness.waiting import until

SECRETS = "/api/v1/secrets"
WATCH = {"watch": "true", "resourceVersion": "1000"}


class Known:
    """An account whose login is given."""

    def __init__(self, login: Login) -> None:
        self.login = login
        self.loads: list[bool] = []

    async def load(self, *, anew: bool) -> Login:
        self.loads.append(anew)
        await asyncio.sleep(0)
        return self.login


@asynccontextmanager
async def connected(url: str, **login: str) -> AsyncIterator[KubeApi]:
    api = await KubeApi.enter(Known(Login(server=url, **login)))  # type: ignore[arg-type]
    yield api
    await api.close()


@pytest.fixture
async def fake() -> AsyncIterator[FakeKubeApi]:
    async with FakeKubeApi() as server:
        yield server


@pytest.fixture
async def api(fake: FakeKubeApi) -> AsyncIterator[KubeApi]:
    async with connected(fake.url, authorization="Bearer s3cret") as client:
        yield client


def answering(data: bytes, *, then_wait: bool = False) -> Handler:
    """A server that reads a head, sends these bytes, and ends the connection or waits."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        await writer.drain()
        if then_wait:
            await asyncio.Event().wait()

    return handle


async def lines(api: KubeApi, *, silence: float = 5, connect: float = 5) -> list[bytes]:
    found = []
    async for line in api.stream(SECRETS, query=WATCH, silence=silence, connect=connect):
        found.append(line)
    return found


# -- requests --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "told"), [(200, 1), (404, 1), (409, 1), (503, 0)])
async def test_an_answer_of_a_server_that_is_itself_is_told(
    fake: FakeKubeApi, api: KubeApi, status: int, told: int
) -> None:
    answers = []
    api.on_answer = lambda: answers.append(1)
    fake.fault("GET", ".", status=status)
    with contextlib.suppress(ApiError):
        await api.request("GET", SECRETS)
    assert len(answers) == told


async def test_a_request_is_sent_as_it_was_given(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.fault("PATCH", ".", status=200, body=b"done")
    query = {"fieldManager": "a b&c=d", "labelSelector": "a in (b,c)"}
    done = await api.request(
        "PATCH",
        "/api/v1/namespaces/a/things/x",
        query=query,
        body=b"{}",
        content_type="application/merge-patch+json",
    )
    (seen,) = fake.requests
    assert done == b"done"
    assert (seen.method, seen.query, seen.body) == ("PATCH", query, b"{}")
    assert seen.path == "/api/v1/namespaces/a/things/x"
    assert seen.headers["Authorization"] == "Bearer s3cret"
    assert seen.headers["Content-Type"] == "application/merge-patch+json"
    assert re.fullmatch(r"python-ingress/\d+\.\d+\.\d+\S*", seen.headers["User-Agent"])
    assert seen.headers["Accept"] == "application/json"
    assert seen.headers["Accept-Encoding"] == "identity"


async def test_the_path_of_the_server_comes_before_that_of_the_request(fake: FakeKubeApi) -> None:
    async with connected(f"{fake.url}/k8s/clusters/c-1") as api:
        with pytest.raises(NotFoundError):
            await api.request("GET", SECRETS)
    assert fake.requests[0].path == f"/k8s/clusters/c-1{SECRETS}"


async def test_connections_are_used_again(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.fault("GET", "missing", status=404)
    for _ in range(3):
        await api.request("GET", SECRETS)
        with pytest.raises(NotFoundError):
            await api.request("GET", "/missing")
    assert len(fake.peers) == 1


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (302, MalformedAnswerError),
        (400, InvalidError),
        (403, ForbiddenError),
        (404, NotFoundError),
        (409, ConflictError),
        (410, GoneError),
        (422, InvalidError),
        (429, ThrottledError),
        (500, UnavailableError),
        (503, UnavailableError),
    ],
)
async def test_statuses_become_errors_in_requests_and_watches(
    fake: FakeKubeApi, api: KubeApi, code: int, kind: type[ApiError]
) -> None:
    body = {"message": "because"}
    fake.fault("*", ".", status=code, times=2, body=body, headers={"Location": "/elsewhere"})
    with pytest.raises(kind, match=f"^GET {SECRETS}: answered {code}: because$") as error:
        await api.request("GET", SECRETS)
    assert type(error.value) is kind
    assert error.value.status == code
    with pytest.raises(kind, match=f"^watch of {SECRETS}: answered {code}: because$"):
        await lines(api)
    assert len(fake.requests) == 2, "no redirect is followed, nothing is sent again"


async def test_retry_after_is_read_as_seconds_and_as_a_date(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    date = formatdate(time.time() + 100, usegmt=True)
    for value, least, most in (("7", 7, 7), (date, 90, 100), ("soon", None, None)):
        fake.fault("GET", ".", status=429, headers={"Retry-After": value})
        with pytest.raises(ThrottledError) as error:
            await api.request("GET", SECRETS)
        found = error.value.retry_after
        assert found is None if least is None or most is None else least <= (found or 0) <= most


async def test_a_page_of_a_gateway_is_not_quoted(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.fault("GET", ".", status=502, body=b"<html>" + b"x" * 1_000_000)
    with pytest.raises(UnavailableError) as error:
        await api.request("GET", SECRETS)
    assert str(error.value) == f"GET {SECRETS}: answered 502"


async def test_compressed_answers_are_read_although_nobody_asks_for_them(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    body = gzip.compress(b'{"items":[]}' * 100_000)
    fake.fault("GET", ".", status=200, body=body, headers={"Content-Encoding": "gzip"})
    assert await api.request("GET", SECRETS) == b'{"items":[]}' * 100_000


async def test_an_answer_without_end_is_refused(
    fake: FakeKubeApi, api: KubeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BODY", 1000)
    fake.fault("GET", ".", status=200, body=b"x" * 1000)
    assert len(await api.request("GET", SECRETS)) == 1000
    fake.fault("GET", ".", status=200, body=b"x" * 1001)
    with pytest.raises(MalformedAnswerError, match="more than 1000 bytes"):
        await api.request("GET", SECRETS)


async def test_the_deadline_covers_the_body_too() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx"
    async with (
        serving(answering(head, then_wait=True)) as port,
        connected(f"http://127.0.0.1:{port}") as api,
    ):
        with pytest.raises(UnavailableError, match=r"no answer within 0\.2 s"):
            await api.request("GET", SECRETS, timeout=0.2)


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        (b"", UnavailableError, "ended the connection in the middle"),
        (b"SSH-2.0-OpenSSH\r\n", MalformedAnswerError, "answers is no HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", UnavailableError, "in the middle"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            MalformedAnswerError,
            "answers is no HTTP",
        ),
    ],
    ids=["nothing", "another protocol", "a cut body", "a wrong chunk"],
)
async def test_what_is_no_answer_becomes_an_error(
    data: bytes, kind: type[ApiError], message: str
) -> None:
    async with serving(answering(data)) as port, connected(f"http://127.0.0.1:{port}") as api:
        with pytest.raises(kind, match=message) as error:
            await api.request("POST", SECRETS, body=b"{}")
        assert error.value.status is None
        with pytest.raises(kind, match=message):
            await lines(api)


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_a_request_that_got_no_answer_is_not_sent_again(method: str) -> None:
    """Who asks decides when to ask again: an API server that is away must not be asked twice."""
    asked = []

    async def end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.transport.abort()

    async with serving(end) as port, connected(f"http://127.0.0.1:{port}") as api:
        with pytest.raises(UnavailableError):
            await api.request(method, SECRETS)
        assert len(asked) == 1
        if method == "GET":
            with pytest.raises(UnavailableError):
                await lines(api)
            assert len(asked) == 2


async def test_a_refused_connection_says_so() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        async with connected(f"http://127.0.0.1:{port}") as api:
            with pytest.raises(UnavailableError) as error:
                await api.request("GET", SECRETS)
    expected = f"GET {SECRETS}: http://127.0.0.1:{port} cannot be reached: Connection refused"
    assert str(error.value) == expected


async def test_an_unknown_name_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    async with connected("https://kubernetes.test:6443") as api:
        with pytest.raises(UnavailableError, match="cannot be found: its name has no address"):
            await api.request("GET", SECRETS)


# -- watches ---------------------------------------------------------------------------------------


async def test_lines_are_whole_however_they_were_sent(fake: FakeKubeApi, api: KubeApi) -> None:
    events = [b'{"type":"ADDED","object":{"x":"%d"}}' % number for number in range(5)]
    async with aclosing(api.stream(SECRETS, query=WATCH, silence=5)) as stream:
        reading = asyncio.ensure_future(anext(stream))
        await until(lambda: fake.watches(), "the watch is there")
        (watch,) = fake.watches()
        found = []
        for event in events:
            for byte in event + b"\n":
                watch.send_bytes(bytes([byte]))
                await asyncio.sleep(0)
            found.append(await reading)
            reading = asyncio.ensure_future(anext(stream))
        watch.send_bytes(b"\n".join(events) + b"\n\n")
        for _ in events:
            found.append(await reading)
            reading = asyncio.ensure_future(anext(stream))
        watch.end()
        with pytest.raises(StopAsyncIteration):
            await reading
    assert found == events + events


async def test_a_watch_that_ends_in_an_event_is_malformed(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.fault("watch", ".", status=200, body=b'{"type":"ADDED"}\n{"type":')
    with pytest.raises(MalformedAnswerError, match="ended in the middle of an event"):
        await lines(api)


async def test_an_event_without_end_is_refused(
    fake: FakeKubeApi, api: KubeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_LINE", 1000)
    fake.fault("watch", ".", status=200, body=b"x" * 1000 + b"\n")
    assert await lines(api) == [b"x" * 1000]
    fake.fault("watch", ".", status=200, body=b"x" * 1001)
    with pytest.raises(MalformedAnswerError, match="more than 1000 bytes"):
        await lines(api)


async def test_a_line_of_a_megabyte_comes_whole(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.fault("watch", ".", status=200, body=b"x" * 3_000_000 + b"\n")
    assert await lines(api) == [b"x" * 3_000_000]


async def test_a_lost_connection_is_no_end(fake: FakeKubeApi, api: KubeApi) -> None:
    reading = asyncio.ensure_future(lines(api))
    await until(lambda: fake.watches(), "the watch is there")
    fake.watches()[0].cut()
    with pytest.raises(UnavailableError, match="ended the connection in the middle"):
        await reading


async def test_a_silent_watch_ends_after_its_patience(fake: FakeKubeApi, api: KubeApi) -> None:
    reading = asyncio.ensure_future(lines(api, silence=0.3))
    await until(lambda: fake.watches(), "the watch is there")
    fake.watches()[0].go_silent()
    with pytest.raises(UnavailableError, match=r"was silent for 0\.3 s"):
        await reading


async def test_each_byte_renews_the_patience(fake: FakeKubeApi, api: KubeApi) -> None:
    start = time.monotonic()
    reading = asyncio.ensure_future(lines(api, silence=1))
    await until(lambda: fake.watches(), "the watch is there")
    for _ in range(12):
        fake.watches()[0].send_bytes(b"x")
        await asyncio.sleep(0.1)  # less than the patience, and together more
    assert time.monotonic() - start > 1
    assert not reading.done()
    fake.watches()[0].send_bytes(b"\n")
    fake.watches()[0].end()
    assert await reading == [b"x" * 12]


async def test_a_server_that_never_answers_a_watch_is_silent(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fake.fault("watch", ".", hang=True)
    with pytest.raises(UnavailableError, match=r"was silent for 0\.3 s"):
        await lines(api, silence=0.3)


async def test_a_connection_has_a_deadline_of_its_own() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:  # the kernel drops what comes when the queue is full
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        async with connected(f"http://127.0.0.1:{full.getsockname()[1]}") as api:
            with pytest.raises(UnavailableError, match=r"no connection within 0\.3 s"):
                await lines(api, silence=60, connect=0.3)
        for filler in fillers:
            filler.close()


@pytest.mark.parametrize("how", ["aclose", "cancel"])
async def test_leaving_a_watch_ends_its_connection(
    fake: FakeKubeApi, api: KubeApi, how: str
) -> None:
    if how == "cancel":
        reading = asyncio.ensure_future(lines(api))
        await until(lambda: fake.watches(), "the watch is there")
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    else:
        fake.put({"kind": "Secret", "metadata": {"name": "x"}})
        stream = api.stream(SECRETS, query=WATCH, silence=5)
        await anext(stream)
        await stream.aclose()
    await until(lambda: not fake.watches(), "the server sees the end")


async def test_watches_leave_connections_for_requests(
    fake: FakeKubeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingress_controller.sources.connections.MAX_STREAMS", 2)
    async with connected(fake.url) as api:
        readings = [asyncio.ensure_future(lines(api)) for _ in range(2)]
        await until(lambda: len(fake.watches()) == 2, "both watches are there")
        with pytest.raises(UnavailableError, match=r"no connection within 0\.1 s"):
            await lines(api, connect=0.1)
        await api.request("GET", SECRETS)
        for watch in fake.watches():
            watch.end()
        assert await asyncio.gather(*readings) == [[], []]


# -- credentials -----------------------------------------------------------------------------------


async def test_a_refused_token_is_loaded_again_once(fake: FakeKubeApi) -> None:
    fake.token = "second"
    account = Known(Login(server=fake.url, authorization="Bearer first"))
    api = await KubeApi.enter(account)
    account.login = Login(server=fake.url, authorization="Bearer second")
    await api.request("GET", SECRETS)
    assert account.loads == [False, True]
    assert [seen.status for seen in fake.requests] == [401, 200]
    fake.token = "third"
    account.login = Login(server=fake.url, authorization="Bearer third")
    api._pause_until = 0.0
    fake.fault("watch", "secrets", status=401)
    assert await lines_of_an_ending_watch(fake, api) == []
    await api.close()


async def lines_of_an_ending_watch(fake: FakeKubeApi, api: KubeApi) -> list[bytes]:
    reading = asyncio.ensure_future(lines(api))
    await until(lambda: fake.watches(), "the watch is there")
    fake.watches()[0].end()
    return await reading


async def test_a_token_that_stays_refused_is_an_error_and_not_a_loop(fake: FakeKubeApi) -> None:
    fake.token = "other"
    account = Known(Login(server=fake.url, authorization="Bearer first"))
    api = await KubeApi.enter(account)
    with pytest.raises(UnauthorizedError):
        await api.request("GET", SECRETS)
    assert (account.loads, len(fake.requests)) == ([False, True], 2)
    with pytest.raises(UnauthorizedError):
        await api.request("GET", SECRETS)
    assert (account.loads, len(fake.requests)) == ([False, True], 3), "not within a second"
    await api.close()


async def test_many_refusals_load_the_token_once(fake: FakeKubeApi) -> None:
    fake.token = "second"
    account = Known(Login(server=fake.url, authorization="Bearer first"))
    api = await KubeApi.enter(account)
    account.login = Login(server=fake.url, authorization="Bearer second")
    await asyncio.gather(*(api.request("GET", SECRETS) for _ in range(20)))
    assert account.loads == [False, True]
    await api.close()


async def test_the_token_is_loaded_again_after_a_minute(fake: FakeKubeApi) -> None:
    account = Known(Login(server=fake.url, authorization="Bearer first"))
    api = await KubeApi.enter(account)
    account.login = Login(server=fake.url, authorization="Bearer second")
    await api.request("GET", SECRETS)
    assert account.loads == [False]
    api._renew_at = 0.0  # a minute later
    await api.request("GET", SECRETS)
    await until(lambda: account.loads == [False, False], "the account is loaded")
    await api.request("GET", SECRETS)
    await api.request("GET", SECRETS)
    assert account.loads == [False, False]
    assert api._renew_at == pytest.approx(asyncio.get_running_loop().time() + 60, abs=5)
    shown = [seen.headers["Authorization"] for seen in fake.requests]
    assert (shown[0], shown[-1]) == ("Bearer first", "Bearer second")
    await api.close()


async def test_a_slow_plugin_is_waited_for_longer_than_a_request(fake: FakeKubeApi) -> None:
    class Slow(Known):
        async def load(self, *, anew: bool) -> Login:
            await asyncio.sleep(0.3 if anew else 0)
            return await super().load(anew=anew)

    fake.token = "second"
    account = Slow(Login(server=fake.url, authorization="Bearer first"))
    api = await KubeApi.enter(account)
    account.login = Login(server=fake.url, authorization="Bearer second")
    with pytest.raises(UnavailableError, match="no answer within"):
        await api.request("GET", SECRETS, timeout=0.1)
    await until(lambda: account.loads == [False, True], "the plugin has answered")
    await api.request("GET", SECRETS, timeout=0.1)
    await api.close()


async def test_closing_ends_a_plugin_that_is_waited_for(fake: FakeKubeApi) -> None:
    class Stuck(Known):
        async def load(self, *, anew: bool) -> Login:
            if anew:
                await asyncio.Event().wait()
            return await super().load(anew=anew)

    fake.token = "second"
    api = await KubeApi.enter(Stuck(Login(server=fake.url, authorization="Bearer first")))
    reading = asyncio.ensure_future(api.request("GET", SECRETS))
    await until(lambda: api._renewal is not None, "the plugin runs")
    await api.close()
    with pytest.raises(UnauthorizedError):
        await reading


# -- secrets, proxies, sockets, the end ------------------------------------------------------------


async def test_no_error_shows_a_credential(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.fault("GET", ".", status=400, body={"message": "got Authorization: Bearer s3cret"})
    with pytest.raises(InvalidError) as error:
        await api.request("GET", SECRETS)
    assert str(error.value) == f"GET {SECRETS}: answered 400: got Authorization: Bearer (redacted)"
    for shown in (repr(error.value), repr(api), str(vars(api))):
        assert "s3cret" not in shown


async def test_proxies_of_the_environment_are_not_used(
    fake: FakeKubeApi, api: KubeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    await api.request("GET", SECRETS)
    assert len(fake.requests) == 1


async def test_a_proxy_is_used_when_we_were_told_to() -> None:
    body = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    heads = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(body)
        await writer.drain()

    async with serving(proxy) as port:
        url = f"http://me:hush@127.0.0.1:{port}"
        async with connected("http://192.0.2.1:6443", proxy=url) as api:
            assert await api.request("GET", SECRETS) == b"{}"
    assert heads[0].startswith(b"GET http://192.0.2.1:6443/api/v1/secrets HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic " in heads[0]


async def test_a_proxy_that_is_gone_is_named_without_its_password() -> None:
    async with connected("http://192.0.2.1", proxy="http://me:hush@127.0.0.1:9") as api:
        with pytest.raises(UnavailableError) as error:
            await api.request("GET", SECRETS)
    assert str(error.value).endswith("http://192.0.2.1 cannot be reached: its proxy cannot")


async def test_a_proxy_that_refuses_says_its_status() -> None:
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    async with (
        serving(answering(refusal)) as port,
        connected("https://192.0.2.1", proxy=f"http://me:hush@127.0.0.1:{port}") as api,
    ):
        with pytest.raises(UnavailableError, match=r"the proxy answered 407$"):
            await api.request("GET", SECRETS)


def sockets_to(port: int) -> list[socket.socket]:
    """Copies of our sockets whose other end is this port."""
    found = []
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        try:
            sock = socket.socket(fileno=os.dup(descriptor))
        except OSError:
            continue
        try:
            peer = sock.getpeername()
        except OSError:
            peer = None
        if isinstance(peer, tuple) and peer[1] == port:
            found.append(sock)
        else:
            sock.close()
    return found


async def test_the_kernel_watches_every_connection(fake: FakeKubeApi, api: KubeApi) -> None:
    await api.request("GET", SECRETS)
    reading = asyncio.ensure_future(lines(api))
    await until(lambda: fake.watches(), "the watch is there")
    sockets = sockets_to(fake.port)
    assert len(sockets) == 2
    for sock in sockets:
        with sock:
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            for option, value in KEEPALIVE:
                assert sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, option)) == value
    fake.watches()[0].end()
    await reading


async def test_after_the_end_everything_is_an_error(fake: FakeKubeApi, api: KubeApi) -> None:
    reading = asyncio.ensure_future(lines(api))
    await until(lambda: fake.watches(), "the watch is there")
    await api.close()
    with pytest.raises(UnavailableError):
        await reading
    with pytest.raises(UnavailableError, match="were closed"):
        await api.request("GET", SECRETS)
    await api.close()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_closing_leaves_nothing_behind(
    run: Callable[[Awaitable[None]], None], tmp_path: Path, *, tls: bool
) -> None:
    """Warnings are errors here, also those of objects that nobody closed."""

    async def main() -> None:
        context = server_context(tmp_path) if tls else None
        async with FakeKubeApi(context=context) as fake:
            before = descriptors()
            path = fake.kubeconfig(tmp_path, ca=authority_file(tmp_path))
            api = await KubeApi.connect(Access(kubeconfig=path))
            reading = asyncio.ensure_future(lines(api))
            await until(lambda: fake.watches(), "the watch is there")
            await asyncio.gather(*(api.request("GET", SECRETS) for _ in range(10)))
            await api.close()
            with pytest.raises(UnavailableError):
                await reading
            await until(lambda: descriptors() <= before, "all sockets are closed")

    run(main())
    gc.collect()
