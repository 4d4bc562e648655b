"""Where objects come from. I/O lives here; nothing here knows what an object means for routes.

``documents``  bytes of a file become documents (YAML, JSON); no I/O
``manifests``  folders of such files, polled for changes

Out: `ObjectChange` values for the translation, and diagnostics about files and broken objects.
"""
