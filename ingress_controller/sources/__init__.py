"""Where objects come from. I/O lives here; nothing here knows what an object means for routes.

``source``     what the control loop knows of a source, and the other way round
``documents``  bytes of a file become documents (YAML, JSON); no I/O
``manifests``  folders of such files: what is there, and what changed since the last look
``polling``    such folders as a source, looked at again and again
``kube_api``   requests and watches to the API server: bytes, deadlines, errors of `errors`
``connections``  its pools of connections; ``lines`` cuts what a watch sends
``credentials``  what it is shown: a Pod's account, or ``kubeconfig``; knows kubernetes_asyncio
``cluster``    an API server as a source: which `target`s are read, and when all is known
``reflector``  reads one target: does what a ``watch_machine`` says, keeps a ``mirror`` of it
``reach``      whether the API answers: drives an ``outage``, which all reflectors share
``findings``   what such a source reports

Out: `ObjectChange` values for the translation, and diagnostics about files and broken objects.
"""
