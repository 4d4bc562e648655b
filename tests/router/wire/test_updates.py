"""Updates that cannot be applied, and updates that come while others are under way."""

from router.model import wire
from router.model.limits import Limits
from router.model.snapshot import Delta
from tests.harness.backend import Backend
from tests.harness.client import fetch, request
from tests.harness.waiting import until
from tests.harness.worker import Worker, hosts, key, snapshot


async def test_an_update_that_cannot_be_applied_ends_the_worker_with_a_word() -> None:
    """What it holds may be half of two versions; the control process starts another one."""
    limits = Limits(drain_accept=0.0, drain_timeout=1.0)
    with Backend() as backend, Worker(limits=limits) as worker:
        table = {"h.test": {"/": "web"}}
        worker.serve(table, {"web": [backend.endpoint]})
        nowhere = Delta(base=1, version=2, hosts={"default": hosts({"x.test": {"/": "gone"}})})
        worker.send(wire.Change(nowhere))
        await until(lambda: worker.log_lines, "it says why")
        [line] = worker.log_lines
        assert line.level == "error"
        assert line.event.startswith("a snapshot cannot be applied: ")
        worker.exit_code()


async def test_updates_are_taken_in_their_order_and_each_is_answered() -> None:
    count = 2_000
    with Backend("a") as a, Backend("b") as b, Worker() as worker:
        services = {"a": [a.endpoint], "b": [b.endpoint]}
        tables = [{f"h{n}.test": {"/": where} for n in range(count)} for where in ("a", "b")]
        worker.serve({"h.test": {"/": "a"}}, services)
        for version, table in enumerate((*tables, *tables), 2):
            whole = snapshot(version, table, services)
            worker.send(wire.Load(whole))
        last = Delta(base=5, version=6, endpoints={key("b"): whole.endpoints[key("a")]})
        worker.send(wire.Change(last))
        worker.send(wire.Change(last))
        worker.heard(lambda message: isinstance(message, wire.OutOfStep), "out of step")
        answers = [m.version for m in worker.messages if isinstance(m, wire.Acknowledged)]
        assert answers == [1, 2, 3, 4, 5, 6]
        reply = await fetch(worker.address, request(host=f"h{count - 1}.test"))
        assert reply.status == 200
        assert a.requests
        assert not b.requests
