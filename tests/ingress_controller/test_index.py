"""An index behaves as a dictionary of sets."""

from hypothesis import given
from hypothesis import strategies as st

from ingress_controller.index import Index

KEYS, VALUES = st.sampled_from("abc"), st.integers(0, 3)


@given(st.lists(st.tuples(st.booleans(), KEYS, VALUES), max_size=40))
def test_it_is_a_dictionary_of_sets(steps: list[tuple[bool, str, int]]) -> None:
    index: Index[str, int] = Index()
    sets: dict[str, set[int]] = {}
    for adds, key, value in steps:
        if adds:
            index.add(key, value)
            sets.setdefault(key, set()).add(value)
        else:
            index.discard(key, value)
            sets.get(key, set()).discard(value)
        for each in "abc":
            assert sorted(index.of(each)) == sorted(sets.get(each, ()))
            assert (each in index) is bool(sets.get(each))
        assert sorted(index) == sorted(each for each in sets if sets[each])
