"""The parts of the documents that are made, not written: ``python -m flows.pictures`` makes them anew.

In a document a made part stands between ``<!-- made: NAME -->`` and ``<!-- end -->``.
"""
