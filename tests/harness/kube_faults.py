"""What a fake API server does wrong, when a test says so."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.harness.kube_store import Json


@dataclass
class Request:
    """One request that the server got."""

    method: str
    verb: str
    """As RBAC names it: get, list, watch, create, update, patch, delete; empty for other paths."""
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: bytes
    at: float
    """Time of the loop's clock."""
    status: int = 0
    """Of the answer; 0 until there is one."""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Fault:
    """Happens to requests of this method or verb (or ``*``) whose path holds the pattern."""

    method: str
    pattern: str
    status: int = 0
    """Answer this instead of doing anything."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Json | None = None
    """Without one, a Status object for the status."""
    delay: float = 0.0
    """Seconds before anything else."""
    hang: bool = False
    """No answer, until the client or the server goes."""
    cut_after: int | None = None
    """The connection is cut when so many bytes of the answer's body were sent."""
    times: int | None = 1
    """Requests that it happens to; None: all."""
    hits: int = 0

    def withdraw(self) -> None:
        """It happens no more."""
        self.times = 0

    def takes(self, request: Request) -> bool:
        """It happens to this request; counts it."""
        if self.times is not None and self.hits >= self.times:
            return False
        if self.method.lower() not in ("*", request.method.lower(), request.verb):
            return False
        if not re.search(self.pattern, request.path):
            return False
        self.hits += 1
        return True
