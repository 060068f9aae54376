"""One module for each exchange: IKE_SA_INIT, IKE_AUTH, CREATE_CHILD_SA, INFORMATIONAL.

Each holds both sides of its exchange. A handler reads like the section it follows:
parse, check, derive, update, reply.

Source: RFC 7296 §1.2
Source: RFC 7296 §1.3
Source: RFC 7296 §1.4
"""
