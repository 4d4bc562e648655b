"""The data plane: HTTP, tables, upstream pools. Never Kubernetes, manifests or the admin API."""
