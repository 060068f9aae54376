"""What network cards do for TCP, done for a tunnel: segments cut and put together.

A Linux TUN device can hand over, in one read, a TCP segment of up to 64 KiB, which its
reader has to cut into packets of the path's size, and takes such a segment in one
write. That saves most of the system calls and most of the machine's own work per
packet. This package knows how to cut (:mod:`iketcp.offload.segmentation`) and how to
put together (:mod:`iketcp.offload.coalescing`); inside the tunnel and for the peer
nothing changes: ESP carries the same packets with and without it.

Nothing here does input or output; :mod:`iketcp.net.tun` uses it.
"""
