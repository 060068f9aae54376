"""ML-KEM: both halves, what is refused, and what is not refused but fits nowhere."""

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from hypothesis import given, settings
from hypothesis import strategies as st

from iketcp.crypto import key_encapsulation
from iketcp.crypto.key_encapsulation import (
    PARAMETER_SETS,
    DecapsulationKey,
    encapsulate,
    is_available,
)
from iketcp.crypto.key_exchange import METHODS, answer, from_private, generate
from iketcp.environment import ScriptedEntropy
from iketcp.errors import ConfigurationError, InvalidPublicValueError
from iketcp.ike.keywords import parse_ike_proposal

SEED = bytes(range(64))

every_kem = pytest.mark.parametrize("method", sorted(PARAMETER_SETS))
every_method = pytest.mark.parametrize("method", sorted(METHODS))


class Script(ScriptedEntropy):
    """An entropy that says what encapsulation gives."""

    def encapsulate(
        self, label: str, method: int, encapsulation_key: bytes
    ) -> tuple[bytes, bytes]:
        """Return what can be told apart."""
        return f"{label} {method}".encode(), encapsulation_key[:32]


@every_kem
def test_both_halves_agree(method: int) -> None:
    """FIPS 203: sizes, and one secret of 32 octets, another each time."""
    kem = PARAMETER_SETS[method]
    ours = DecapsulationKey(method, SEED)
    assert len(ours.encapsulation_key) == kem.encapsulation_key_size
    ciphertext, secret = encapsulate(method, ours.encapsulation_key)
    assert (len(ciphertext), len(secret)) == (kem.ciphertext_size, 32)
    assert ours.decapsulate(ciphertext) == secret
    assert encapsulate(method, ours.encapsulation_key)[1] != secret


@every_method
def test_every_method_answers(method: int) -> None:
    """RFC 9370 §2.1: one interface for both kinds of method."""
    ours = generate(method, ScriptedEntropy("i"), "test")
    theirs = answer(method, ours.public_value, ScriptedEntropy("r"), "test")
    assert ours.shared_secret(theirs.public_value) == theirs.shared_secret
    assert theirs.shared_secret.hex() not in repr(theirs)


@every_method
def test_every_method_refuses_other_sizes(method: int) -> None:
    """RFC 7296 §3.4: the initiator's values have one size."""
    good = generate(method, ScriptedEntropy("i"), "test").public_value
    for wrong in (b"", good[:-1], good + b"\0", b"\0" + good):
        with pytest.raises(InvalidPublicValueError, match="octets"):
            answer(method, wrong, ScriptedEntropy("r"), "test")


@every_kem
def test_draws_are_labelled(method: int) -> None:
    """The seed is one draw: the same script gives the same key."""
    first, again = (generate(method, ScriptedEntropy("s"), "init") for _ in range(2))
    assert first.public_value == again.public_value
    other = generate(method, ScriptedEntropy("s"), "rekey")
    assert first.public_value != other.public_value
    pinned = ScriptedEntropy("s", {"init.private": SEED})
    ours = generate(method, pinned, "init")
    assert ours.public_value == from_private(method, SEED).public_value


@every_kem
def test_a_script_may_say_what_encapsulation_gives(method: int) -> None:
    """The library draws by itself; transcripts have to pin it all the same."""
    theirs = answer(method, SEED, Script("r"), "ike_sa_init.ke")
    assert theirs.public_value == f"ike_sa_init.ke {method}".encode()
    assert theirs.shared_secret == SEED[:32]


@every_kem
def test_a_changed_ciphertext_gives_another_secret(method: int) -> None:
    """FIPS 203, implicit rejection: no error, and always the same wrong secret."""
    ours = DecapsulationKey(method, SEED)
    ciphertext, secret = encapsulate(method, ours.encapsulation_key)
    for position in (0, -1):
        changed = bytearray(ciphertext)
        changed[position] ^= 1
        wrong = ours.decapsulate(bytes(changed))
        assert wrong != secret
        assert len(wrong) == len(secret)
        assert wrong == ours.decapsulate(bytes(changed))


@every_kem
def test_wrong_sizes_and_keys_are_refused(method: int) -> None:
    """FIPS 203, sections 7.2 and 7.3."""
    ours = DecapsulationKey(method, SEED)
    ciphertext, _ = encapsulate(method, ours.encapsulation_key)
    for wrong in (b"", ciphertext[:-1], ciphertext + b"\0"):
        with pytest.raises(InvalidPublicValueError, match="ciphertext of"):
            ours.decapsulate(wrong)
    key = ours.encapsulation_key
    with pytest.raises(InvalidPublicValueError, match="not reduced"):
        encapsulate(method, b"\xff\x0f" + key[2:])
    with pytest.raises(ValueError, match="bytes"):
        from_private(method, SEED[:-1])


@settings(max_examples=60, deadline=None)
@given(data=st.data(), method=st.sampled_from(sorted(PARAMETER_SETS)))
def test_nothing_else_is_raised(data: st.DataObject, method: int) -> None:
    """Whatever arrives on either side: a secret, or InvalidPublicValueError."""
    kem = PARAMETER_SETS[method]
    sizes = st.sampled_from([kem.encapsulation_key_size, kem.ciphertext_size, 1])
    size = data.draw(sizes)
    value = data.draw(st.binary(min_size=size, max_size=size))
    for take in (
        DecapsulationKey(method, SEED).decapsulate,
        lambda octets: encapsulate(method, octets)[1],
    ):
        try:
            secret = take(value)
        except InvalidPublicValueError:
            continue
        assert len(secret) == 32


def test_without_it_configuration_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """An older OpenSSL: one sentence for the user, before anything is offered."""

    class Missing:
        @staticmethod
        def from_seed_bytes(seed: bytes) -> None:
            raise UnsupportedAlgorithm("no ML-KEM")

    is_available.cache_clear()
    monkeypatch.setattr(key_encapsulation, "MLKEM768PrivateKey", Missing)
    try:
        with pytest.raises(ConfigurationError, match=r"'mlkem768' needs OpenSSL 3\.5"):
            parse_ike_proposal("aes256gcm16-prfsha256-mlkem768")
        assert parse_ike_proposal("aes256gcm16-prfsha256-x25519")
    finally:
        is_available.cache_clear()
