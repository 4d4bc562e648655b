"""Which route takes a request: pure functions from (table, host, path) to a route.

In goes what a request head says; out comes what the table bound to the winning route, or a
refusal with a sentence. `paths` makes the one canonical path that is matched *and* forwarded,
`hosts` reads Host fields and host patterns, `table` is the compiled form of a snapshot's hosts,
`explain` tells the same walk step by step.

Nothing here knows sockets, time or HTTP messages.
"""
