"""The only rooms of the router that know asyncio: sockets, transports, timers, threads.

* `hub`: what all connections of a worker share; the coarse timer that ends what takes too long.
* `downstream`, `upstream`: the two sides of an exchange as `asyncio.Protocol`.
* `connect` opens connections to endpoints; `tunnel` joins two upgraded connections.
* `logsink` writes access-log batches in a thread, so that a blocked reader delays nobody.

The bytes that pass are understood in `router.http`; what happens with them is decided in
`router.exchange`.
"""
