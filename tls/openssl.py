"""What OpenSSL can do and Python's ssl does not pass on: ticket keys, groups, verify depth.

An ``ssl.SSLContext`` object begins with the usual object header and then the pointer to OpenSSL's
``SSL_CTX``; all supported versions of CPython have it there. A wrong guess would read any memory,
so nothing here is used before `probe` has done all of it, in a process of its own, with a real
resumed handshake at the end. The control process probes once at its start; workers run the same
interpreter and libraries, and are told the result.

Where the probe says no, TLS works all the same: each worker has ticket keys of its own, groups are
OpenSSL's defaults, and a policy with a verify depth is refused, because it could not be kept.
"""

import _ssl
import ctypes
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Final

from tls.tickets import KEYS_BYTES

PROBE_SECONDS: Final = 20.0
"""Bound of the probe; it takes some 50 ms on a quiet machine."""

# Commands of SSL_CTX_ctrl, from openssl/ssl.h; the numbers are part of OpenSSL's ABI.
_SET_SESSION_CACHE_MODE: Final = 44
_SET_TICKET_KEYS: Final = 59
_GET_TICKET_KEYS: Final = 58
_SET_GROUPS_LIST: Final = 92


class OpenSsl:
    """The functions of the libssl that Python's ssl uses, bound with their types."""

    __slots__ = ("_ctrl", "_get_depth", "_get_options", "_set_depth", "_set_session_context")

    def __init__(self) -> None:
        """
        Raises:
            OSError, AttributeError: this Python does not let us reach its libssl.
        """
        # The handle of the extension module also finds the symbols of what it is linked with.
        library = ctypes.CDLL(getattr(_ssl, "__file__", None))
        self._ctrl = library.SSL_CTX_ctrl
        self._ctrl.restype = ctypes.c_long
        self._ctrl.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_void_p)
        self._get_options = library.SSL_CTX_get_options
        self._get_options.restype = ctypes.c_uint64
        self._get_options.argtypes = (ctypes.c_void_p,)
        self._get_depth = library.SSL_CTX_get_verify_depth
        self._get_depth.restype = ctypes.c_int
        self._get_depth.argtypes = (ctypes.c_void_p,)
        self._set_depth = library.SSL_CTX_set_verify_depth
        self._set_depth.restype = None
        self._set_depth.argtypes = (ctypes.c_void_p, ctypes.c_int)
        self._set_session_context = library.SSL_CTX_set_session_id_context
        self._set_session_context.restype = ctypes.c_int
        self._set_session_context.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint)

    def set_ticket_keys(self, context: ssl.SSLContext, keys: bytes) -> bool:
        """Encrypt and decrypt tickets with these KEYS_BYTES; on a context in use, from now on."""
        if len(keys) != KEYS_BYTES:
            return False
        done: int = self._ctrl(_pointer(context), _SET_TICKET_KEYS, len(keys), keys)
        return done == 1

    def ticket_keys(self, context: ssl.SSLContext) -> bytes:
        """The KEYS_BYTES in use; for the probe."""
        keys = ctypes.create_string_buffer(KEYS_BYTES)
        self._ctrl(_pointer(context), _GET_TICKET_KEYS, KEYS_BYTES, keys)
        return keys.raw

    def set_session_scope(self, context: ssl.SSLContext, scope: bytes) -> bool:
        """Resume no session of another scope; at most 32 bytes."""
        done: int = self._set_session_context(_pointer(context), scope, len(scope))
        return done == 1

    def disable_session_cache(self, context: ssl.SSLContext) -> None:
        """Keep no sessions: OpenSSL would keep up to 20,480 a context for clients that take no
        tickets, which is memory that strangers fill."""
        self._ctrl(_pointer(context), _SET_SESSION_CACHE_MODE, 0, None)

    def set_groups(self, context: ssl.SSLContext, groups: str) -> bool:
        """Key exchange groups in order, separated by colons; False when one is unknown."""
        name = groups.encode("ascii")
        done: int = self._ctrl(_pointer(context), _SET_GROUPS_LIST, 0, name)
        return done == 1

    def set_verify_depth(self, context: ssl.SSLContext, depth: int) -> bool:
        """Allow so many intermediate authorities."""
        self._set_depth(_pointer(context), depth)
        kept: int = self._get_depth(_pointer(context))
        return kept == depth

    def options(self, context: ssl.SSLContext) -> int:
        """The context's options as OpenSSL has them; for the probe."""
        options: int = self._get_options(_pointer(context))
        return options


def _pointer(context: ssl.SSLContext) -> int | None:
    return ctypes.c_void_p.from_address(id(context) + object.__basicsize__).value


def probe() -> str | None:
    """None when `OpenSsl` works here, else a sentence for people why not. Takes a process.

    For the control process at its start; blocks for PROBE_SECONDS at most.
    """
    root = str(Path(__file__).resolve().parent.parent)
    code = "import sys; sys.path.insert(0, sys.argv[1]); from tls.openssl import examine; examine()"
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter, code and path
            [sys.executable, "-c", code, root],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROBE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as failed:
        return f"the test of OpenSSL could not run: {failed}"
    if done.returncode == 0:
        return None
    if done.returncode < 0:
        return f"the test of OpenSSL was ended by signal {-done.returncode}"
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason given"]
    return f"the test of OpenSSL failed: {lines[-1][:300]}"


def examine() -> None:
    """Use everything once and exit with a reason when something is not as expected.

    Call it in a process that may crash; `probe` does.
    """
    reason = _examination()
    if reason is not None:
        sys.exit(reason)


def _examination() -> str | None:
    try:
        openssl = OpenSsl()
    except (OSError, AttributeError) as missing:
        return f"libssl cannot be reached: {missing}"
    servers = [_anonymous_server(), _anonymous_server()]
    for server in servers:
        if openssl.options(server) != int(server.options) & 0xFFFF_FFFF_FFFF_FFFF:
            return "an SSLContext is not laid out as expected"
        if not openssl.set_ticket_keys(server, bytes(range(KEYS_BYTES))):
            return "ticket keys are not taken"
        if openssl.ticket_keys(server) != bytes(range(KEYS_BYTES)):
            return "ticket keys are not kept"
        if not openssl.set_session_scope(server, b"scope"):
            return "the scope of sessions is not taken"
        openssl.disable_session_cache(server)
        if not openssl.set_groups(server, "X25519:prime256v1"):
            return "groups are not taken"
        if not openssl.set_verify_depth(server, 3):
            return "the verify depth is not taken"
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers(_ANONYMOUS)
    first = _handshake(client, servers[0], None)
    second = _handshake(client, servers[1], first.session)
    if first.session_reused or not second.session_reused:
        return "a session was not resumed by a second context with the same keys"
    return None


_ANONYMOUS: Final = "AECDH:@SECLEVEL=0"
"""Suites without certificates, so that the probe needs no key; never used with a network."""


def _anonymous_server() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_ANONYMOUS)
    return context


def _handshake(
    client: ssl.SSLContext, server: ssl.SSLContext, session: ssl.SSLSession | None
) -> ssl.SSLObject:
    """The client's side after a handshake in memory.

    Raises:
        ssl.SSLError: it failed, or did not end after a few rounds.
    """
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server, session=session)
    for _ in range(10):
        finished = 0
        for side in (theirs, ours):
            try:
                side.do_handshake()
                finished += 1
            except ssl.SSLWantReadError:
                pass
        if finished == 2:
            return theirs
    raise ssl.SSLError("the handshake does not end")
