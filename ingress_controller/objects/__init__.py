"""Kubernetes objects, reduced to the fields that we read.

One file a kind (or pair of kinds), each a frozen struct whose field names are the API's in snake
case. `decode` turns a parsed document into one of them, or into the reason why not. Comments cite
the API only where our reading of a field is not obvious; what fields *mean* is said in
`ingress_controller.translate`.

Nothing here reads files, talks to an API server or decides anything about routes.
"""
