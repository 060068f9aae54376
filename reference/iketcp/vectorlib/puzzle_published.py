"""The two examples of RFC 8019, of which neither is right.

Under each key the PRF_HMAC_SHA2_256 of the cookie ends otherwise than the RFC prints,
so an implementation that refuses them is not wrong.

Source: RFC 8019 §4.4
"""

COOKIE = "739ae7492d8a810cf5e8dc0f9626c9dda773c5a3"

EXAMPLES: tuple[tuple[str, int, tuple[str, ...]], ...] = (
    ("Example 1", 18, ("061840", "073324", "0c8a2a", "0d94c8")),
    ("Example 2", 22, ("005d9e57", "010d8959", "0110778d", "01187e37")),
)
"""Name, zero bits and keys."""
