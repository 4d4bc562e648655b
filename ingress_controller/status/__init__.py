"""What the leader writes into the cluster: addresses into Ingresses, and Events beside them.

``addresses``  addresses and names out of Services and nodes; pure
``publish``    which addresses are published, kept up to date
``wanted``     which status an Ingress shall have, and whether it is ours to write; pure
``writer``     writes it
``notices``    which Events shall exist for which diagnostics, and when; pure
``events``     writes them
``agenda``, ``pace``  what is to be done in which order, and how fast; pure

In: which Ingresses every worker serves (told by the control loop), what the API has of them
(`sources.cluster`), diagnostics. Nothing here is waited for by serving, and a failure here stops
nothing: wishes are kept and tried again.
"""
