"""Secrets of clients: made by the gateway, kept only as argon2id hashes (t=2, m=19 MiB, p=1, own salt each)."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from secrets import token_urlsafe

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from gateway.errors import GatewayError

SHORTEST, LONGEST = 16, 256

_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1, hash_len=32, salt_len=16, type=Type.ID)


def generate() -> str:
    """A new secret of 192 random bits in 32 signs that need no escaping in XML, headers and configuration files."""
    return token_urlsafe(24)


def checked(secret: str) -> str:
    """A secret brought by an operator. Raises ``client.secret`` outside 16..256 signs."""
    if not SHORTEST <= len(secret) <= LONGEST:
        raise GatewayError("client.secret")
    return secret


def hash_of(secret: str) -> str:
    """The hash to keep, in the PHC form that names its own parameters. Takes about 20 ms and 19 MiB."""
    return _HASHER.hash(_bytes(secret))


def matches(hashed: str, secret: str) -> bool:
    """Whether the secret belongs to the hash; as slow as `hash_of` either way."""
    try:
        return _HASHER.verify(hashed, _bytes(secret))
    except (VerificationError, InvalidHashError):
        return False


def _bytes(secret: str) -> bytes:
    """Also of a text that no encoding has: a half of a surrogate pair is a wrong password, not an error."""
    return secret.encode("utf-8", "surrogatepass")


def outdated(hashed: str) -> bool:
    """Whether the hash was made with other parameters than today's."""
    return _HASHER.check_needs_rehash(hashed)


@cache
def decoy() -> str:
    """A hash that nothing matches: verifying against it makes an unknown client cost what a known one costs."""
    return hash_of(generate())


class Seal:
    """Keyed fingerprints of name and password, worthless outside this process: what memory holds instead of secrets."""

    def __init__(self) -> None:
        self._key = os.urandom(32)

    def __call__(self, *parts: str) -> bytes:
        digest = hashlib.blake2b(key=self._key, digest_size=32)
        for part in parts:
            data = _bytes(part)
            digest.update(len(data).to_bytes(8, "big"))
            digest.update(data)
        return digest.digest()
