"""Keys that pairs of clients agree on, what they seal by them, and masks.

The twin of www/package/federated/privacy/agreement.ts, to the bit.
"""

import os
from collections.abc import Iterator

import numpy as np
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

POINT_BYTES = 65
NONCE_BYTES = 12
TAG_BYTES = 16
# Words of a stream that are made at once.
PORTION = 2**18
MAX_PEM = 1024
MAX_SIGNATURE = 256


def point_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The public point, uncompressed: 65 bytes."""
    form = serialization.PublicFormat.UncompressedPoint
    return key.public_key().public_bytes(serialization.Encoding.X962, form)


def public_key(point: bytes) -> ec.EllipticCurvePublicKey:
    """Raises ValueError where the 65 bytes are no point of P-256."""
    if not isinstance(point, bytes) or len(point) != POINT_BYTES or point[0] != 4:
        raise ValueError("a key is no point of P-256")
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)


def purpose(name: str, round_number: int, *ids: int) -> bytes:
    """What a key is for: a name, the round and node ids, 8 bytes for each number, the highest first."""
    numbers = b"".join(number.to_bytes(8, "big") for number in (round_number, *ids))
    return f"tabtune {name}".encode() + numbers


def signed_keys(round_number: int, encrypt: bytes, mask: bytes) -> bytes:
    """What a node's key signs."""
    return round_number.to_bytes(8, "big") + encrypt + mask


def is_signed(pem: object, data: bytes, signature: object) -> bool:
    """Whether an ECDSA signature with SHA-256, in DER, is that of the key in a PEM, if it is one."""
    if not isinstance(pem, str) or not isinstance(signature, bytes):
        return False
    if len(pem) > MAX_PEM or len(signature) > MAX_SIGNATURE:
        return False
    try:
        key = serialization.load_pem_public_key(pem.encode())
        if not isinstance(key, ec.EllipticCurvePublicKey):
            return False
        key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def agree(own: ec.EllipticCurvePrivateKey, peer: ec.EllipticCurvePublicKey) -> bytes:
    """The x coordinate of ECDH, 32 bytes, which is no key yet."""
    return own.exchange(ec.ECDH(), peer)


def _derive(secret: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info).derive(secret)


def seal(secret: bytes, info: bytes, plain: bytes) -> bytes:
    """A nonce of 12 bytes, then AES-256-GCM's output, whose additional data is the purpose."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(_derive(secret, info)).encrypt(nonce, plain, info)


def unseal(secret: bytes, info: bytes, sealed: bytes, length: int) -> bytes:
    """Opens what `seal` made of so many bytes; raises ValueError where it was made otherwise."""
    if not isinstance(sealed, bytes) or len(sealed) != NONCE_BYTES + length + TAG_BYTES:
        raise ValueError("sealed shares have another length")
    try:
        return AESGCM(_derive(secret, info)).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], info)
    except InvalidTag as error:
        raise ValueError("shares were not sealed for this client and round") from error


def add_mask(numbers: np.ndarray, secret: bytes, info: bytes, sign: int) -> None:
    """Adds the mask of a secret to uint32 [n] in place, or takes it away (sign -1), modulo 2^32."""
    begin = 0
    for words in _stream(_derive(secret, info), numbers.size):
        part = numbers[begin : begin + words.size]
        (np.add if sign > 0 else np.subtract)(part, words, out=part)
        begin += words.size


def _stream(key: bytes, n: int) -> Iterator[np.ndarray]:
    """AES-256-CTR's stream from block 0 as little-endian words, n in all."""
    cipher = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    zeros = bytes(4 * min(n, PORTION))
    for begin in range(0, n, PORTION):
        yield np.frombuffer(cipher.update(zeros[: 4 * min(PORTION, n - begin)]), dtype="<u4")
