"""From Kubernetes objects to a `Snapshot` and diagnostics: a pure function, memoised.

In: objects (`ingress_controller.store`) and `options`. Out: a snapshot for the workers, or the
delta from the last one, and `diagnostics` for people. In the order in which a route is made:

``classes``, ``parameters``, ``config``  which Ingresses are ours, and what ConfigMaps say for them
``ingress``    what one Ingress claims: hosts, paths, backends; looks at nothing but that object
``annotations``, ``tls_entries``  what that object says beside its rules
``readings``, ``wants``  all of these, and the Secrets and ConfigMaps that they name
``ownership``  whose a host is, where namespaces do not share hosts
``services``   a backend's Service and port become an upstream, or an answer that says why not
``addresses``  what never becomes an endpoint
``endpoints``  EndpointSlices become endpoint sets: the hot path, which never touches a route
``secrets``    pairs and authorities out of Secrets, parsed once
``server_names``, ``https``, ``clients``, ``certificates``  what answers a handshake for each host,
               and what that means for its routes (``verdicts``)
``routes``, ``conflicts``  what Ingresses claim of one host becomes that host: the oldest wins
``translator`` holds the memos and the indices, so that a change costs what it changes
``findings``   what there is to say about all this
``expiry``     which certificates end soon: the one question with a time in it

No I/O, no clock, no randomness: equal objects and options, in any order of arrival, give an equal
snapshot and equal diagnostics.
"""
