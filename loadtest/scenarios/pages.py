"""Many hosts and paths over connections that are kept alive."""

from locust import tag, task

from loadtest.users import EdgeUser


class Pages(EdgeUser):
    """A visitor: in clear, all hosts share a connection; over TLS each host has its own."""

    weight = 10

    @tag("pages")
    @task
    def page(self) -> None:
        self.ask(self.choose(self.run_of.targets.pages))
