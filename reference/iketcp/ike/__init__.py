"""IKEv2: what its messages look like, and what an IKE SA does with them.

The lower half of this package is pure syntax: octets in, frozen records out, and back.
Read it beside RFC 7296 §3, in this order: :mod:`~iketcp.ike.header` (the 28 octets
before every message), :mod:`~iketcp.ike.message` (the chain of payloads),
:mod:`~iketcp.ike.payloads` with :mod:`~iketcp.ike.proposals` and
:mod:`~iketcp.ike.configuration` (what stands in them), :mod:`~iketcp.ike.identity`.

The upper half is behaviour: which message follows on which, keyed and checked. Nothing
in here opens a socket, starts a thread or reads a clock.

Source: RFC 7296 §1
Source: RFC 7296 §3
"""
