"""IPsec in the kernel: which SAs and policies it is to have, and how it is told so.

Nothing here touches a socket. :mod:`~iketcp.xfrm.plan` compares what an endpoint
carries with what the kernel has been told, and answers with requests; the other modules
write them in the octets of Linux's ``linux/xfrm.h``.

Source: RFC 4301 §4.4
"""
