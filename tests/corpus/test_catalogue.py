"""Every adversarial input of the catalogue, whole, cut at every byte, and byte by byte."""

import pytest

from tests.corpus import (
    answers,
    chunks,
    fields,
    framing,
    hop_by_hop,
    hosts,
    oracle,
    paths,
    start_line,
    upgrades,
)
from tests.corpus.rows import AnswerRow, Row
from tests.harness.backend import raw
from tests.harness.edge import Edge

ROWS = [
    row
    for family in (framing, chunks, start_line, hosts, fields, hop_by_hop, upgrades, paths)
    for row in family.ROWS
]
BYTE_BY_BYTE_UP_TO = 400


def _named(rows: list[Row]) -> list[object]:
    return [pytest.param(row, id=row.name) for row in rows]


def _answers(*, hurried: bool) -> list[object]:
    return [pytest.param(row, id=row.name) for row in answers.ROWS if row.hurried is hurried]


async def test_every_row_has_a_name_of_its_own() -> None:
    names = [row.name.split()[0] for row in [*ROWS, *answers.ROWS]]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("row", _named([row for row in ROWS if not row.hurried]))
async def test_request_whole(edge: Edge, row: Row) -> None:
    await oracle.play_whole(edge, row)


@pytest.mark.parametrize("row", _named([row for row in ROWS if not row.hurried]))
async def test_request_cut_at_every_byte(edge: Edge, row: Row) -> None:
    await oracle.play_cut(edge, row)


@pytest.mark.parametrize(
    "row", _named([row for row in ROWS if not row.hurried and len(row.data) < BYTE_BY_BYTE_UP_TO])
)
async def test_request_byte_by_byte(edge: Edge, row: Row) -> None:
    await oracle.play_byte_by_byte(edge, row)


@pytest.mark.parametrize("row", _named([row for row in ROWS if row.hurried]))
async def test_request_of_a_client_that_falls_silent(hurried_edge: Edge, row: Row) -> None:
    await oracle.play_cut(hurried_edge, row)


@pytest.mark.parametrize("row", _answers(hurried=False))
async def test_answer_whole(edge: Edge, row: AnswerRow) -> None:
    path = _script(edge, row)
    await oracle.play_answer(edge, row, path)


@pytest.mark.parametrize("row", _answers(hurried=False))
async def test_answer_cut_at_every_byte(edge: Edge, row: AnswerRow) -> None:
    if row.timed:
        pytest.skip("what comes later than the next request cannot be told from its answer")
    path = _script(edge, row)
    await oracle.play_answer_cut(edge, row, path)


@pytest.mark.parametrize("row", _answers(hurried=True))
async def test_answer_of_an_upstream_that_falls_silent(hurried_edge: Edge, row: AnswerRow) -> None:
    path = _script(hurried_edge, row)
    await oracle.play_answer(hurried_edge, row, path)


def _script(edge: Edge, row: AnswerRow) -> str:
    path = "/answers/" + row.name.split()[0]
    edge.backend.on(path, raw(row.data, then=row.then))
    return path
