"""The page of annotations says what the table says."""

from pathlib import Path

from ingress_controller.translate.annotations.page import page
from ingress_controller.translate.annotations.reading import _Written
from ingress_controller.translate.annotations.table import ROWS

PAGE = Path(__file__).parents[4] / "docs" / "annotations.md"


def test_the_committed_page_is_what_the_program_prints() -> None:
    """When it fails, run the module ``page`` and write what it prints into the file."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_each_row_has_a_place_for_its_value() -> None:
    assert [row.name.replace("-", "_") for row in ROWS] == list(_Written.__struct_fields__)
