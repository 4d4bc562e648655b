"""At most one leads, whatever the network, the processes and their clocks do (fault F-31, F-30).

Candidates share one Lease in a fake API server that does what the real one does: it refuses a
write over a version that is not the newest. Each step is one small thing that can happen: a
request leaves, arrives, is answered, is given up while it still travels; time passes; a process
is replaced; somebody deletes the Lease.
"""

import heapq
import itertools
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ingress_controller.leader.lease import Candidate, Lease, Read, Timing, Write, read_lease
from ingress_controller.store import Name

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
WHO = st.integers(0, 2)


class Server:
    """One Lease."""

    def __init__(self) -> None:
        self.document: dict[str, object] | None = None
        self.version = 0

    def read(self) -> Lease | None:
        return None if self.document is None else read_lease(msgspec.json.encode(self.document))

    def write(self, write: Write) -> Lease | None:
        """None: refused."""
        metadata = write.document["metadata"]
        assert isinstance(metadata, dict)
        if write.create:
            if self.document is not None:
                return None
        elif self.document is None or self.document["metadata"] != metadata:
            return None
        if self.document is None or self.document["spec"] != write.document["spec"]:
            self.version += 1
            metadata = {**metadata, "resourceVersion": str(self.version)}
            self.document = {**write.document, "metadata": metadata}
        return self.read()


class Process:
    """A candidate with its clocks and what it waits for."""

    def __init__(self, identity: str, offset: float, wall: timedelta) -> None:
        self.identity = identity
        self.candidate = Candidate(Name("n", "l"), identity, Timing())
        self.offset = offset
        """Of its monotonic clock."""
        self.wall = wall
        self.action: Read | Write | None = None
        """Under way."""
        self.sent = 0.0
        self.answer: tuple[Lease | None] | None = None
        """On its way back."""
        self.knows = False
        """It has seen the Lease as it exists now, or an earlier version of it."""


class Election(RuleBasedStateMachine):
    """Three processes and everything that happens to them."""

    @initialize(offsets=st.lists(st.floats(0, 1e6), min_size=3, max_size=3))
    def start(self, offsets: list[float]) -> None:
        self.now = 0.0
        self.server = Server()
        self.lost: list[Write] = []
        """Writes that their senders gave up, and that may still arrive."""
        self.born = 3
        self.processes = [
            Process(f"p{index}", offset, timedelta(0)) for index, offset in enumerate(offsets)
        ]

    def clock(self, process: Process) -> float:
        return self.now + process.offset

    @rule(seconds=st.sampled_from([0.0, 0.3, 1.0, 2.0, 4.9, 5.0, 9.9, 14.0, 15.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(who=WHO)
    def a_round_begins(self, who: int) -> None:
        process = self.processes[who]
        if process.action is None:
            process.sent = self.clock(process)
            process.action = process.candidate.begin(self.clock(process), NOON + process.wall)

    @rule(who=WHO)
    def a_request_arrives(self, who: int) -> None:
        process = self.processes[who]
        if process.answer is None:
            if isinstance(process.action, Read):
                process.answer = (self.server.read(),)
            elif isinstance(process.action, Write):
                process.answer = (self.server.write(process.action),)

    @rule(who=WHO)
    def an_answer_arrives(self, who: int) -> None:
        process = self.processes[who]
        if process.answer is None:
            return
        (lease,), process.answer = process.answer, None
        action, process.action = process.action, None
        candidate, now = process.candidate, self.clock(process)
        process.knows = process.knows or lease is not None
        if isinstance(action, Read):
            candidate.found(lease, now)
            process.sent = now
            process.action = candidate.claim(now, NOON + process.wall)
        elif lease is None:
            candidate.unsure()
        else:
            candidate.written(lease, sent=process.sent, now=now)

    @rule(who=WHO, slow=st.sampled_from([0.0, 0.0, 0.1, 4.9, 9.0]))
    def a_round_succeeds(self, who: int, slow: float) -> None:
        """All steps of one; ``slow``: seconds that each answer takes."""
        self.a_round_begins(who)
        for _ in range(3):
            self.a_request_arrives(who)
            self.now += slow
            self.an_answer_arrives(who)
            self.at_most_one_leads()

    @rule(who=WHO)
    def a_request_is_given_up(self, who: int) -> None:
        process = self.processes[who]
        if isinstance(process.action, Write):
            process.candidate.unsure()
            if process.answer is None:
                self.lost.append(process.action)
        process.action = process.answer = None

    @rule()
    def a_request_that_was_given_up_arrives(self) -> None:
        if self.lost:
            self.server.write(self.lost.pop(0))

    @rule(who=WHO, hours=st.sampled_from([-2.0, 0.0, 0.001, 2.0]))
    def a_clock_is_set(self, who: int, hours: float) -> None:
        self.processes[who].wall += timedelta(hours=hours)

    # Its successor is a newcomer, too; see below.
    @precondition(lambda self: self.server.document is not None)
    @rule(who=WHO)
    def a_process_ends_in_good_order(self, who: int) -> None:
        self.a_request_is_given_up(who)
        process = self.processes[who]
        write = process.candidate.release(NOON + process.wall)
        if write is not None:
            self.lost.append(write)
        self.replace(who)

    # A newcomer that never saw the Lease leads at once if there is none: see `lease`.
    @precondition(lambda self: self.server.document is not None)
    @rule(who=WHO)
    def a_process_is_killed(self, who: int) -> None:
        self.a_request_is_given_up(who)
        self.replace(who)

    def replace(self, who: int) -> None:
        before = self.processes[who]
        self.processes[who] = Process(f"p{self.born}", before.offset / 2, before.wall)
        self.born += 1

    @precondition(
        lambda self: (
            self.server.document is not None and all(process.knows for process in self.processes)
        )
    )
    @rule()
    def somebody_deletes_the_lease(self) -> None:
        self.server.document = None
        for process in self.processes:
            process.knows = False

    @rule()
    def somebody_labels_the_lease(self) -> None:
        if self.server.document is not None:
            self.server.version += 1
            metadata = {"resourceVersion": str(self.server.version), "labels": {"a": "b"}}
            self.server.document = {**self.server.document, "metadata": metadata}

    @invariant()
    def at_most_one_leads(self) -> None:
        leading = [
            process.identity
            for process in getattr(self, "processes", ())
            if process.candidate.leads(self.clock(process))
        ]
        assert len(leading) <= 1, leading


Election.TestCase.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
test_at_most_one_leads = Election.TestCase


class Life:
    """Some minutes of three processes that all try to lead, with faults by chance."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.now = 0.0
        self.order = itertools.count()
        self.events: list[tuple[float, int, Callable[[], object]]] = []
        self.server = Server()
        self.processes: dict[str, Process] = {}
        self.led: set[str] = set()
        for _ in range(3):
            self.born()

    def at(self, seconds: float, event: Callable[[], object]) -> None:
        heapq.heappush(self.events, (self.now + seconds, next(self.order), event))

    def slow(self) -> float:
        """A delay of the network or of a process that is stopped; mostly short."""
        return self.chance.choice([0.01, 0.05, 0.2, 2.0, self.chance.uniform(0, 14)])

    def born(self) -> None:
        name = f"p{next(self.order)}"
        wall = timedelta(seconds=self.chance.uniform(-9999, 9999))
        process = self.processes[name] = Process(name, self.chance.uniform(0, 1e6), wall)
        self.at(self.chance.uniform(0, 3), lambda: self.round(process))
        if self.server.document is not None:  # see `lease` on newcomers that find none
            self.at(self.chance.expovariate(1 / 60), lambda: self.dies(process))

    def dies(self, process: Process) -> None:
        del self.processes[process.identity]
        if self.chance.random() < 0.5:
            write = process.candidate.release(NOON)
            if write is not None:
                self.at(self.slow(), lambda: self.arrives(write))
        self.born()

    def deleted(self) -> None:
        if all(process.knows for process in self.processes.values()):
            self.server.document = None
            for process in self.processes.values():
                process.knows = False

    def arrives(self, write: Write) -> Lease | None:
        return self.server.write(write)

    def round(self, process: Process) -> None:
        now = self.now + process.offset
        self.send(process, process.candidate.begin(now, self.wall(process)))

    def wall(self, process: Process) -> datetime:
        return NOON + process.wall + timedelta(seconds=self.chance.choice([0, self.now]))

    def send(self, process: Process, action: Read | Write) -> None:
        """The request arrives, is answered, and the answer is handled: each late, or never."""
        sent = self.now + process.offset
        lost = self.chance.random() < 0.1

        def request() -> None:
            answer = self.server.read() if isinstance(action, Read) else self.arrives(action)
            self.at(self.slow(), lambda: self.handle(process, action, sent, answer))

        # One that is given up may still arrive, and change the Lease.
        given_up = self.slow() > 5.0
        if not lost:
            self.at(self.slow(), (lambda: self.late(action)) if given_up else request)
        if lost or given_up:
            self.at(5.0 + self.slow(), lambda: self.fails(process))

    def late(self, action: Read | Write) -> None:
        if isinstance(action, Write):
            self.arrives(action)

    def handle(
        self, process: Process, action: Read | Write, sent: float, answer: Lease | None
    ) -> None:
        if process.identity not in self.processes:
            return
        now = self.now + process.offset
        process.knows = process.knows or answer is not None
        if isinstance(action, Read):
            process.candidate.found(answer, now)
            claim = process.candidate.claim(now, self.wall(process))
            if claim is not None:
                self.send(process, claim)
                return
        elif answer is None:
            process.candidate.unsure()
        else:
            process.candidate.written(answer, sent=sent, now=now)
        self.again(process, 0)

    def fails(self, process: Process) -> None:
        if process.identity in self.processes:
            process.candidate.unsure()
            self.again(process, 1)

    def again(self, process: Process, failures: int) -> None:
        now = self.now + process.offset
        wait = process.candidate.wait(now, failures=failures, chance=self.chance.random())
        self.at(wait, lambda: self.round(process))

    def play(self, seconds: float) -> None:
        """Until so much time has passed; at most one leads at every moment."""
        self.at(self.chance.uniform(0, seconds), self.deleted)
        while self.events[0][0] < seconds:
            self.now, _, event = heapq.heappop(self.events)
            before = self.leading()
            event()
            after = self.leading()
            assert len(before) <= 1, before
            assert len(after) <= 1, after
            self.led.update(after)

    def leading(self) -> list[str]:
        return [
            process.identity
            for process in self.processes.values()
            if process.candidate.leads(self.now + process.offset)
        ]


@settings(max_examples=300)
@given(st.integers(0, 2**32))
def test_at_most_one_leads_through_a_life_of_faults(seed: int) -> None:
    life = Life(seed)
    life.play(600.0)
    assert life.led, "somebody led for some time"


def test_one_leads_soon_and_a_successor_within_the_lease_time_and_a_retry() -> None:
    """Without faults: a killed leader is followed when its Lease was unchanged for 15 s."""
    server, now = Server(), 0.0
    due = {"a": 0.0, "b": 0.3, "c": 1.7}
    candidates = {name: Candidate(Name("n", "l"), name, Timing()) for name in due}

    def play(until: float) -> None:
        nonlocal now
        while min(due.values()) < until:
            name = min(due, key=lambda one: due[one])
            now, one = due[name], candidates[name]
            action = one.begin(now, NOON + timedelta(seconds=now))
            if isinstance(action, Read):
                one.found(server.read(), now)
                claim = one.claim(now, NOON + timedelta(seconds=now))
            else:
                claim = action
            if claim is not None:
                lease = server.write(claim)
                if lease is None:
                    one.unsure()
                else:
                    one.written(lease, sent=now, now=now)
            due[name] = now + one.wait(now, failures=0, chance=0.7)

    play(100.0)
    assert candidates["a"].leads(now)
    del due["a"]
    killed = now = 101.9
    while not any(candidates[name].leads(now) for name in due):
        play(now := min(due.values()) + 1e-9)
    assert now - killed < 15.0 + 2.4 + 0.5
