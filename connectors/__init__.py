"""How bytes come in: venue dialects, sockets, pollers, recordings, the venue simulator."""
