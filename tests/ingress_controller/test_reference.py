"""The reference page says what the program says."""

from pathlib import Path

from ingress_controller.reference import reference

PAGE = Path(__file__).parents[2] / "docs" / "reference.md"


def test_the_committed_page_is_what_the_program_prints() -> None:
    """When it fails: python -m ingress_controller.reference > docs/reference.md"""
    assert PAGE.read_text(encoding="utf-8") == reference()
