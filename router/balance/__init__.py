"""Which endpoint gets the next request: pure decisions over values, with time as an argument.

`endpoints` says which endpoints of a set may get traffic, `round_robin` in which order, `health`
which of them rest for a while because they failed. Nothing here holds a connection.
"""
