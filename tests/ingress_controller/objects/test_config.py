"""Secrets: their values, and what never shows."""

import pytest

from ingress_controller.objects.config import Secret
from ingress_controller.objects.decode import decode
from ingress_controller.objects.meta import ObjectMeta


def made(**more: object) -> Secret:
    document = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, **more}
    item = decode(document)
    assert isinstance(item, Secret)
    return item


def test_values_are_decoded_and_plain_ones_win() -> None:
    item = made(data={"a": "aGVs\nbG8=\n", "b": "eA=="}, stringData={"b": "plain ü"})
    assert item.value("a") == b"hello"
    assert item.value("b") == "plain ü".encode()
    assert item.value("c") is None


@pytest.mark.parametrize("written", ["!", "aGVsbG8", "ä", "aGVs*bG8="])
def test_what_is_no_base64_is_said_to_be_none(written: str) -> None:
    with pytest.raises(ValueError, match="not base64"):
        made(data={"a": written}).value("a")


def test_no_document_can_mark_a_secret_as_kept() -> None:
    assert made(kept={"until": 1, "deleted": True}).kept is None
    assert made(kept="nonsense").kept is None


def test_a_secret_prints_without_its_values() -> None:
    item = Secret(ObjectMeta("s", "n"), data={"tls.key": "c2VjcmV0"}, string_data={"x": "hidden"})
    for text in (repr(item), str(item), str(item.__rich_repr__())):
        assert "c2VjcmV0" not in text
        assert "hidden" not in text
        assert "tls.key=<redacted>" in text
