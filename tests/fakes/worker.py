"""A worker with a chosen fault: `python worker.py MODE --control-fd N`.

good: acknowledges everything; mute: never acknowledges; lost: answers every delta with OutOfStep;
dying: exits at once; garbage: sends what is no message; stubborn: ignores Drain. Each tells which
ticket secrets it gets, by their digests.
"""

import hashlib
import os
import socket
import sys

import msgspec

from router.model.wire import (
    Acknowledged,
    Change,
    Configure,
    Deframer,
    Drain,
    Load,
    OutOfStep,
    Ready,
    Stats,
    Tickets,
    decode_to_worker,
    frame,
)
from tls.tickets import TicketSecret


def main(mode: str, control_fd: int) -> None:
    if mode == "dying":
        sys.exit(3)
    channel = socket.socket(fileno=control_fd)
    deframer = Deframer()
    version = 0
    while data := channel.recv(1 << 16):
        for body in deframer.feed(data):
            match decode_to_worker(body):
                case Tickets(TicketSecret(secret)):
                    shown = hashlib.sha256(secret).hexdigest()
                    counted = Stats(counters={f"tickets.{len(secret)}.{shown}": 1})
                    channel.sendall(frame(counted))
                case Configure():
                    channel.sendall(frame(Ready(os.getpid())))
                    if mode == "garbage":
                        channel.sendall(b"\x00\x00\x00\x02\xff\xff")
                case _ if mode == "mute":
                    pass
                case Load(snapshot):
                    version = snapshot.version
                    channel.sendall(frame(Stats(counters={"loads": 1})))
                    channel.sendall(frame(Acknowledged(version, 0.001)))
                case Change(delta) if mode == "lost" or delta.base != version:
                    channel.sendall(frame(OutOfStep(version)))
                case Change(delta):
                    version = delta.version
                    channel.sendall(frame(Acknowledged(version, 0.001)))
                case Drain() if mode != "stubborn":
                    return


if __name__ == "__main__":
    try:
        main(sys.argv[1], int(sys.argv[3]))
    except (ConnectionError, msgspec.DecodeError):
        sys.exit(4)
