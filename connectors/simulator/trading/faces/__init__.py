"""The simulated venues over loopback sockets, each in its own words: REST and a private websocket.

A field, parameter or action the venue does not document, or that pays somebody else (builder, fee, referrer, approval),
is refused, so that whatever a client adds shows. Signatures are verified.
"""
