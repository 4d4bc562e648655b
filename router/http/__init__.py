"""HTTP/1.1 messages: bytes to heads and bodies, and back. Pure: no transport, no clock.

* `fields` reads one header line, once: lines that were read before are looked up.
* `rules` judges what the special fields say; every function is one rule with its source.
* `requests` reads a request head, `responses` an answer's head.
* `chunked` takes the chunked coding apart; `request_decoder` and `response_decoder` cut the stream
  of a connection into heads, body pieces and ends.
* `faults` lists everything that can go wrong, `answers` makes our own answers.

A message is accepted only when both llhttp (httptools, without any leniency) and our own rules
accept it. Nothing here knows routes, Kubernetes or sockets.
"""
