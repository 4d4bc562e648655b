"""The file that says what is asked for, and which answers are right."""

from pathlib import Path

import pytest

from loadtest.targets import LABELS, Target, TargetsError, read_targets

FOLDER = Path(__file__).parents[2] / "loadtest"
TWO = """\
[rules]
domain = "r.example"
namespace = "n"
ingress_class = "c"
backends = [{ service = "a", says = "A" }, { service = "b", port = 81, says = "B" }]
"""


@pytest.mark.parametrize("file", ["targets.toml", "kubernetes/targets.toml"])
def test_our_own_files_name_targets_for_every_scenario(file: str) -> None:
    targets = read_targets((FOLDER / file).read_text())
    assert targets.pages
    assert targets.uploads
    assert targets.websockets
    assert targets.downloads
    assert targets.rules is not None
    assert targets.secure
    assert all(page.says or page.status != 200 for page in targets.pages)


def test_a_url_gives_host_path_and_whether_it_is_over_tls() -> None:
    targets = read_targets('[[pages]]\nurl = "https://a.example/b/c?d=e"\nsays = "x"\n')
    assert targets.pages == (
        Target(
            url="https://a.example/b/c?d=e",
            host="a.example",
            path="/b/c?d=e",
            secure=True,
            says=("x",),
        ),
    )


def test_a_url_without_a_path_asks_for_the_root() -> None:
    (page,) = read_targets('[[pages]]\nurl = "http://a.example"').pages
    assert page.path == "/"
    assert not page.secure


def test_a_wildcard_stands_for_some_labels_in_turn() -> None:
    (page,) = read_targets('[[pages]]\nurl = "http://*.a.example/"').pages
    assert {page.at(number) for number in range(100)} == {f"t{n}.a.example" for n in range(LABELS)}


def test_sizes_are_read() -> None:
    (upload,) = read_targets(
        '[[uploads]]\nurl = "http://a.example/"\nsizes = ["7", "1K", "2M"]\nsays = ["a", "b"]'
    ).uploads
    assert upload.sizes == (7, 1024, 2 << 20)
    assert upload.says == ("a", "b")


def test_rules_have_two_backends() -> None:
    rules = read_targets(TWO).rules
    assert rules is not None
    assert [(backend.service, backend.port) for backend in rules.backends] == [("a", 80), ("b", 81)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pages = ", "this is not TOML"),
        ("[[page]]", "page: unknown; there are downloads, pages, rules"),
        ("[pages]\nurl = 'x'", r"pages: write \[\[pages\]\], with two brackets"),
        ("[[pages]]\n[[pages]]", r"pages\[1\].url: a text is needed"),
        ("[[pages]]\nurl = 'http://a:80/'", r"the port is that of --host"),
        ("[[pages]]\nurl = 'ftp://a/'", r"is not scheme://host/path"),
        ("[[pages]]\nurl = 'http://a.*.b/'", r"may only be the first label"),
        ("[[pages]]\nurl = 'http://a/'\nsize = 1", r"pages\[1\].size: unknown"),
        ("[[pages]]\nurl = 'http://a/'\nsays = 1", r"pages\[1\].says: a text is needed"),
        ("[[pages]]\nurl = 'http://a/'\nstatus = 99", r"status: a number from 100 to 599"),
        ("[[pages]]\nurl = 'http://a/'\nweight = 0", r"weight: a number from 1 to 1000"),
        ("[[uploads]]\nurl = 'http://a/'", r"uploads\[1\].sizes: a list is needed"),
        ("[[uploads]]\nurl = 'http://a/'\nsizes = ['1G']", r"'1G' is not a size"),
        ("[[uploads]]\nurl = 'http://a/'\nsizes = ['300M']", r"at most 256M"),
        ("[rules]\nbackends = []", "rules.backends: two are needed"),
        (TWO.replace('"r.example"', "1"), "rules.domain: a text is needed"),
        (TWO.replace('"B"', '"AB"'), "one answer could be taken for the other"),
        (TWO.replace("port = 81", "port = 0"), r"rules.backends\[2\].port: a number from 1"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, said: str) -> None:
    with pytest.raises(TargetsError, match=said):
        read_targets(text)
