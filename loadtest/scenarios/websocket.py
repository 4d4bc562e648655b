"""WebSocket connections that live for a while: each echo's round trip is one request."""

import os
import random
import time

import websocket
from locust import tag, task

from loadtest.users import SocketUser, Wrong

MESSAGES = 20
"""On each connection."""
PAUSE = 0.1
"""Seconds between two messages."""
SIZES = (16, 500, 20_000)
"""Bytes of a message: each of them is written in another form of frame below 64 KiB."""


class WebSockets(SocketUser):
    """Opens a connection, has messages echoed, and closes it by the protocol's own handshake."""

    weight = 2

    @tag("websocket")
    @task
    def talk(self) -> None:
        target = random.choice(self.run_of.targets.websockets)
        talk = websocket.WebSocket()
        with self.counted("WS", f"{target.url} (handshake)"):
            raw = self.run_of.edge.connect(target.host, secure=target.secure)
            talk.connect(f"ws://{target.host}{target.path}", socket=raw, redirect_limit=0)
            for text in target.says:
                if text not in str(talk.recv()):
                    raise Wrong(f"wrong backend: a first message does not hold {text!r}")
        try:
            for _ in range(MESSAGES):
                time.sleep(PAUSE)
                sent = os.urandom(random.choice(SIZES))
                with self.counted("WS", f"{target.url} (echo)") as measured:
                    talk.send_binary(sent)
                    measured.length = len(sent)
                    if talk.recv() != sent:
                        raise Wrong("the echo is not what was sent")
            with self.counted("WS", f"{target.url} (close)"):
                talk.send_close()
                opcode, _ = talk.recv_data()
                if opcode != websocket.ABNF.OPCODE_CLOSE:
                    raise Wrong(f"expected a close frame, got opcode {opcode}")
        finally:
            talk.shutdown()
