"""Certificates and names. Never HTTP, never Kubernetes."""
