"""The one vocabulary that control plane and data plane share.

Here live frozen values without behaviour: what the routing table says (`snapshot`), where a route
came from (`origin`), which addresses serve an upstream (`upstreams`), the limits of a worker
(`limits`), and the messages between the control process and its workers (`wire`).

Nothing here knows Kubernetes, sockets or HTTP messages.
"""
