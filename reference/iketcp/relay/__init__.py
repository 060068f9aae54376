"""A relay between IKE over TCP and IKE over UDP, for peers that speak only one of them.

A message of the stream, less its Length, is what UDP port 4500 carries: IKE behind four
zero octets, or an ESP packet. So a relay has nothing to translate and holds no keys. It
has to know which stream belongs to which port, and that is what is decided here,
without sockets, threads or a clock:

- :mod:`iketcp.relay.tcp_responder`: TCP comes in, UDP goes out, before an IKE daemon
  that speaks only UDP;
- :mod:`iketcp.relay.tcp_originator`: UDP comes in, TCP goes out, before a client that
  speaks only UDP.

::

    TCP Originator ══ TCP ══ relay ── UDP port 4500 ── IKE daemon
    IKE client ── UDP port 4500 ── relay ══ TCP ══ TCP Responder

Source: RFC 9329 §3, RFC 3948 §2
"""
