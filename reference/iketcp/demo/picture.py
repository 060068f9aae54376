"""The two sites, drawn in characters, and what terminals without these get."""

from iketcp.demo.scenery import EAST, INNER, LINK_MTU, OUTER, TUNNEL_DEVICE, WEST

_PICTURE = """\
       west, the initiator                          east, the responder
  ┌──────────────────────────┐                  ┌──────────────────────────┐
  │ {device:<24} │                  │ {device:>24} │
  │ {west4:<14} ══════════╪═══ ESP in TCP ═══╪══════════ {east4:>14} │
  │ {west6:<24} │                  │ {east6:>24} │
  │                          │{wire:^18}│                          │
  │ {west:>24} ├──────────────────┤ {east:<24} │
  │                          │{size:^18}│                          │
  └──────────────────────────┘                  └──────────────────────────┘"""

_ASCII = str.maketrans(
    dict(zip("┌┐└┘│─├┤═╪", "++++|-++=+", strict=True))
    | {"·": "|", "…": "...", "§": "section ", "✔": "ok", "✘": "X", "▶": ">"}
)


def to_ascii(text: str) -> str:
    """Write a text in ASCII, with ``?`` for what has no likeness there."""
    return text.translate(_ASCII).encode("ascii", "replace").decode()


def picture(is_ascii: bool = False, has_namespaces: bool = True) -> str:
    """Draw the two sites, their wire and the tunnel through it.

    Parameters
    ----------
    is_ascii : bool
        Use no other characters.
    has_namespaces : bool
        False: both sites are processes on this machine's loopback interface.
    """
    west = east = "127.0.0.1"
    if has_namespaces:
        west, east = (OUTER[site][0].partition("/")[0] for site in (WEST, EAST))
    drawing = _PICTURE.format(
        device=f"{TUNNEL_DEVICE}{'' if has_namespaces else ' (in memory)'}",
        west4=INNER[WEST][0],
        west6=INNER[WEST][1],
        east4=INNER[EAST][0],
        east6=INNER[EAST][1],
        west=west,
        east=east,
        wire="Ethernet" if has_namespaces else "loopback",
        size=f"MTU {LINK_MTU}" if has_namespaces else "",
    )
    return to_ascii(drawing) if is_ascii else drawing
