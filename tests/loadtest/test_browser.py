import http.client
import shutil
from pathlib import Path

import pytest

from loadtest.browser import IMAGES, demo, load, page_backend, verified_key

CHROMIUM = shutil.which("chromium")


def fetched(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def test_the_page_names_as_many_images_as_there_are() -> None:
    with page_backend() as port:
        status, page = fetched(port, "/page/")
        last = fetched(port, f"/page/{IMAGES - 1}.svg")
        other = fetched(port, "/page/other")

    assert status == 200
    assert page.count(b"<img ") == IMAGES
    assert last[0] == 200
    assert last[1].startswith(b"<svg ")
    assert other[0] == 404


def test_the_demo_shows_a_certificate_of_its_own_authority(tmp_path: Path) -> None:
    with demo(tmp_path) as (port, authority):
        assert len(verified_key(port, authority)) == 44


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")
def test_chromium_loads_a_page_and_all_its_images_over_https(tmp_path: Path) -> None:
    assert CHROMIUM is not None
    picture = tmp_path / "page.png"

    said = load(CHROMIUM, picture)

    assert said == f"{IMAGES} of {IMAGES} images, https://secure.example, http/1.1"
    assert picture.read_bytes().startswith(b"\x89PNG")
