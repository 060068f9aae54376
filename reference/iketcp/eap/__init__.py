"""EAP: whole conversations as objects that take octets and give octets.

An IKE SA carries EAP messages in IKE_AUTH without looking into them; the ends of a
conversation are :class:`~iketcp.eap.peer.EapPeer` (the IKE SA's initiator) and
:class:`~iketcp.eap.authenticator.EapAuthenticator` (its responder).

All of it is without I/O, chance or clock but :mod:`iketcp.eap.openssl`: OpenSSL draws
its own randomness, so EAP-TLS reaches it through an interface and it stands on the
floor of the sockets.

Source: RFC 3748 §4
Source: RFC 7296 §2.16
"""
