"""The admin port: probes, metrics, and answers to questions. Read-only.

`readiness` and `metrics` are pure: state in, verdict or text out. `server` is the HTTP side. The
data plane is never asked and never waits for anybody here; what is shown was reported by the
workers or is what the translation made.
"""
