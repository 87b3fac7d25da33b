"""Venue ports: one account at one real venue each, thin over its REST interface and private stream.

Nothing here trades by default: a client wants its endpoints named and, unless they are on this machine, a
``LivePermission``.
"""
