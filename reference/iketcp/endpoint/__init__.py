"""One endpoint of IKE and ESP over TCP, as a machine without I/O.

Events go in (a connection opened, octets arrived, a packet wants out, time passed),
effects come out. Everything above only carries effects out; everything below only knows
its own part.

Source: RFC 9329 §6
"""

from iketcp.endpoint.endpoint import Endpoint

__all__ = ["Endpoint"]
