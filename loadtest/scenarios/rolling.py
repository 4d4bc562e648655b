"""The edge is replaced during the run; that nothing fails meanwhile, the other users show."""

import subprocess
import time

from locust import tag, task

from loadtest.cluster import ApiError, Cluster
from loadtest.users import SocketUser, Wrong

COMMAND_SECONDS = 600.0


class RollingUpdates(SocketUser):
    """Replaces the edge again and again, with a pause before each time."""

    fixed_count = 1

    def wait_time(self) -> float:
        return self.run_of.roll_every

    def on_start(self) -> None:
        time.sleep(self.run_of.roll_every)

    @tag("rolling")
    @task
    def replace(self) -> None:
        with self.counted("ROLL", "edge replaced"):
            if self.run_of.deployment is not None:
                self._restart(*self.run_of.deployment)
            else:
                self._command()

    def _restart(self, namespace: str, name: str) -> None:
        run = self.run_of
        try:
            cluster = Cluster(run.kubeconfig, run.context, run.files / "rolling.socket")
            try:
                cluster.restart(namespace, name)
            finally:
                cluster.close()
        except ApiError as error:
            raise Wrong(str(error)) from None

    def _command(self) -> None:
        try:
            done = subprocess.run(
                list(self.run_of.roll),
                timeout=COMMAND_SECONDS,
                check=False,
                text=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        except subprocess.TimeoutExpired:
            raise Wrong(f"the command did not end within {COMMAND_SECONDS:g} s") from None
        if done.returncode != 0:
            raise Wrong(f"the command ended with {done.returncode}: {done.stderr[-200:]}")
