"""Kubernetes objects, translation, supervision, command line. Never how bytes are proxied."""
