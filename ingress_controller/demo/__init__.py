"""What `ingress-controller demo` serves: sample backends and sample manifests.

`backend` is a small HTTP server, run as a process of its own for each sample endpoint. `processes`
starts and ends them and writes the EndpointSlices that name their ports; `certificates` has a local
authority issue what HTTPS needs; everything else that is served stands in `manifests/`, to be read
and changed.
"""
