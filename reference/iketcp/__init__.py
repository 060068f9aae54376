"""IKE and IPsec over TCP: the reference implementation of RFC 9329.

Two peers negotiate IKEv2 over one TCP connection and carry IP packets between their
tunnel devices in ESP over the same connection. The package is written to be read
beside the RFCs, from the bottom up:

1. ``stream``: where one message ends and the next begins on a TCP connection;
2. ``ike/header``, ``ike/payloads``, ``ike/message``: what an IKE message looks like;
3. ``ike/keys``, ``ike/protection``, ``ike/auth``: keys, encryption, proof of identity;
4. ``ike/states``, ``ike/sa``, ``ike/exchanges/``: who says what, and when;
5. ``esp/``: how an inner IP packet becomes an ESP packet and back;
6. ``mapping``: which connection carries which IKE SA;
7. ``endpoint``: all of this as one machine, events in, effects out;
8. ``net/``, ``peers/``: the sockets, tunnel devices and threads that run it.

Everything up to ``endpoint`` is *pure*: it takes octets, the time and labelled entropy
as arguments and returns what is to be done. Only the last step touches the world.

Source: RFC 9329, RFC 7296, RFC 4303
"""

__version__ = "0.1.0"
