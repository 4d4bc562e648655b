"""`check`: every diagnostic for people and programs, and the exit code."""

import json
import time
from pathlib import Path

import pytest

from ingress_controller.cli import main
from ingress_controller.commands.check import check
from ingress_controller.sources.manifests import ManifestFolders
from ingress_controller.translate.options import Options
from ingress_controller.translate.translator import Translator
from tests.tls.certificates import authority

GOOD = """\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  ingressClassName: python
  rules:
  - host: a.test
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: [127.0.0.1]}]
"""
BAD = GOOD.partition("---")[0].replace("name: web", "name: bad").replace("a.test", "bad.test")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.yaml").write_text(GOOD)
    return tmp_path


def test_good_manifests_give_a_summary_and_exit_code_0(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(folder)]) == 0
    assert capsys.readouterr().out == (
        "1 Ingress, 1 served here: 1 host, 1 route, 1 upstream. 0 errors, 0 warnings, 0 hints.\n"
    )


def test_an_error_is_told_with_place_consequence_and_remedy(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = folder / "bad.yaml"
    file.write_text("---\n" + BAD)
    assert main(["check", str(folder)]) == 1
    out = capsys.readouterr().out
    first, last = out.split("\n\n")
    assert first.splitlines() == [
        "error: Ingress default/bad spec.rules[0].http.paths[0].backend.service.name "
        "(service-missing)",
        f"  in {file}:2",
        "  there is no Service bad in namespace default",
        "  now:  requests for the path get 503",
        "  do:   create the Service, or correct the name",
    ]
    assert last.startswith("2 Ingresses, 2 served here")


def test_warnings_and_hints_alone_are_no_failure(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "good.yaml").write_text(GOOD.replace("ingressClassName: python", "tls: [{}]"))
    assert main(["check", str(folder)]) == 0
    assert "warning: Ingress default/web" in capsys.readouterr().out


def test_programs_get_one_json_object(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "broken.yaml").write_text("a: 1\nb: }\n")
    assert main(["check", str(folder), "--output", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["summary"] == {
        "ingresses": 1, "served": 1, "hosts": 1, "routes": 1, "upstreams": 1,
        "errors": 1, "warnings": 0, "hints": 0,
    }  # fmt: skip
    (diagnostic,) = found["diagnostics"]
    assert diagnostic["severity"] == "error"
    assert diagnostic["code"] == "file-malformed"
    assert diagnostic["object"] == {
        "kind": "File",
        "namespace": "",
        "name": str(folder / "broken.yaml"),
    }
    assert (diagnostic["file"], diagnostic["line"]) == (str(folder / "broken.yaml"), 2)
    assert diagnostic["message"]
    assert diagnostic["consequence"]
    assert diagnostic["remedy"]


def test_a_missing_folder_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "/nowhere/at/all"]) == 1
    assert "Folder /nowhere/at/all" in capsys.readouterr().out


def test_a_folder_is_demanded(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["check"])
    assert caught.value.code == 2


def test_the_flags_of_the_translation_count(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "good.yaml").write_text(
        GOOD.replace("ingressClassName: python", "ingressClassName: nginx")
    )
    main(["check", str(folder)])
    assert "1 Ingress, 0 served here" in capsys.readouterr().out
    main(["check", str(folder), "--ingress-class", "nginx"])
    assert "1 Ingress, 1 served here" in capsys.readouterr().out


def test_nothing_in_a_file_steers_the_terminal(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "good.yaml").write_text(GOOD.replace("host: a.test", 'host: "\\e[31mred\\u202e"'))
    main(["check", str(folder)])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "x1b[31mred" in out


def test_certificates_that_end_within_21_days_are_warned_of(tmp_path: Path) -> None:
    certificate, key = (text.decode() for text in authority().issue(["a.test"], days=30))
    tls = GOOD.replace("  rules:", "  tls: [{hosts: [a.test], secretName: s}]\n  rules:")
    pair = {"tls.crt": certificate, "tls.key": key}
    document = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": pair}
    (tmp_path / "i.yaml").write_text(tls)
    (tmp_path / "s.json").write_text(json.dumps(document))
    now = time.time()

    def codes(then: float) -> list[str]:
        translator = Translator(Options(https=True, allow_local_endpoints=True))
        checked = check(ManifestFolders([str(tmp_path)]), translator, then)
        assert all(found.file.endswith("s.json") for found in checked.diagnostics)
        return [found.code.value for found in checked.diagnostics]

    assert codes(now) == []
    assert codes(now + 10 * 86_400) == ["certificate-expires"]
