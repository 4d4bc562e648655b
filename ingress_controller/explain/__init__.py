"""What happens to a request, and why: every step from the request line to the endpoints.

In goes a URL, a method and headers (`question`); `walk` follows the request through the data
plane's own decoder, the matching, and the objects behind the route; out comes an `explanation`.

Everything here is pure. `ingress_controller.commands.explain` shows an explanation to people, and
the admin port answers ``GET /explain?url=…&method=…&header=…`` with it as JSON.
"""
