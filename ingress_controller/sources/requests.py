"""What most parts of the program need of `kube_api.KubeApi`: a request and its answer."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol

from ingress_controller.sources.errors import ApiError

SERVER_ERRORS = 500
"""Statuses from here on say that the server is not itself."""
NO_QUERY: Mapping[str, str] = MappingProxyType({})


class Requests(Protocol):
    """Asks the API server, as one account."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] = NO_QUERY,
        body: bytes | None = None,
        content_type: str = "application/json",
        timeout: float = 10.0,  # noqa: ASYNC109 # it bounds its own request
    ) -> bytes:
        """The body of the answer.

        Raises:
            ApiError: there is none, or it says no.
        """


class Overheard:
    """The same requests; whoever waits for the API server to be back is told of each answer."""

    def __init__(self, requests: Requests, on_answer: Callable[[], None]) -> None:
        self._requests = requests
        self._on_answer = on_answer

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] = NO_QUERY,
        body: bytes | None = None,
        content_type: str = "application/json",
        timeout: float = 10.0,  # noqa: ASYNC109 # it bounds its own request
    ) -> bytes:
        """See `Requests.request`."""
        try:
            answer = await self._requests.request(
                method, path, query=query, body=body, content_type=content_type, timeout=timeout
            )
        except ApiError as error:
            if error.status is not None and error.status < SERVER_ERRORS:
                self._on_answer()  # a refusal is an answer, too
            raise
        self._on_answer()
        return answer
