"""What hosts and upstreams share: there while somebody needs it, the same in any order."""

import itertools

from msgspec.structs import replace

from ingress_controller.translate.materials import certificates
from tests.tls.certificates import pair
from tls.certificate import PrivateKey


def test_a_certificate_is_there_while_somebody_uses_it() -> None:
    materials, one = certificates(), pair("a.test")
    materials.use(("host", "a"), [one])
    materials.use(("host", "b"), [one])
    assert materials.settle() == {one.digest: one}
    materials.use(("host", "a"), [])
    assert materials.settle() == {}
    materials.use(("host", "b"), [])
    assert materials.settle() == {one.digest: None}
    assert materials.current == {}


def test_what_comes_and_goes_at_once_changes_nothing() -> None:
    materials = certificates()
    materials.use(("host", "a"), [pair("a.test")])
    materials.use(("host", "a"), [])
    assert materials.settle() == {}


def test_of_two_encodings_of_a_key_the_same_one_is_taken_in_any_order() -> None:
    one = pair("a.test")
    other = replace(one, key=PrivateKey(one.key.pem + b"\n"))
    for order in itertools.permutations([one, other]):
        materials = certificates()
        for number, value in enumerate(order):
            materials.use(("host", str(number)), [value])
        assert materials.settle() == {one.digest: one}
