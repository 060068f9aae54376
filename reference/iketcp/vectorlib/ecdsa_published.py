"""Published ECDSA signatures as AUTH payloads would carry them: RFC 4754 §8.

The message is ``abc`` (616263) in each.

Source: RFC 4754 §8.1, RFC 4754 §8.2, RFC 4754 §8.3
"""

CASES: tuple[tuple[str, int, str, str, str, str, str, str], ...] = (
    (
        "RFC 4754 §8.1",
        9,
        "secp256r1",
        "dc51d3866a15bacde33d96f992fca99da7e6ef0934e7097559c27f1614c88a7f",
        (
            "2442a5cc0ecd015fa3ca31dc8e2bbc70bf42d60cbca20085e0822cb04235e970"
            "6fc98bd7e50211a4a27102fa3549df79ebcb4bf246b80945cddfe7d509bbfd7d"
        ),
        "cb28e0999b9c7715fd0a80d8e47a77079716cbbf917dd72e97566ea1c066957c",
        "86fa3bb4e26cad5bf90b7f81899256ce7594bb1ea0c89212748bff3b3d5b0315",
        (
            "0000004800090000cb28e0999b9c7715fd0a80d8e47a77079716cbbf917dd72e"
            "97566ea1c066957c86fa3bb4e26cad5bf90b7f81899256ce7594bb1ea0c89212"
            "748bff3b3d5b0315"
        ),
    ),
    (
        "RFC 4754 §8.2",
        10,
        "secp384r1",
        (
            "0beb646634ba87735d77ae4809a0ebea865535de4c1e1dcb692e84708e81a5af"
            "62e528c38b2a81b35309668d73524d9f"
        ),
        (
            "96281bf8dd5e0525ca049c048d345d3082968d10fedf5c5aca0c64e6465a97ea"
            "5ce10c9dfec21797415710721f437922447688ba94708eb6e2e4d59f6ab6d7ed"
            "ff9301d249fe49c33096655f5d502fad3d383b91c5e7edaa2b714cc99d5743ca"
        ),
        (
            "fb017b914e29149432d8bac29a514640b46f53ddab2c69948084e2930f1c8f7e"
            "08e07c9c63f2d21a07dcb56a6af56eb3"
        ),
        (
            "b263a1305e057f984d38726a1b46874109f417bca112674c528262a40a629af1"
            "cbb9f516ce0fa7d2ff630863a00e8b9f"
        ),
        (
            "00000068000a0000fb017b914e29149432d8bac29a514640b46f53ddab2c6994"
            "8084e2930f1c8f7e08e07c9c63f2d21a07dcb56a6af56eb3b263a1305e057f98"
            "4d38726a1b46874109f417bca112674c528262a40a629af1cbb9f516ce0fa7d2"
            "ff630863a00e8b9f"
        ),
    ),
    (
        "RFC 4754 §8.3",
        11,
        "secp521r1",
        (
            "0065fda3409451dcab0a0ead45495112a3d813c17bfd34bdf8c1209d7df58491"
            "20597779060a7ff9d704adf78b570ffad6f062e95c7e0c5d5481c5b153b48b37"
            "5fa1"
        ),
        (
            "0151518f1af0f563517edd5485190df95a4bf57b5cba4cf2a9a3f6474725a35f"
            "7afe0a6ddeb8bedbcd6a197e592d40188901cecd650699c9b5e456aea5add190"
            "52a8006f3b142ea1bfff7e2837ad44c9e4ff6d2d34c73184bbad90026dd5e6e8"
            "5317d9df45cad7803c6c20035b2f3ff63aff4e1ba64d1c077577da3f4286c58f"
            "0aeae643"
        ),
        (
            "0154fd3836af92d0dca57dd5341d3053988534fde8318fc6aaaab68e2e6f4339"
            "b19f2f281a7e0b22c269d93cf8794a9278880ed7dbb8d9362caeacee54432055"
            "2251"
        ),
        (
            "017705a7030290d1ceb605a9a1bb03ff9cdd521e87a696ec926c8c10c8362df4"
            "975367101f67d1cf9bccbf2f3d239534fa509e70aac851ae01aac68d62f86647"
            "2660"
        ),
        (
            "0000008c000b00000154fd3836af92d0dca57dd5341d3053988534fde8318fc6"
            "aaaab68e2e6f4339b19f2f281a7e0b22c269d93cf8794a9278880ed7dbb8d936"
            "2caeacee544320552251017705a7030290d1ceb605a9a1bb03ff9cdd521e87a6"
            "96ec926c8c10c8362df4975367101f67d1cf9bccbf2f3d239534fa509e70aac8"
            "51ae01aac68d62f866472660"
        ),
    ),
)
"""Section, Auth Method, curve, private key, public key x | y, r, s, AUTH payload."""
