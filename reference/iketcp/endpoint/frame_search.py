"""Octets in which the next message of a stream that is out of step is looked for.

A message gives itself away by eight octets: a known ESP SPI and a sequence number, or
the non-ESP marker and the first half of a known IKE SPI. The two octets before them
are then its Length, and with that its end is known, and its ICV can be checked. The
search knows no keys: :class:`Known` says what is plausible and what is genuine.

Where a search ends must not depend on how the octets were divided on the way. So its
limits are places in the stream, and of two genuine messages that one is taken which
ends first, as if the octets came one by one.

Source: RFC 9329 §10
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol

from iketcp.stream import NON_ESP_MARKER

CANDIDATE_LIMIT = 64
"""Choice: so many plausible beginnings are tried in one search; the next one ends it
[9329-10-limit]."""

_LENGTH_SIZE = 2
_SIGN_SIZE = 8


class Known(Protocol):
    """What is known of the SAs that a connection carries."""

    def is_plausible(self, packet: bytes) -> bool:
        """Tell whether an ESP packet may begin with these eight octets."""
        ...

    def is_genuine(self, message: bytes) -> bool:
        """Tell whether a message, marker included, is authentic; change nothing."""
        ...


def signs_of(esp_spis: Collection[bytes], ike_spis: Collection[bytes]) -> bytes:
    """Write the pattern of how a message may begin.

    Parameters
    ----------
    esp_spis : Collection[bytes]
        SPIs we receive on, 4 octets each.
    ike_spis : Collection[bytes]
        Initiators' SPIs of our IKE SAs, 8 octets each; half of one is enough here.
    """
    signs = [re.escape(spi) + b"...." for spi in esp_spis]
    signs += [re.escape(NON_ESP_MARKER + spi[:4]) for spi in ike_spis]
    # looking ahead, for one candidate may begin inside another
    return b"(?s)(?=" + b"|".join(signs) + b")"


@dataclass(eq=False, slots=True)
class FrameSearch:
    """One search in the octets of one connection."""

    signs: bytes
    """As :func:`signs_of` writes them."""
    octet_limit: int
    """It is given up when so many octets show nothing [9329-10-limit]."""
    reason: str
    """Why the stream is out of step."""
    octets: bytearray = field(default_factory=bytearray)
    """Everything searched so far, from the Length of the message that failed on."""
    _noted_to: int = _LENGTH_SIZE + 1  # the message that failed is no candidate
    _candidates: list[int] = field(default_factory=list)
    _candidate_count: int = 0
    _end: int = 0
    """Where the search ends: behind the sign of one candidate too many."""

    def __post_init__(self) -> None:
        """Begin with the limit of octets alone."""
        self._end = self.octet_limit

    @property
    def verdict(self) -> str | None:
        """Why to close the connection, once there is nothing to hope for.

        Source: RFC 9329 §10
        """
        is_spent = len(self.octets) >= min(self.octet_limit, self._end)
        return f"{self.reason}, and no next message is found" if is_spent else None

    def feed(self, octets: bytes, known: Known) -> bytes:
        """Take more octets of the stream and look for the next message.

        Returns
        -------
        bytes
            The octets from the Length of a genuine message on, or none.

        Source: RFC 9329 §10
        """
        self.octets += octets
        self._note_candidates(known)
        here = min(len(self.octets), self._end)
        ends = {at: at + self._length(at) for at in self._candidates}
        for at in sorted(self._candidates, key=ends.__getitem__):
            if ends[at] > here:
                break
            self._candidates.remove(at)
            if known.is_genuine(bytes(self.octets[at + _LENGTH_SIZE : ends[at]])):
                return bytes(self.octets[at:])
        return b""

    def _length(self, at: int) -> int:
        return int.from_bytes(self.octets[at : at + _LENGTH_SIZE], "big")

    def _note_candidates(self, known: Known) -> None:
        """Note every place where a message may begin, each once, and not too many."""
        for match in re.compile(self.signs).finditer(self.octets, self._noted_to):
            begin = match.start()
            sign = bytes(self.octets[begin : begin + _SIGN_SIZE])
            if sign.startswith(NON_ESP_MARKER) or known.is_plausible(sign):
                self._candidate_count += 1
                if self._candidate_count > CANDIDATE_LIMIT:
                    self._end = min(self._end, begin + _SIGN_SIZE)
                    return
                self._candidates.append(begin - _LENGTH_SIZE)
        # a sign may be cut after its seventh octet
        self._noted_to = max(self._noted_to, len(self.octets) - _SIGN_SIZE + 1)
