"""Worker processes: their sockets, their life, and what they report.

`sockets` binds one listening socket for each address and worker slot and keeps it open, so that a
dead worker loses no queued connection. `channel` carries frames of `router.model.wire` over a
socket pair. `workers` starts workers by module name (never by import), gives them their
configuration, the secret of session tickets and every snapshot, restarts those that die or fall
silent, and drains them. `totals` adds up what they report, across restarts.

Enters: settings, snapshots and deltas. Leaves: acknowledged versions, totals, log lines.
Nothing here knows Kubernetes.
"""
