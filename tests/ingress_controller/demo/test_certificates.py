"""What the demo's authority issues, as the controller and curl will read it."""

import time
from pathlib import Path
from typing import cast

from ingress_controller.demo.certificates import HOSTS, CertificateFiles, write_certificates
from ingress_controller.objects.config import Secret
from ingress_controller.objects.decode import decode
from ingress_controller.sources.documents import read_yaml
from tls.faults import CertificateFault
from tls.pem import AuthoritiesRead, PairRead, read_authorities, read_pair


def written(folder: Path) -> tuple[dict[str, Secret], CertificateFiles]:
    files = write_certificates(folder, folder, time.time())
    documents = read_yaml((folder / "secrets.yaml").read_bytes()).documents
    secrets = [cast(Secret, decode(document.value)) for document in documents]
    return {secret.metadata.name: secret for secret in secrets}, files


def test_the_secret_holds_a_pair_for_the_hosts_of_the_manifests(tmp_path: Path) -> None:
    secrets, _ = written(tmp_path)
    values = secrets["secure-tls"].string_data
    read = read_pair(values["tls.crt"].encode(), values["tls.key"].encode())
    assert isinstance(read, PairRead)
    assert read.pair.names == HOSTS
    assert read.notes == ()


def test_curl_gets_the_authority_and_a_client_certificate(tmp_path: Path) -> None:
    secrets, files = written(tmp_path)
    bundle = files.authority.read_bytes()
    assert secrets["members-ca"].string_data["ca.crt"].encode() == bundle
    assert isinstance(read_authorities(bundle), AuthoritiesRead)
    client = files.client.read_bytes()
    shown = read_pair(client, client, needs_names=False)
    assert not isinstance(shown, CertificateFault)
    assert shown.pair.subject == "CN=alice"


def test_the_key_of_the_authority_is_written_nowhere(tmp_path: Path) -> None:
    """One key in the Secret, one for the client."""
    written(tmp_path)
    texts = [file.read_text() for file in tmp_path.iterdir()]
    assert sum(text.count("BEGIN PRIVATE KEY") for text in texts) == 2
