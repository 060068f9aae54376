"""What crossed the wire, in files: written for Wireshark, read for ourselves.

:mod:`iketcp.capture.pcapng` writes and reads capture files,
:mod:`iketcp.capture.segments` puts the octets of captured TCP connections back in
order, and :mod:`iketcp.capture.rewrap` turns an IKETCP stream into the same messages
in UDP on port 4500, which every version of Wireshark can decrypt. None of them opens
a socket; the octets come from elsewhere.

Source: RFC 9329 §3, RFC 3948 §2
"""
