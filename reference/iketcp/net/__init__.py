"""The machine's side of the tunnel: sockets, tunnel devices, routes, the clock.

Everything below this floor is pure: octets and the time go in, effects come out. This
floor owns what an operating system owns, one thing per module, and knows nothing of
IKE or ESP: a TCP connection is octets both ways and a bounded queue, a tunnel device
is a source and sink of inner IP packets, and every change to the machine's addresses
and routes remembers how to undo itself. Threads are started by the floor above; what
stands here may be called from several of them.

Source: RFC 9329 §3, RFC 9329 §6
"""
