"""A Pod's account, the TLS of connections, and their renewal, against a server that checks them."""

import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ingress_controller.sources.credentials import (
    Access,
    Login,
    ServiceAccount,
    find_account,
    tls_context,
    tls_digest,
)
from ingress_controller.sources.errors import AccessError, UnauthorizedError, UnavailableError
from ingress_controller.sources.kube_api import KubeApi
from ingress_controller.sources.kubeconfig import Kubeconfig
from tests.harness.kube_api import FakeKubeApi
from tests.harness.kube_tls import SERVER_NAME, authority_file, client_files, server_context
from tests.harness.waiting import until
from tests.tls.certificates import pair

SECRETS = "/api/v1/secrets"
ROOT = Path(__file__).parents[3]
WATCH = {"watch": "true", "resourceVersion": "1000"}


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[FakeKubeApi]:
    """Over TLS, for bearers of a token."""
    async with FakeKubeApi(context=server_context(tmp_path), token="first") as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the kubelet mounts an account."""
    path = tmp_path / "serviceaccount"
    path.mkdir()
    return path


async def pod(fake: FakeKubeApi, folder: Path, issuer: str = "cluster authority") -> KubeApi:
    """The client of a Pod."""
    authority = authority_file(folder.parent, issuer)
    environ = fake.service_account(folder, authority)
    return await KubeApi.enter(ServiceAccount(str(folder), environ))


# -- a Pod's account -------------------------------------------------------------------------------


async def test_a_pod_needs_nothing_but_its_account(fake: FakeKubeApi, folder: Path) -> None:
    api = await pod(fake, folder)
    assert api.server == f"https://127.0.0.1:{fake.port}"
    await api.request("GET", SECRETS)
    assert fake.requests[0].headers["Authorization"] == "Bearer first"
    await api.close()


async def test_an_address_of_the_sixth_version_is_written_as_urls_want_it(folder: Path) -> None:
    for name in ("token", "ca.crt"):
        (folder / name).write_text("x\n")
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    login = await ServiceAccount(str(folder), environ).load(anew=False)
    assert (login.server, login.authorization) == ("https://[fd00::1]:443", "Bearer x")


async def test_a_token_that_the_kubelet_renewed_is_used(fake: FakeKubeApi, folder: Path) -> None:
    api = await pod(fake, folder)
    fake.token = "second"
    (folder / "token").write_text("second\n")
    await api.request("GET", SECRETS)
    assert [seen.status for seen in fake.requests] == [401, 200]
    await api.close()


async def test_a_refused_token_whose_file_is_gone_tells_both(
    fake: FakeKubeApi, folder: Path
) -> None:
    api = await pod(fake, folder)
    fake.token = "second"
    (folder / "token").unlink()
    for _ in range(2):
        with pytest.raises(UnauthorizedError, match=r"answered 401: Unauthorized; the service ac"):
            await api.request("GET", SECRETS)
    fake.token = "first"
    await api.request("GET", SECRETS)
    await api.close()


def break_account(folder: Path, environ: dict[str, str], how: str) -> None:
    if how == "no folder":
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    elif how.startswith("no "):
        (folder / how.removeprefix("no ")).unlink()
    elif how.startswith("empty "):
        (folder / how.removeprefix("empty ")).write_text("")
    elif how.startswith("blank "):
        (folder / how.removeprefix("blank ")).write_text("\n")
    elif how.startswith("unset "):
        del environ[how.removeprefix("unset ")]
    elif how == "binary token":
        (folder / "token").write_bytes(b"\xff\xfe")
    elif how == "garbage ca.crt":
        (folder / "ca.crt").write_text("x")


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("no folder", "no service account is mounted at .*automountServiceAccountToken"),
        ("no token", "Service token file does not exist"),
        ("no ca.crt", "Service certification file does not exist"),
        ("empty token", "Token file exists but empty"),
        ("blank token", "token is empty"),
        ("binary token", "a file in it is not text"),
        ("empty ca.crt", "Cert file exists but empty"),
        ("garbage ca.crt", r"the authorities .*ca\.crt for the API server cannot be used"),
        ("unset KUBERNETES_SERVICE_HOST", "Service host/port is not set"),
    ],
)
async def test_an_unusable_account_is_explained(
    fake: FakeKubeApi, folder: Path, how: str, says: str
) -> None:
    environ = fake.service_account(folder, authority_file(folder.parent))
    break_account(folder, environ, how)
    with pytest.raises(AccessError, match=says):
        await KubeApi.enter(ServiceAccount(str(folder), environ))


async def test_a_folder_in_the_place_of_a_file_is_explained(folder: Path) -> None:
    environ = {"KUBERNETES_SERVICE_HOST": "192.0.2.1", "KUBERNETES_SERVICE_PORT": "443"}
    (folder / "token").write_text("x")
    (folder / "ca.crt").mkdir()
    with pytest.raises(AccessError, match="cannot be used"):
        await ServiceAccount(str(folder), environ).load(anew=False)


def test_without_flags_the_account_of_the_pod_counts() -> None:
    assert isinstance(find_account(Access(), {"KUBECONFIG": "/x"}), ServiceAccount)
    assert isinstance(find_account(Access(kubeconfig="/x"), {}), Kubeconfig)
    assert isinstance(find_account(Access(context="x"), {}), Kubeconfig)


async def test_a_context_alone_is_looked_for_where_kubectl_would_look(tmp_path: Path) -> None:
    for environ in ({"KUBECONFIG": str(tmp_path / "none")}, {}):
        account = find_account(Access(context="x"), environ)
        with pytest.raises(AccessError, match=environ.get("KUBECONFIG", r"kubeconfig .*config")):
            await account.load(anew=False)


# -- TLS -------------------------------------------------------------------------------------------


async def test_a_server_of_another_authority_is_not_trusted(
    fake: FakeKubeApi, folder: Path
) -> None:
    api = await pod(fake, folder, issuer="another authority")
    with pytest.raises(UnavailableError, match="shows a certificate that is not accepted: unable"):
        await api.request("GET", SECRETS)
    assert fake.requests == []
    await api.close()


async def test_a_new_authority_is_trusted_as_soon_as_its_file_is_there(
    fake: FakeKubeApi, folder: Path, tmp_path: Path
) -> None:
    api = await pod(fake, folder)
    await api.request("GET", SECRETS)
    await fake.stop()
    fake.context = server_context(tmp_path, "next authority")
    await fake.start()
    with pytest.raises(UnavailableError, match="not accepted"):
        await api.request("GET", SECRETS)
    (folder / "ca.crt").write_bytes(authority_file(tmp_path, "next authority").read_bytes())
    with pytest.raises(UnavailableError, match="not accepted"):
        await api.request("GET", SECRETS)  # looked again less than a second ago
    api._pause_until = 0.0
    await api.request("GET", SECRETS)
    await api.close()


async def test_a_watch_lives_on_when_the_authority_changes(
    fake: FakeKubeApi, folder: Path, tmp_path: Path
) -> None:
    api = await pod(fake, folder)
    fake.put({"kind": "Secret", "metadata": {"name": "a"}})
    stream = api.stream(SECRETS, query=WATCH, silence=5)
    await anext(stream)
    (folder / "ca.crt").write_bytes(authority_file(tmp_path, "next authority").read_bytes())
    assert fake.context is not None
    known = pair(SERVER_NAME, "127.0.0.1", issuer="next authority")
    (tmp_path / "next.pem").write_bytes(known.chain + known.key.pem)
    fake.context.load_cert_chain(tmp_path / "next.pem")
    api._renew_at = 0.0  # a minute later
    await api.request("GET", SECRETS)
    await until(lambda: api._renewal is None, "the authorities are loaded")
    assert len(api._retired) == 1
    await api.request("GET", SECRETS)
    fake.put({"kind": "Secret", "metadata": {"name": "b"}})
    assert b'"name":"b"' in await anext(stream)
    await stream.aclose()
    api._renew_at = 0.0
    await api.request("GET", SECRETS)
    await until(lambda: not api._retired, "the old connections are closed")
    await api.close()


async def test_a_client_certificate_is_shown_and_renewed(tmp_path: Path) -> None:
    context = server_context(tmp_path, client_issuer="client authority")
    authority = authority_file(tmp_path)
    async with FakeKubeApi(context=context) as fake:
        files = client_files(tmp_path, "unknown authority")
        path = fake.kubeconfig(tmp_path, ca=authority, user=dict(files))
        api = await KubeApi.connect(Access(kubeconfig=path))
        with pytest.raises(UnavailableError):
            await api.request("GET", SECRETS)
        client_files(tmp_path, "client authority")
        api._renew_at = 0.0  # a minute later
        with pytest.raises(UnavailableError):
            await api.request("GET", SECRETS)
        await until(lambda: api._renewal is None, "the files are read again")
        await api.request("GET", SECRETS)
        await api.close()


async def test_other_names_and_no_verification_when_we_were_told_so(
    fake: FakeKubeApi, tmp_path: Path
) -> None:
    fake.token = None
    url = f"https://localhost:{fake.port}"
    authority = str(authority_file(tmp_path))

    async def reach(**login: Any) -> None:
        class Fixed:
            async def load(self, *, anew: bool) -> Login:
                return Login(server=url, **login)

        api = await KubeApi.enter(Fixed())
        try:
            await api.request("GET", SECRETS)
        finally:
            await api.close()

    with pytest.raises(UnavailableError, match="Hostname mismatch"):
        await reach(ca_file=authority)
    await reach(ca_file=authority, server_name=SERVER_NAME)
    await reach(verify=False)


async def test_a_server_without_tls_says_so() -> None:
    async with FakeKubeApi() as fake:

        class Fixed:
            async def load(self, *, anew: bool) -> Login:
                return Login(server=fake.url.replace("http:", "https:"), verify=False)

        api = await KubeApi.enter(Fixed())
        with pytest.raises(UnavailableError, match=r"does not agree on TLS: [A-Z_]+"):
            await api.request("GET", SECRETS)
        await api.close()


def test_an_http_url_has_no_tls() -> None:
    assert tls_context(Login(server="http://192.0.2.1")) is None


def test_authorities_without_key_identifiers_are_accepted(tmp_path: Path) -> None:
    """Python 3.13 would refuse the authorities of many clusters."""
    context = tls_context(Login(server="https://x", ca_file=str(authority_file(tmp_path))))
    assert context is not None
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.parametrize("which", ["client-certificate", "client-key"])
def test_an_unusable_client_certificate_is_explained(tmp_path: Path, which: str) -> None:
    files = client_files(tmp_path)
    Path(files[which]).write_text("x")
    login = Login(
        server="https://x", cert_file=files["client-certificate"], key_file=files["client-key"]
    )
    with pytest.raises(AccessError, match=r"the client certificate .*client\.crt .*cannot be used"):
        tls_context(login)


def test_whatever_changes_the_context_changes_the_digest(tmp_path: Path) -> None:
    files = client_files(tmp_path)
    plain = Login(server="https://x", ca_file=str(authority_file(tmp_path)))
    shown = Login(
        server="https://x",
        ca_file=plain.ca_file,
        cert_file=files["client-certificate"],
        key_file=files["client-key"],
    )
    seen = {tls_digest(plain), tls_digest(shown), tls_digest(Login(server="https://x"))}
    authority_file(tmp_path, "next authority")
    seen |= {tls_digest(plain), tls_digest(shown)}
    client_files(tmp_path, "next client authority")
    seen |= {tls_digest(shown), tls_digest(Login(server="https://x", verify=False))}
    assert len(seen) == 7
    Path(files["client-key"]).unlink()
    with pytest.raises(AccessError, match=r"client\.key .*No such file"):
        tls_digest(shown)


# -- secrets and imports ---------------------------------------------------------------------------


def test_a_login_prints_as_redacted() -> None:
    login = Login(
        server="https://x", authorization="Bearer s3cret", proxy="http://me:hush@192.0.2.1"
    )
    assert repr(login) == "Login(server='https://x', redacted)"
    assert "s3cret" not in str(login.__rich_repr__())
    assert login.secrets == ["s3cret", "hush", "me"]


LOADED = """
import asyncio, json, sys
from ingress_controller.sources.credentials import ServiceAccount
from ingress_controller.sources import kube_api
before = set(sys.modules)
async def main():
    environ = {"KUBERNETES_SERVICE_HOST": "192.0.2.1", "KUBERNETES_SERVICE_PORT": "443"}
    await ServiceAccount(sys.argv[1], environ).load(anew=False)
asyncio.run(main())
print(*sorted(set(sys.modules) - before))
import kubernetes_asyncio
print(kubernetes_asyncio.client.CoreV1Api.__name__)
print(kubernetes_asyncio.config.load_incluster_config.__name__)
"""


def test_a_pod_loads_two_modules_of_the_library_and_leaves_the_rest_usable(folder: Path) -> None:
    for name in ("token", "ca.crt"):
        (folder / name).write_text("x")
    done = subprocess.run(
        [sys.executable, "-c", LOADED, str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=ROOT,
    )
    loaded, *rest = done.stdout.splitlines()
    assert loaded.split() == [
        "kubernetes_asyncio.config.config_exception",
        "kubernetes_asyncio.config.incluster_config",
    ]
    assert rest == ["CoreV1Api", "load_incluster_config"]


WHOLE = """
import kubernetes_asyncio
from ingress_controller.sources.credentials import config_module
module = config_module("kube_config")
assert module.Configuration is kubernetes_asyncio.client.Configuration
assert config_module("kube_config") is module
"""


def test_what_somebody_loaded_already_is_used_as_it_is() -> None:
    subprocess.run([sys.executable, "-c", WHOLE], timeout=60, check=True, cwd=ROOT)
