"""One of several replicas leads: it alone writes status and Events. Serving never depends on it.

``lease``    who leads, given the time: a state machine over what the API answered; pure
``elector``  drives it with a Lease of coordination.k8s.io/v1, and tells who listens

Leadership is a span of time, not a flag: it ends by itself when it was not renewed. So no failure,
hang or exception anywhere can make it last.
"""
