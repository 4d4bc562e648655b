"""A mirror tells what is different, whatever way it is told."""

from hypothesis import given
from hypothesis import strategies as st

from ingress_controller.objects.decode import Undecodable
from ingress_controller.objects.ingress import Ingress, IngressSpec, IngressStatus
from ingress_controller.objects.meta import ObjectKey, ObjectMeta
from ingress_controller.objects.stream import Item
from ingress_controller.sources.mirror import Mirror
from ingress_controller.store import Name, ObjectChange


def key(name: str) -> ObjectKey:
    return ObjectKey("Ingress", "shop", name)


def item(name: str, class_name: str = "", uid: str = "u", *addresses: str) -> Item:
    meta = ObjectMeta(name, "shop", uid=uid)
    read = Ingress(meta, IngressSpec(class_name))
    return Item(key(name), uid, read, IngressStatus(uid, addresses))


def broken(name: str, uid: str = "u") -> Item:
    return Item(key(name), uid, Undecodable(key(name), "", "", ""), IngressStatus(uid, ()))


class Mirrored:
    def __init__(self, namespace: str = "") -> None:
        self.told: list[str] = []
        self.statuses: dict[Name, IngressStatus] = {}
        self.mirror = Mirror(namespace, self.statuses, lambda name: self.told.append(name.name))

    def listed(self, *items: Item) -> list[ObjectChange]:
        self.mirror.begin()
        for each in items:
            self.mirror.add(each)
        return self.mirror.complete()

    def summary(self) -> tuple[object, ...]:
        return (self.mirror.objects, set(self.mirror.unreadable), self.statuses)


def test_a_list_is_compared_with_what_is_held_and_deletions_come_last() -> None:
    it = Mirrored()
    assert len(it.listed(item("a"), item("b"), item("c"))) == 3
    held = it.mirror.objects[key("a")]
    changes = it.listed(item("a"), item("c", "other"), item("d"))
    assert [(change.key.name, change.object is None) for change in changes] == [
        ("c", False),
        ("d", False),
        ("b", True),
    ]
    assert it.mirror.objects[key("a")] is held, "an equal copy is dropped"


def test_a_list_that_did_not_end_is_forgotten() -> None:
    it = Mirrored()
    it.listed(item("a"))
    it.mirror.begin()
    it.mirror.add(item("b"))
    it.mirror.add(broken("c"))
    assert it.listed(item("a")) == []
    assert it.summary()[0] == {key("a"): item("a").read}
    assert not it.mirror.unreadable


def test_only_differences_are_told() -> None:
    it = Mirrored()
    assert it.mirror.put(item("a")) == ObjectChange(key("a"), item("a").read)
    assert it.mirror.put(item("a")) is None
    assert it.mirror.remove(key("a")) == ObjectChange(key("a"), None)
    assert it.mirror.remove(key("a")) is None


def test_a_status_is_no_change_of_the_object() -> None:
    it = Mirrored()
    it.mirror.put(item("a"))
    assert it.mirror.put(item("a", "", "u", "192.0.2.1")) is None
    assert it.told == ["a", "a"]
    assert it.statuses[Name("shop", "a")].addresses == ("192.0.2.1",)
    assert it.listed(item("a", "", "u", "192.0.2.1")) == []
    assert it.told == ["a", "a"]


def test_statuses_of_other_namespaces_are_let_be() -> None:
    it = Mirrored("shop")
    other = Name("other", "x")
    it.statuses[other] = IngressStatus("u", ())
    it.listed(item("a"))
    it.listed()
    assert it.statuses == {other: IngressStatus("u", ())}
    assert it.told == ["a", "a"]


def test_an_unreadable_version_leaves_the_last_good_one() -> None:
    it = Mirrored()
    it.mirror.put(item("a"))
    assert it.mirror.put(broken("a")) is None
    assert it.mirror.holds(key("a"))
    assert it.listed(broken("a")) == []
    assert it.mirror.objects == {key("a"): item("a").read}
    assert it.listed(item("a")) == []
    assert not it.mirror.unreadable


def test_an_unreadable_object_of_the_same_name_does_not() -> None:
    it = Mirrored()
    it.mirror.put(item("a"))
    assert it.mirror.put(broken("a", "v")) == ObjectChange(key("a"), None)
    it.mirror.put(item("a"))
    assert it.listed(broken("a", "v")) == [ObjectChange(key("a"), None)]
    assert it.mirror.holds(key("a"))
    assert it.mirror.uid(key("a")) == ""


NAMES = st.sampled_from("abc")
ITEMS = st.one_of(
    st.builds(item, NAMES, st.sampled_from(["", "x"]), st.sampled_from(["u", "v"])),
    st.builds(broken, NAMES, st.sampled_from(["u", "v"])),
)
STEPS = st.lists(st.one_of(ITEMS, NAMES, st.lists(ITEMS, unique_by=lambda each: each.key)))


@given(STEPS)
def test_the_changes_add_up_to_what_is_held(steps: list[Item | str | list[Item]]) -> None:
    it = Mirrored()
    objects: dict[ObjectKey, object] = {}
    for step in steps:
        if isinstance(step, Item):
            changes = [it.mirror.put(step)]
        elif isinstance(step, str):
            changes = [it.mirror.remove(key(step))]
        else:
            changes = [*it.listed(*step)]
            assert {each.key for each in step} >= set(it.mirror.objects)
        for change in changes:
            if change is None:
                continue
            assert objects.get(change.key) != change.object, "a change that is none"
            if change.object is None:
                del objects[change.key]
            else:
                objects[change.key] = change.object
        assert objects == it.mirror.objects


@given(st.lists(ITEMS, unique_by=lambda each: each.key), STEPS)
def test_a_list_ends_in_the_same_whatever_was_before_it(
    items: list[Item], steps: list[Item | str | list[Item]]
) -> None:
    fresh, used = Mirrored(), Mirrored()
    for step in steps:
        if isinstance(step, Item):
            used.mirror.put(step)
        elif isinstance(step, str):
            used.mirror.remove(key(step))
        else:
            used.listed(*step)
    good = [each for each in items if not isinstance(each.read, Undecodable)]
    fresh.listed(*good)
    used.listed(*good)
    assert fresh.summary() == used.summary()
