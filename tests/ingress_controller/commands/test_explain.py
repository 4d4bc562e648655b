"""The command `explain`: exit codes, output, and asking a running instance."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from ingress_controller.cli import main
from ingress_controller.explain.explanation import shown
from ingress_controller.explain.walk import explain
from ingress_controller.store import ObjectChange, key_of
from ingress_controller.translate.options import Options
from ingress_controller.translate.translator import Translator
from tests.ingress_controller.translate.manifest import (
    ingress,
    objects,
    path,
    rule,
    service,
    slices,
)

MANIFESTS = (
    ingress("shop", f"rules: [{rule('shop.test', path('Prefix', '/'))}]")
    + service("web")
    + slices("web", "{addresses: [10.0.0.1]}")
)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    (tmp_path / "shop.yaml").write_text(MANIFESTS)
    return str(tmp_path)


def test_a_request_that_would_be_forwarded_exits_with_0(
    folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "http://shop.test/x", "--manifests", folder]) == 0
    output = capsys.readouterr().out
    assert "forwarded to Service default/web" in output
    assert f"{folder}/shop.yaml:2" in output


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["http://nobody.test/"], 404),
        (["http://shop.test/..;/x"], 400),
        (["http://shop.test/", "-X", "TRACE"], 405),
        (["http://shop.test/", "-H", "Host: a..b"], 400),
        (["http://shop.test/", "-H", "X: y", "--max-header-fields", "1"], 431),
    ],
)
def test_a_request_that_would_be_refused_exits_with_1(
    folder: str, capsys: pytest.CaptureFixture[str], words: list[str], status: int
) -> None:
    assert main(["explain", *words, "--manifests", folder, "--output", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["verdict"]["status"] == status


def test_folders_add_up(folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = tmp_path / "more.yml"
    more.write_text(ingress("b", f"rules: [{rule('b.test', path('Prefix', '/'))}]"))
    words = ["explain", "http://b.test/", "--manifests", f"{folder}/shop.yaml"]
    assert main(words) == 1
    assert main([*words, "--manifests", str(more)]) == 0
    assert "Ingress default/b" in capsys.readouterr().out


def test_a_file_that_cannot_be_read_is_told_where_a_route_is_missing(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.yaml").write_text("kind: [")
    assert main(["explain", "http://nobody.test/", "--manifests", folder]) == 1
    assert "broken.yaml" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["ftp://shop.test/", "--manifests", "."], "not an http URL"),
        (["http://shop.test/", "--manifests", ".", "-H", "X"], "has no colon"),
        (["http://shop.test/", "--admin", "nonsense"], "is not host:port"),
        (["http://shop.test/", "--admin", "127.0.0.1:99999"], "is not host:port"),
        (["http://shop.test/", "--manifests", ".", "--body-timeout", "soon"], "--body-timeout"),
    ],
)
def test_a_wrong_question_exits_with_2_and_says_what_to_write(
    capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert main(["explain", *words]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["--manifests", ".", "--admin", "127.0.0.1:1"]])
def test_manifests_or_admin_is_needed_and_not_both(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["explain", "http://shop.test/", *words])
    assert ended.value.code == 2


@contextmanager
def admin(status: int = 200, body: bytes | None = None) -> Iterator[str]:
    """An admin port that explains by the same function, or answers what it is told to."""
    translator = Translator(Options())
    translator.update(ObjectChange(key_of(item), item) for item in objects(MANIFESTS))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = parse_qs(urlsplit(self.path).query)
            told = explain(
                translator,
                url=asked["url"][0],
                method=asked["method"][0],
                headers=asked.get("header", []),
            )
            answer = msgspec.json.encode(shown(told)) if body is None else body
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *arguments: object) -> None: ...  # noqa: A002 - theirs

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_running_instance_says_the_same_as_its_manifests(
    folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    question = ["explain", "http://shop.test/a/../b?c", "-X", "POST", "-H", "X: ü&=+"]
    assert main([*question, "--manifests", folder, "--output", "json"]) == 0
    from_folder = json.loads(capsys.readouterr().out)
    with admin() as address:
        assert main([*question, "--admin", address, "--output", "json"]) == 0
    asked = json.loads(capsys.readouterr().out)
    for route in from_folder["routes"] + from_folder["upstreams"]:
        route["location"] = ""  # the admin port of this test knows no files
    assert asked == from_folder


def test_text_of_a_running_instance_and_its_exit_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with admin() as address:
        assert main(["explain", "http://nobody.test/", "--admin", f"http://{address}/"]) == 1
    assert "404 No rule matches this host and path" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("status", "body", "code", "sentence"),
    [
        (400, b'{"error": "write a URL"}', 2, "write a URL"),
        (500, b'{"error": "this page failed"}', 1, "answered 500: this page failed"),
        (200, b"<html>", 1, "is no admin port of this version"),
        (404, b"{}", 1, "is no admin port of this version"),
    ],
)
def test_an_instance_that_does_not_explain_is_quoted(
    capsys: pytest.CaptureFixture[str], status: int, body: bytes, code: int, sentence: str
) -> None:
    with admin(status, body) as address:
        assert main(["explain", "http://shop.test/", "--admin", address]) == code
    assert sentence in capsys.readouterr().err


def test_an_instance_that_is_not_there_exits_with_1_and_says_what_to_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with admin() as address:
        pass
    assert main(["explain", "http://shop.test/", "--admin", address]) == 1
    assert "is `ingress-controller run` started" in capsys.readouterr().err
