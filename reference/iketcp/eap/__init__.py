"""EAP: whole conversations as objects that take octets and give octets.

An IKE SA carries EAP messages in IKE_AUTH without looking into them;
:mod:`iketcp.eap.method` says what it asks of whoever does.

Source: RFC 3748 §4
Source: RFC 7296 §2.16
"""
