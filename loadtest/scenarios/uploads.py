"""Request bodies of several sizes."""

import random

from locust import tag, task

from loadtest.users import EdgeUser


class Uploads(EdgeUser):
    """Sends bodies, and reads back how many bytes have arrived."""

    weight = 2

    @tag("uploads")
    @task
    def upload(self) -> None:
        target = self.choose(self.run_of.targets.uploads)
        size = random.choice(target.sizes)
        fields = {"Content-Type": "application/octet-stream"}
        name = f"{target.url} ({size} bytes)"
        self.ask(target, "POST", name=name, body=bytes(size), fields=fields)
