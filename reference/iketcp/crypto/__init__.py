"""The cryptography that IKE and ESP call by number: wrappers, no algorithms.

Each module turns the numbers of one or two IANA tables into objects with sizes and
two or three methods. The primitives are the ``cryptography`` package's (OpenSSL's);
what stands here is what the RFCs say *about* them: which octets are key and which
are salt, what an Integrity Check Value covers, what a public value looks like on
the wire, and which ones are refused.

Reading order: :mod:`~iketcp.crypto.suite` (what two peers agree on),
:mod:`~iketcp.crypto.prf`, :mod:`~iketcp.crypto.key_exchange`,
:mod:`~iketcp.crypto.key_encapsulation`, :mod:`~iketcp.crypto.ciphers`.

Source: RFC 7296 §3.3.2, RFC 8247 §2, RFC 8221 §5
"""
