"""Test vectors for other implementations: how ours are made, written and checked.

Each kind of vector file has a module that builds it from scratch, octet for octet
the same every time, and the files themselves are kept in the top-level ``vectors/``.
``python -m iketcp.vectorlib vectors`` writes them anew.

Source: RFC 9329, of which no published vectors exist
"""
