"""What most parts of the program need of `kube_api.KubeApi`: a request and its answer."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

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
