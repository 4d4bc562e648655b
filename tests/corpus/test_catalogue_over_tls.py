"""The catalogue of adversarial inputs through TLS: the same rows, the same oracle."""

from collections.abc import Iterator
from dataclasses import replace

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
from tests.harness.edge import HURRIED
from tests.harness.secure import SecureEdge, secure_edge


def _over_tls(row: Row) -> Row:
    """Rows say what the backend is told in clear."""
    told = {("x-forwarded-proto", "http"): ("x-forwarded-proto", "https")}
    return replace(
        row,
        seen=tuple(
            replace(seen, has=tuple(told.get(field, field) for field in seen.has))
            for seen in row.seen
        ),
    )


FAMILIES = {
    family.__name__.rpartition(".")[2]: [_over_tls(row) for row in family.ROWS if not row.hurried]
    for family in (framing, chunks, start_line, hosts, fields, hop_by_hop, upgrades, paths)
}
HURRIED_ROWS = [
    row
    for family in (framing, chunks, start_line, hosts, fields, hop_by_hop, upgrades, paths)
    for row in family.ROWS
    if row.hurried
]
CUT_UP_TO = 200
CUT_EACH = 14
"""Every so many rows one is cut: bytes reach the parser the same way as in clear."""
CUT = [row for rows in FAMILIES.values() for row in rows if len(row.data) < CUT_UP_TO][::CUT_EACH]


@pytest.fixture(scope="module")
def shared_secure() -> Iterator[SecureEdge]:
    with secure_edge() as pair:
        yield pair


@pytest.fixture(name="edge")
def _edge(shared_secure: SecureEdge) -> Iterator[SecureEdge]:
    """A worker behind TLS; checked after every test."""
    yield shared_secure
    shared_secure.check()
    shared_secure.backend.forget()


@pytest.mark.parametrize("family", FAMILIES)
async def test_requests_whole(edge: SecureEdge, family: str) -> None:
    await oracle.play_all(edge, FAMILIES[family])


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in CUT])
async def test_request_cut_at_every_byte(edge: SecureEdge, row: Row) -> None:
    await oracle.play_cut(edge, row)


async def test_requests_of_clients_that_fall_silent() -> None:
    with secure_edge(HURRIED) as hurried:
        for row in HURRIED_ROWS:
            await oracle.play_whole(hurried, row)


async def test_answers_whole(edge: SecureEdge) -> None:
    for row in answers.ROWS:
        if not row.hurried:
            await oracle.play_answer(edge, row, _script(edge, row))


def _script(edge: SecureEdge, row: AnswerRow) -> str:
    path = "/answers/" + row.name.split()[0]
    edge.backend.on(path, raw(row.data, then=row.then))
    return path
