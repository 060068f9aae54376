"""ESP: inner packets in, sealed packets out, and back.

Everything here is tunnel mode: a whole IP packet is sealed into one ESP packet, and an
ESP packet is one message of the stream. Reading order:

- :mod:`~iketcp.esp.packet`: padding, trailer, Next Header, what the ICV covers;
- :mod:`~iketcp.esp.replay`: the anti-replay window and extended sequence numbers;
- :mod:`~iketcp.esp.protection`: one SA, one direction: seal or open one packet;
- :mod:`~iketcp.esp.selector_check`: is this packet the Child SA's to carry?
- :mod:`~iketcp.esp.child_sa`: both directions together, in batches, with counters;
- :mod:`~iketcp.esp.spd`: which Child SA carries the packet that wants to go out;
- :mod:`~iketcp.esp.mtu`: how large an inner packet may be;
- :mod:`~iketcp.esp.transport_mode`, :mod:`~iketcp.esp.checksum_fixup`: between two
  hosts, and where a NAT is between them.

What the outer headers say is the TCP stack's business and that of a whole connection:
no DF bit and no DSCP is copied outward from a packet, and none of its ECN bits is
touched in either direction [9329-6.8-df], [9329-6.8-dscp], [9329-9.5-ecn].

Source: RFC 4303 §2, RFC 4303 §3
Source: RFC 4301 §5
Source: RFC 9329 §6.8, RFC 9329 §9.5
"""
