"""A connection for each request."""

from locust import tag, task

from loadtest.users import EdgeUser


class Connections(EdgeUser):
    """A client without keep-alive; over TLS, each request needs a full handshake."""

    weight = 3

    @tag("connections")
    @task
    def page(self) -> None:
        target = self.choose(self.run_of.targets.pages)
        self.ask(target, name=f"{target.url} (new connection)", fields={"Connection": "close"})
