"""Every table of a configuration file.

Source: RFC 9329 §6.1, RFC 7296 §2.8
"""

from iketcp.config.schema import Table
from iketcp.config.tables_eap import EAP
from iketcp.config.tables_ike import CHILD, IKE, LOCAL, POOL, REMOTE, SECRET
from iketcp.config.tables_peer import PEER
from iketcp.config.tables_ppk import PPK
from iketcp.config.tables_system import CONTROL, HOOKS, LOG, TRANSPORT, TUN
from iketcp.config.tables_tls import PROXY, TLS
from iketcp.config.tables_udp import UDP

TABLES: tuple[Table, ...] = (
    LOCAL,
    REMOTE,
    SECRET,
    PPK,
    PEER,
    EAP,
    IKE,
    CHILD,
    POOL,
    TRANSPORT,
    TLS,
    PROXY,
    UDP,
    TUN,
    HOOKS,
    CONTROL,
    LOG,
)
"""Every table, in the order of the documentation."""
