"""Rules that come, change and go during the run, each answer checked against its moment's rule."""

import http.client
import itertools
import logging
import time
import uuid
from collections.abc import Iterator

from locust import tag, task

from loadtest.checks import Change, judge
from loadtest.cluster import ApiError
from loadtest.rules import Rule
from loadtest.targets import RuleBackend
from loadtest.users import SocketUser, Wrong

PROBE_PAUSE = 0.02
"""Seconds between two requests that watch a change."""
SETTLED = 5
"""Requests after the deadline, each on a connection of its own: any worker may answer it."""


class RuleChanges(SocketUser):
    """Owns one rule: makes it, changes its backend twice, removes it, and begins anew.

    After each change it asks on new connections: until the deadline the old or the new rule may
    answer, then only the new one. "served" is the time from the change to the first answer by it.
    """

    fixed_count = 1

    def on_start(self) -> None:
        rules, place = self.run_of.targets.rules, self.run_of.place
        assert rules is not None  # noqa: S101 # the scenario is left out without them
        assert place is not None  # noqa: S101
        self._place = place
        self._texts = (rules.backends[0].says, rules.backends[1].says)
        self._name = f"loadtest-{uuid.uuid4().hex[:12]}"
        self._host = f"{self._name}.{rules.domain}"
        one, two = rules.backends
        self._wanted: Iterator[RuleBackend | None] = itertools.cycle((one, two, one, None))
        self._now: RuleBackend | None = None

    def on_stop(self) -> None:
        try:
            self._place.remove(self._name)
        except (ApiError, OSError) as error:
            logging.error("%s was not removed: %s", self._name, error)

    @tag("rules")
    @task
    def change(self) -> None:
        wanted, before = next(self._wanted), self._now
        with self.counted("RULE", "change written"):
            try:
                if wanted is None:
                    self._place.remove(self._name)
                else:
                    rule = Rule(name=self._name, host=self._host, backend=wanted)
                    self._place.put(rule)
            except ApiError as error:
                raise Wrong(str(error)) from None
        self._now = wanted
        written = time.monotonic()
        change = Change(
            before=before.says if before else None,
            after=wanted.says if wanted else None,
            at=written,
            deadline=written + self.run_of.rule_deadline,
        )
        self._watch(change)

    def _watch(self, change: Change) -> None:
        kind = "removed" if change.after is None else "made" if change.before is None else "changed"
        served = False
        settled = 0
        while settled < SETTLED:
            sent = time.monotonic()
            settled += sent >= change.deadline
            if self._probe(change, sent) == "new" and not served:
                served = True
                with self.counted("RULE", f"served after it was {kind}") as measured:
                    measured.seconds = time.monotonic() - change.at
            time.sleep(PROBE_PAUSE)

    def _probe(self, change: Change, sent: float) -> str:
        """One request on a new connection; which rule answered it."""
        with (
            self.counted("GET", "a host whose rule changes") as measured,
            self.run_of.edge.connect(self._host, secure=False) as connection,
        ):
            connection.sendall(
                f"GET /rule HTTP/1.1\r\nHost: {self._host}\r\nConnection: close\r\n\r\n".encode()
            )
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            body = answer.read()
            measured.length = len(body)
            said = judge(change, sent, answer.status, body, self._texts)
            if said not in ("old", "new"):
                raise Wrong(said)
        return said
