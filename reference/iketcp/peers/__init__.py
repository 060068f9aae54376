"""Peers: an endpoint with threads, sockets and a tunnel device around it.

Source: RFC 9329 §6
"""

from iketcp.peers.initiator import Initiator
from iketcp.peers.peer import Peer
from iketcp.peers.responder import Responder

__all__ = ["Initiator", "Peer", "Responder"]
