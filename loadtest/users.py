"""What all simulated users have in common: the edge, the targets, a pace, and how answers count."""

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from locust import FastHttpUser, User, constant, constant_throughput
from locust.contrib.fasthttp import LocustBadStatusCode
from locust.exception import CatchResponseError, RescheduleTask
from websocket import WebSocketException

from loadtest.checks import problem
from loadtest.edge import Clients, Edge
from loadtest.meters import Meter
from loadtest.rules import RulePlace
from loadtest.targets import Target, Targets


@dataclass(frozen=True, kw_only=True)
class Run:
    """What the users of this process need to know: `environment.loadtest`."""

    edge: Edge
    targets: Targets
    meter: Meter
    rate: float
    """Requests a second that a user sends at most; 0 for as fast as answers come."""
    place: RulePlace | None
    """Where rules are changed."""
    rule_deadline: float
    """Seconds within which a change of a rule is served."""
    stall_limit: float
    """Seconds within which the edge gives up a client that stopped in the middle of its request."""
    roll: Sequence[str]
    """A command that replaces the edge; or nothing."""
    deployment: tuple[str, str] | None
    """Namespace and name of a Deployment to restart."""
    roll_every: float
    """Seconds from one replacement to the next."""
    kubeconfig: str | None
    context: str | None
    files: Path
    """A folder of this run for what it must keep."""


class Paced:
    """A user's pace is that of the run."""

    environment: Any

    def wait_time(self) -> float:
        """Seconds until the next task."""
        rate = self.environment.loadtest.rate
        return float((constant_throughput(rate) if rate else constant(0))(self))


class EdgeUser(Paced, FastHttpUser):
    """A client that speaks HTTP and keeps its connections alive."""

    abstract = True

    def __init__(self, environment: Any) -> None:
        self.run_of: Run = environment.loadtest
        self.client_pool = Clients(self.run_of.edge, self.run_of.meter)
        super().__init__(environment)
        self._random = random.Random()
        self._asked = 0

    def on_stop(self) -> None:
        self.client_pool.close()

    def choose(self, targets: Sequence[Target]) -> Target:
        """One of them, by weight."""
        return self._random.choices(targets, [target.weight for target in targets])[0]

    def ask(
        self,
        target: Target,
        method: str = "GET",
        *,
        name: str = "",
        body: bytes = b"",
        fields: dict[str, str] | None = None,
    ) -> None:
        """One request, counted as failed when its answer is not the right one."""
        self._asked += 1
        host = target.at(self._asked)
        scheme = "https" if target.secure else "http"
        mark = "&" if "?" in target.path else "?"
        with self.client.request(
            method,
            f"{scheme}://{host}{target.path}{mark}n={self._asked}",
            name=name or target.url,
            data=body,
            headers={"Host": host, **(fields or {})},
            catch_response=True,
            allow_redirects=False,
        ) as answer:
            error = answer.request_meta["exception"]
            if error is not None and not isinstance(error, LocustBadStatusCode):
                answer.failure(f"cut: {type(error).__name__}: {error}")
                return
            said = problem(target, answer.status_code, answer.content or b"", size=len(body))
            if said is None:
                answer.success()
            else:
                answer.failure(said)


class SocketUser(Paced, User):
    """A client that speaks on a socket of its own."""

    abstract = True

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.run_of: Run = environment.loadtest

    @contextmanager
    def counted(self, kind: str, name: str) -> "Iterator[Measured]":
        """What happens inside is one request; an error of the connection, or a `Wrong`, fails it
        and ends the task.

        Its time is that of the block, unless the block sets another one.
        """
        measured = Measured()
        began = time.perf_counter()
        error: Exception | None = None
        try:
            yield measured
        except CUT as raised:
            error = raised
        seconds = measured.seconds
        self.environment.events.request.fire(
            request_type=kind,
            name=name,
            response_time=(time.perf_counter() - began if seconds is None else seconds) * 1000,
            response_length=measured.length,
            exception=None
            if error is None
            else CatchResponseError(
                str(error) if isinstance(error, Wrong) else f"cut: {type(error).__name__}: {error}"
            ),
        )
        if error is not None:
            raise RescheduleTask


@dataclass
class Measured:
    """Of one request on a socket."""

    seconds: float | None = None
    length: int = 0


class Wrong(Exception):
    """An answer that is not the right one; the message says why."""


CUT = (OSError, EOFError, HTTPException, WebSocketException, Wrong)
"""What a connection that ends too early raises."""
