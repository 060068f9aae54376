"""So many a second and no more: what strangers can make us say.

Anybody can send a datagram in anybody's name, and the answer goes to that one. Whoever
is answered so cannot be flooded by us, for we stop in time.

Source: RFC 7296 §2.21.4
"""


class RateLimit:
    """Lets a number of events by in each second, and as many at once after a pause.

    Parameters
    ----------
    per_second : int
        That number.

    Source: RFC 7296 §2.21.4
    """

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._left = float(per_second)
        self._at = 0.0

    def allows(self, now: float) -> bool:
        """Tell whether one more is within the limit, and count it if so.

        Parameters
        ----------
        now : float
            Seconds.
        """
        gained = max(0.0, now - self._at) * self._per_second
        self._at = now
        self._left = min(float(self._per_second), self._left + gained)
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
