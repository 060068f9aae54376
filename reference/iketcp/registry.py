"""IANA's numbers, under IANA's names.

One enumeration for each table that the protocol uses. A number outside these tables
is no error by itself: decoders keep it as a plain integer, and :func:`name_of` can
print it all the same.

Source: RFC 7296 §3, RFC 8247 §2, RFC 8221 §5
"""

from enum import IntEnum


def name_of(table: type[IntEnum], value: int) -> str:
    """Return IANA's name for ``value``, or ``TABLE(value)`` where it has none."""
    try:
        return table(value).name
    except ValueError:
        return f"{table.__name__}({value})"


class ExchangeType(IntEnum):
    """Exchange Type, 8 bits. Source: RFC 7296 §3.1."""

    IKE_SA_INIT = 34
    IKE_AUTH = 35
    CREATE_CHILD_SA = 36
    INFORMATIONAL = 37
    IKE_INTERMEDIATE = 43
    """Source: RFC 9242 §3.2."""
    IKE_FOLLOWUP_KE = 44
    """Source: RFC 9370 §2.2.4."""


class PayloadType(IntEnum):
    """Next Payload, 8 bits. Source: RFC 7296 §3.2."""

    NONE = 0
    SA = 33
    KE = 34
    IDI = 35
    IDR = 36
    CERT = 37
    CERTREQ = 38
    AUTH = 39
    NONCE = 40
    NOTIFY = 41
    DELETE = 42
    VENDOR = 43
    TSI = 44
    TSR = 45
    SK = 46
    CP = 47
    EAP = 48
    SKF = 53
    """Encrypted and Authenticated Fragment. Source: RFC 7383 §2.5."""
    PS = 54
    """Puzzle Solution. Source: RFC 8019 §8.2."""


class ProtocolId(IntEnum):
    """Security Protocol Identifier, 8 bits. Source: RFC 7296 §3.3.1."""

    NONE = 0
    IKE = 1
    AH = 2
    ESP = 3


class TransformType(IntEnum):
    """Transform Type, 8 bits. Source: RFC 7296 §3.3.2, RFC 9370 §2.2.1."""

    ENCR = 1
    PRF = 2
    INTEG = 3
    KE = 4
    ESN = 5
    ADDKE1 = 6
    ADDKE2 = 7
    ADDKE3 = 8
    ADDKE4 = 9
    ADDKE5 = 10
    ADDKE6 = 11
    ADDKE7 = 12


ADDITIONAL_KEY_EXCHANGES = (
    TransformType.ADDKE1,
    TransformType.ADDKE2,
    TransformType.ADDKE3,
    TransformType.ADDKE4,
    TransformType.ADDKE5,
    TransformType.ADDKE6,
    TransformType.ADDKE7,
)
"""In the order in which they take place. Source: RFC 9370 §2.2.2."""


class EncryptionAlgorithm(IntEnum):
    """Transform Type 1, 16 bits. Source: RFC 7296 §3.3.2, RFC 8750 §8."""

    ENCR_3DES = 3
    ENCR_NULL = 11
    ENCR_AES_CBC = 12
    ENCR_AES_CTR = 13
    ENCR_AES_GCM_16 = 20
    ENCR_CHACHA20_POLY1305 = 28
    ENCR_AES_GCM_16_IIV = 30
    ENCR_CHACHA20_POLY1305_IIV = 31


class PseudorandomFunction(IntEnum):
    """Transform Type 2, 16 bits. Source: RFC 7296 §3.3.2, RFC 4868 §4."""

    PRF_HMAC_SHA1 = 2
    PRF_HMAC_SHA2_256 = 5
    PRF_HMAC_SHA2_384 = 6
    PRF_HMAC_SHA2_512 = 7


class IntegrityAlgorithm(IntEnum):
    """Transform Type 3, 16 bits. Source: RFC 7296 §3.3.2, RFC 4868 §4."""

    NONE = 0
    AUTH_HMAC_SHA1_96 = 2
    AUTH_HMAC_SHA2_256_128 = 12
    AUTH_HMAC_SHA2_384_192 = 13
    AUTH_HMAC_SHA2_512_256 = 14


class KeyExchangeMethod(IntEnum):
    """Transform Types 4 and 6 to 12, 16 bits.

    Source: RFC 7296 §3.3.2, RFC 5903 §7, RFC 8031 §5, RFC 9370 §2.2.1
    """

    NONE = 0
    MODP_1024 = 2
    MODP_2048 = 14
    MODP_3072 = 15
    MODP_4096 = 16
    ECP_256 = 19
    ECP_384 = 20
    ECP_521 = 21
    CURVE25519 = 31
    CURVE448 = 32
    ML_KEM_512 = 35
    ML_KEM_768 = 36
    ML_KEM_1024 = 37


class ExtendedSequenceNumbers(IntEnum):
    """Transform Type 5, 16 bits. Source: RFC 7296 §3.3.2."""

    NO_ESN = 0
    ESN = 1


class AttributeType(IntEnum):
    """Transform Attribute Type, 15 bits. Source: RFC 7296 §3.3.5."""

    KEY_LENGTH = 14


class IdType(IntEnum):
    """ID Type, 8 bits. Source: RFC 7296 §3.5."""

    ID_IPV4_ADDR = 1
    ID_FQDN = 2
    ID_RFC822_ADDR = 3
    ID_IPV6_ADDR = 5
    ID_DER_ASN1_DN = 9
    ID_DER_ASN1_GN = 10
    ID_KEY_ID = 11
    ID_NULL = 13
    """Source: RFC 7619 §2.2."""


class AuthMethod(IntEnum):
    """Auth Method, 8 bits. Source: RFC 7296 §3.8, RFC 7427 §3."""

    RSA_DIGITAL_SIGNATURE = 1
    SHARED_KEY_MESSAGE_INTEGRITY_CODE = 2
    DSS_DIGITAL_SIGNATURE = 3
    ECDSA_SHA256_P256 = 9
    """Also 10 and 11. Source: RFC 4754 §4."""
    ECDSA_SHA384_P384 = 10
    ECDSA_SHA512_P521 = 11
    NULL = 13
    """Source: RFC 7619 §2.1."""
    DIGITAL_SIGNATURE = 14


class CertificateEncoding(IntEnum):
    """Certificate Encoding, 8 bits. Source: RFC 7296 §3.6, RFC 7670 §3."""

    X509_SIGNATURE = 4
    CRL = 7
    HASH_AND_URL_OF_X509 = 12
    HASH_AND_URL_OF_BUNDLE = 13
    RAW_PUBLIC_KEY = 15


class HashAlgorithm(IntEnum):
    """IKEv2 Hash Algorithm, 16 bits. Source: RFC 7427 §4, RFC 8420 §2."""

    SHA1 = 1
    SHA2_256 = 2
    SHA2_384 = 3
    SHA2_512 = 4
    IDENTITY = 5


class TsType(IntEnum):
    """TS Type, 8 bits. Source: RFC 7296 §3.13.1."""

    TS_IPV4_ADDR_RANGE = 7
    TS_IPV6_ADDR_RANGE = 8


class ConfigurationType(IntEnum):
    """CFG Type, 8 bits. Source: RFC 7296 §3.15."""

    CFG_REQUEST = 1
    CFG_REPLY = 2
    CFG_SET = 3
    CFG_ACK = 4


class ConfigurationAttributeType(IntEnum):
    """Configuration Attribute Type, 15 bits. Source: RFC 7296 §3.15.1."""

    INTERNAL_IP4_ADDRESS = 1
    INTERNAL_IP4_NETMASK = 2
    INTERNAL_IP4_DNS = 3
    INTERNAL_IP4_NBNS = 4
    INTERNAL_IP4_DHCP = 6
    APPLICATION_VERSION = 7
    INTERNAL_IP6_ADDRESS = 8
    INTERNAL_IP6_DNS = 10
    INTERNAL_IP6_DHCP = 12
    INTERNAL_IP4_SUBNET = 13
    SUPPORTED_ATTRIBUTES = 14
    INTERNAL_IP6_SUBNET = 15


class NotifyType(IntEnum):
    """Notify Message Type, 16 bits; errors below 16384. Source: RFC 7296 §3.10.1."""

    UNSUPPORTED_CRITICAL_PAYLOAD = 1
    INVALID_IKE_SPI = 4
    INVALID_MAJOR_VERSION = 5
    INVALID_SYNTAX = 7
    INVALID_MESSAGE_ID = 9
    INVALID_SPI = 11
    NO_PROPOSAL_CHOSEN = 14
    INVALID_KE_PAYLOAD = 17
    AUTHENTICATION_FAILED = 24
    SINGLE_PAIR_REQUIRED = 34
    NO_ADDITIONAL_SAS = 35
    INTERNAL_ADDRESS_FAILURE = 36
    FAILED_CP_REQUIRED = 37
    TS_UNACCEPTABLE = 38
    INVALID_SELECTORS = 39
    TEMPORARY_FAILURE = 43
    CHILD_SA_NOT_FOUND = 44
    STATE_NOT_FOUND = 47

    INITIAL_CONTACT = 16384
    SET_WINDOW_SIZE = 16385
    ADDITIONAL_TS_POSSIBLE = 16386
    IPCOMP_SUPPORTED = 16387
    NAT_DETECTION_SOURCE_IP = 16388
    NAT_DETECTION_DESTINATION_IP = 16389
    COOKIE = 16390
    USE_TRANSPORT_MODE = 16391
    HTTP_CERT_LOOKUP_SUPPORTED = 16392
    REKEY_SA = 16393
    ESP_TFC_PADDING_NOT_SUPPORTED = 16394
    NON_FIRST_FRAGMENTS_ALSO = 16395
    AUTH_LIFETIME = 16403
    MULTIPLE_AUTH_SUPPORTED = 16404
    ANOTHER_AUTH_FOLLOWS = 16405
    EAP_ONLY_AUTHENTICATION = 16417
    CHILDLESS_IKEV2_SUPPORTED = 16418
    QCD_TOKEN = 16419
    IKEV2_FRAGMENTATION_SUPPORTED = 16430
    SIGNATURE_HASH_ALGORITHMS = 16431
    PUZZLE = 16434
    USE_PPK = 16435
    PPK_IDENTITY = 16436
    NO_PPK_AUTH = 16437
    INTERMEDIATE_EXCHANGE_SUPPORTED = 16438
    ADDITIONAL_KEY_EXCHANGE = 16441


FIRST_STATUS_NOTIFY = 16384
"""Notify types from here on are status, below are errors. Source: RFC 7296 §3.10.1."""


class PpkIdType(IntEnum):
    """PPK_ID Type, the first octet of a PPK_ID. Source: RFC 8784 §5.1."""

    PPK_ID_OPAQUE = 1
    PPK_ID_FIXED = 2


class IpProtocol(IntEnum):
    """IP protocol numbers that ESP and selectors name. Source: RFC 4303 §2.6."""

    ANY = 0
    ICMP = 1
    IPV4 = 4
    TCP = 6
    UDP = 17
    IPV6 = 41
    ICMPV6 = 58
    NO_NEXT_HEADER = 59
