"""A kubeconfig is read as kubectl reads it; what is wrong with one is said without its secrets."""

import asyncio
import base64
import json
import stat
import sys
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ingress_controller.sources import kubeconfig as module
from ingress_controller.sources.credentials import Login
from ingress_controller.sources.errors import AccessError, UnauthorizedError
from ingress_controller.sources.kube_api import Access, KubeApi
from ingress_controller.sources.kubeconfig import Kubeconfig
from tests.harness.kube_api import FakeKubeApi
from tests.harness.kube_tls import authority_file, client_files, server_context
from tests.harness.waiting import until

SECRETS = "/api/v1/secrets"
SECRET = "s3cret-w0rd"

pytestmark = pytest.mark.filterwarnings(
    # kubernetes_asyncio asks for the time in a way that Python 3.12 and later do not like
    "ignore:datetime.datetime.utcnow:DeprecationWarning"
)


def document(**changes: Any) -> dict[str, Any]:
    """A kubeconfig with two contexts; ``user`` and ``cluster`` replace the first one's."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": changes.get("current", "one"),
        "contexts": [
            {"name": "one", "context": {"cluster": "c", "user": "u"}},
            {"name": "two", "context": {"cluster": "d", "user": "v"}},
        ],
        "clusters": [
            {"name": "c", "cluster": changes.get("cluster", {"server": "http://192.0.2.1:8080/"})},
            {"name": "d", "cluster": {"server": "http://192.0.2.2"}},
        ],
        "users": [
            {"name": "u", "user": changes.get("user", {"token": SECRET})},
            {"name": "v", "user": {"username": "me", "password": SECRET}},
        ],
    }


def written(folder: Path, content: Any, name: str = "config") -> str:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


async def login(path: str, context: str | None = None) -> Login:
    return await Kubeconfig(path, context).load(anew=False)


# -- what is read ----------------------------------------------------------------------------------


async def test_the_current_context_counts_unless_another_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, document())
    one, two = await login(path), await login(path, "two")
    assert (one.server, one.authorization) == ("http://192.0.2.1:8080", f"Bearer {SECRET}")
    basic = base64.b64encode(f"me:{SECRET}".encode()).decode()
    assert (two.server, two.authorization) == ("http://192.0.2.2", f"Basic {basic}")


async def test_several_files_are_merged(tmp_path: Path) -> None:
    first, second = document(), document()
    second["contexts"][1]["name"] = "three"
    second["clusters"][0]["cluster"] = {"server": "http://192.0.2.9"}
    paths = [written(tmp_path, first, "a"), written(tmp_path, second, "b"), "/nowhere"]
    assert (await login(":".join(paths), "three")).server == "http://192.0.2.2"
    assert (await login(":".join(paths), "one")).server == "http://192.0.2.1:8080"


async def test_files_are_looked_for_beside_the_kubeconfig(tmp_path: Path) -> None:
    authority_file(tmp_path)
    client_files(tmp_path)
    (tmp_path / "token").write_text(f"{SECRET}\n")
    cluster = {
        "server": "https://192.0.2.1",
        "certificate-authority": "ca.crt",
        "tls-server-name": "kubernetes",
        "proxy-url": "http://192.0.2.7:3128",
    }
    user = {"tokenFile": "token", "client-certificate": "client.crt", "client-key": "client.key"}
    found = await login(written(tmp_path, document(cluster=cluster, user=user)))
    assert found == Login(
        server="https://192.0.2.1",
        authorization=f"Bearer {SECRET}",
        ca_file=str(tmp_path / "ca.crt"),
        cert_file=str(tmp_path / "client.crt"),
        key_file=str(tmp_path / "client.key"),
        server_name="kubernetes",
        proxy="http://192.0.2.7:3128",
    )


async def test_data_in_the_file_does_as_well(tmp_path: Path) -> None:
    files = client_files(tmp_path)
    context = server_context(tmp_path, client_issuer="client authority")

    def data(path: str | Path) -> str:
        return base64.b64encode(Path(path).read_bytes()).decode()

    async with FakeKubeApi(context=context) as fake:
        cluster = {
            "server": fake.url,
            "certificate-authority-data": data(authority_file(tmp_path)),
        }
        user = {f"{name}-data": data(path) for name, path in files.items()}
        path = written(tmp_path, document(cluster=cluster, user=user))
        for file in ("ca.crt", "client.crt", "client.key"):
            (tmp_path / file).unlink()
        api = await KubeApi.connect(Access(kubeconfig=path))
        await api.request("GET", SECRETS)
        await api.close()
    assert fake.requests[0].status == 200


async def test_a_token_file_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first")
    account = Kubeconfig(written(tmp_path, document(user={"tokenFile": "token"})), None)
    await account.load(anew=False)
    (tmp_path / "token").write_text("second\n")
    assert (await account.load(anew=False)).authorization == "Bearer second"


async def test_a_refused_token_is_read_from_the_kubeconfig_again(tmp_path: Path) -> None:
    async with FakeKubeApi(token="first") as fake:
        path = fake.kubeconfig(tmp_path)
        api = await KubeApi.connect(Access(kubeconfig=path))
        fake.token = "second"
        fake.kubeconfig(tmp_path)
        await api.request("GET", SECRETS)
        await api.close()


async def test_without_verification_when_the_file_says_so(tmp_path: Path) -> None:
    cluster = {"server": "https://192.0.2.1", "insecure-skip-tls-verify": True}
    assert not (await login(written(tmp_path, document(cluster=cluster)))).verify


# -- exec plugins ----------------------------------------------------------------------------------


class Plugin:
    """A program that answers with a token, and counts how often it was started."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._calls = folder / "calls"
        self._path = folder / "plugin"
        self._calls.write_text("")
        self.answers("first")

    def answers(self, token: str, lives: timedelta | None = None) -> None:
        """From now on, with this token; without a lifetime it does not expire."""
        status = {"token": token}
        if lives is not None:
            end = datetime.now(UTC) + lives
            status["expirationTimestamp"] = end.strftime("%Y-%m-%dT%H:%M:%SZ")
        version = "client.authentication.k8s.io/v1"
        answer = {"apiVersion": version, "kind": "ExecCredential", "status": status}
        self.runs(f"print({json.dumps(answer)!r})")

    def runs(self, code: str) -> None:
        """From now on, this Python program."""
        count = f"open({str(self._calls)!r}, 'a').write('x')"
        self._path.write_text(f"#!{sys.executable} -IS\n{count}\n{code}\n")
        self._path.chmod(self._path.stat().st_mode | stat.S_IXUSR)

    @property
    def calls(self) -> int:
        return len(self._calls.read_text())

    @property
    def user(self) -> dict[str, Any]:
        version = "client.authentication.k8s.io/v1"
        command = {"apiVersion": version, "command": str(self._path), "args": ["--secret", SECRET]}
        return {"exec": command | {"interactiveMode": "Never"}}


@pytest.fixture
def plugin(tmp_path: Path) -> Plugin:
    return Plugin(tmp_path)


async def test_a_plugin_runs_once_and_again_when_its_token_is_refused(
    tmp_path: Path, plugin: Plugin
) -> None:
    async with FakeKubeApi(token="first") as fake:
        path = fake.kubeconfig(tmp_path, user=plugin.user)
        api = await KubeApi.connect(Access(kubeconfig=path))
        await api.request("GET", SECRETS)
        api._renew_at = 0.0  # a minute later
        await api.request("GET", SECRETS)
        await api.request("GET", SECRETS)
        assert plugin.calls == 1
        fake.token = "second"
        plugin.answers("second")
        await api.request("GET", SECRETS)
        assert plugin.calls == 2
        await api.close()


async def test_a_plugin_runs_again_before_its_token_expires(tmp_path: Path, plugin: Plugin) -> None:
    plugin.answers("first", timedelta(hours=1))
    account = Kubeconfig(written(tmp_path, document(user=plugin.user)), None)
    for _ in range(3):
        assert (await account.load(anew=False)).authorization == "Bearer first"
    assert plugin.calls == 1
    plugin.answers("short", timedelta(minutes=4))
    assert (await account.load(anew=True)).authorization == "Bearer short"
    plugin.answers("long", timedelta(hours=1))
    assert (await account.load(anew=False)).authorization == "Bearer long"
    assert plugin.calls == 3


async def test_a_plugin_may_answer_with_a_certificate(tmp_path: Path, plugin: Plugin) -> None:
    client_files(tmp_path)
    context = server_context(tmp_path, client_issuer="client authority")
    status = {
        "clientCertificateData": (tmp_path / "client.crt").read_text(),
        "clientKeyData": (tmp_path / "client.key").read_text(),
    }
    version = "client.authentication.k8s.io/v1"
    answer = {"apiVersion": version, "kind": "ExecCredential", "status": status}
    plugin.runs(f"print({json.dumps(answer)!r})")
    async with FakeKubeApi(context=context) as fake:
        path = fake.kubeconfig(tmp_path, ca=authority_file(tmp_path), user=plugin.user)
        api = await KubeApi.connect(Access(kubeconfig=path))
        await api.request("GET", SECRETS)
        await api.close()


async def test_a_plugin_that_hangs_is_not_waited_for_for_ever_nor_started_twice(
    tmp_path: Path, plugin: Plugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOAD_SECONDS", 0.2)
    end = tmp_path / "end"
    plugin.runs(f"import os, time\nwhile not os.path.exists({str(end)!r}): time.sleep(0.01)")
    account = Kubeconfig(written(tmp_path, document(user=plugin.user)), None)
    for _ in range(2):
        with pytest.raises(AccessError, match=r"no credentials within 0\.2 s from the exec plugin"):
            await account.load(anew=True)
    waiting = asyncio.ensure_future(account.load(anew=True))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert plugin.calls == 1
    end.write_text("")
    await until(lambda: account._loading is None, "the plugin has ended")
    plugin.answers("first")
    assert (await account.load(anew=True)).authorization == "Bearer first"
    assert plugin.calls == 2


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (
            f"import sys; print({SECRET!r}, file=sys.stderr); sys.exit(3)",
            "status 3; run it by hand",
        ),
        (f"print({SECRET!r})", "does not answer with an ExecCredential of the apiVersion"),
        ("print('{}')", "does not answer with an ExecCredential of the apiVersion"),
        (
            'print(\'{"apiVersion": "client.authentication.k8s.io/v1", "kind": "x",'
            ' "status": {}}\')',
            "gives neither a token nor a certificate",
        ),
    ],
    ids=["fails", "no JSON", "no credential", "neither token nor certificate"],
)
async def test_a_plugin_that_does_not_do_its_work_is_explained(
    tmp_path: Path, plugin: Plugin, caplog: pytest.LogCaptureFixture, code: str, says: str
) -> None:
    plugin.runs(code)
    with pytest.raises(AccessError, match=says) as error:
        await login(written(tmp_path, document(user=plugin.user)))
    assert SECRET not in "".join(traceback.format_exception(error.value)) + caplog.text


async def test_a_plugin_that_is_missing_is_explained(tmp_path: Path) -> None:
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "/no/plugin"}}
    with pytest.raises(AccessError, match="/no/plugin: No such file or directory"):
        await login(written(tmp_path, document(user=user)))


async def test_a_plugin_that_fails_later_leaves_the_token_that_we_have(
    tmp_path: Path, plugin: Plugin
) -> None:
    async with FakeKubeApi(token="first") as fake:
        api = await KubeApi.connect(Access(kubeconfig=fake.kubeconfig(tmp_path, user=plugin.user)))
        plugin.runs("raise SystemExit(4)")
        fake.token = "second"
        with pytest.raises(UnauthorizedError, match=r"401.*the exec plugin .* ended with status 4"):
            await api.request("GET", SECRETS)
        fake.token = "first"
        await api.request("GET", SECRETS)
        await api.close()


# -- what is wrong ---------------------------------------------------------------------------------


def without(key: str, where: str = "") -> dict[str, Any]:
    content = document()
    if where:
        del content[where][0][key]
    else:
        del content[key]
    return content


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("a: [", r"is not YAML \(line \d+\)$"),
        (f"token: {SECRET}\n- x", r"is not YAML \(line 2\)$"),
        ("\0", r"is not YAML$"),
        ("[]", "holds no clusters, users and contexts"),
        ("", "holds no clusters, users and contexts"),
        ({"contexts": "x"}, "each of its contexts needs a name and a context"),
        ({"contexts": [], "users": [SECRET]}, "each of its users needs a name and a user"),
        (document(current=""), r"names no current context: .* \(one, two\)"),
        (document(current="three"), r"has no context 'three': .* \(one, two\)"),
        (without("contexts"), r"has no context 'one': .* \(none\)"),
        (without("users"), "its context one names u, which is not among its users"),
        (without("clusters"), "its context one names c, which is not among its clusters"),
        (without("cluster", "clusters"), "its cluster has no server with an http or https URL"),
        (document(cluster={"server": "192.0.2.1:6443"}), "no server with an http or https URL"),
        (document(cluster={"server": "https://"}), "no server with an http or https URL"),
        (document(cluster={"server": "https://[x"}), "a URL of its cluster is not well-formed"),
        (document(cluster={"server": f"https://me:{SECRET}@x"}), "the server's URL holds cred"),
        (
            document(cluster={"server": "http://x", "proxy-url": f"socks5://me:{SECRET}@y"}),
            "proxy-url must begin with http:// or https://",
        ),
        (
            document(cluster={"server": "https://x", "certificate-authority": "/no/ca"}),
            "there is no file /no/ca",
        ),
        (
            document(cluster={"server": "https://x", "certificate-authority-data": SECRET + "!"}),
            "the credentials of its user are not in",
        ),
        (document(user={"tokenFile": "/no/token"}), "/no/token: No such file or directory"),
        (document(user={"exec": {"command": "x"}}), "the key apiVersion is missing"),
        (document(user={"exec": SECRET}), "the exec entry of its user u is no mapping"),
        (
            document(user={"auth-provider": {"name": "oidc", "config": {"id-token": SECRET}}}),
            "the credentials of its user are not in",
        ),
        (
            document(user={"auth-provider": {"name": "oidc", "config": {"client-id": SECRET}}}),
            "the credentials of its user are not in",
        ),
        (
            document(user={"auth-provider": {"name": "gcp"}}),
            "the credentials of its user are not in",
        ),
    ],
)
async def test_what_is_wrong_is_said_without_secrets(
    tmp_path: Path, content: Any, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path, content)
    with pytest.raises(AccessError, match=says) as error:
        await login(path)
    assert path in str(error.value)
    assert SECRET not in "".join(traceback.format_exception(error.value)) + caplog.text


async def test_a_user_without_a_home_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in [name for name in sys.modules if name.startswith("kubernetes_asyncio")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(AccessError, match="HOME is not set"):
        await login(written(tmp_path, document()))


async def test_a_file_that_is_not_there_is_explained(tmp_path: Path) -> None:
    path = str(tmp_path / "config")
    with pytest.raises(AccessError, match=f"^there is no kubeconfig {path}: give --kubeconfig"):
        await KubeApi.connect(Access(kubeconfig=path))


async def test_a_file_that_cannot_be_read_is_explained(tmp_path: Path) -> None:
    with pytest.raises(AccessError, match="cannot be read: Is a directory"):
        await login(str(tmp_path))


async def test_a_file_that_is_too_long_is_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    with pytest.raises(AccessError, match="more than 100 bytes: is it another file"):
        await login(written(tmp_path, document()))
