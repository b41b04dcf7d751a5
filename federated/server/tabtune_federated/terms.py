"""federation.json: the terms of a federation, and the server's only configuration.

The same file is served to clients, which hold the server to it. Unknown fields are refused, so that a
misspelt bound is never a bound that silently does not hold.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from .privacy.shamir import MAX_SHARES

VERSION = 1
MAX_BYTES = 1 << 20
MAX_RANK = 512
ALL_LINEAR = "all-linear"

_REQUIRED = object()
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
# One public key and nothing beside it: the terms are shown to everyone.
_PUBLIC_KEY = re.compile(r"\s*-----BEGIN PUBLIC KEY-----[A-Za-z0-9+/=\s]+-----END PUBLIC KEY-----\s*")


class TermsError(ValueError):
    """Terms that cannot be kept; the text names the field."""

    code = "bad-terms"


@dataclass(frozen=True)
class Lora:
    """What is learnt, by PEFT's names; with `freeze_a` B alone is (FFA-LoRA, arXiv 2403.12313)."""

    r: int
    lora_alpha: float
    target_modules: tuple[str, ...] | str
    freeze_a: bool

    def targets(self, path: str) -> bool:
        """Whether PEFT would adapt the module at this path."""
        if isinstance(self.target_modules, str):
            return True
        return any(path == name or path.endswith(f".{name}") for name in self.target_modules)


@dataclass(frozen=True)
class Privacy:
    """Masks, clipping and noise; `noise_multiplier` times `clip` is the noise's standard deviation."""

    mask: bool
    clip: float | None
    noise: str
    noise_multiplier: float
    delta: float


@dataclass(frozen=True)
class Terms:
    """All fields of federation.json with its defaults filled in; `train` has TRL's names."""

    name: str
    operator: str
    purpose: str | None
    base_model_name_or_path: str
    lora: Lora
    train: dict[str, Any]
    rounds: int
    min_clients: int
    aggregation: str
    server_learning_rate: float
    delta_dtype: str
    evaluate: bool
    privacy: Privacy
    round_seconds: float
    enrolled: tuple[str, ...] | None
    digest: str = field(repr=False)


class _Fields:
    """The fields of an object, taken one by one; what is left over at the end is refused by its name."""

    def __init__(self, value: Any, path: str) -> None:
        if not isinstance(value, dict):
            raise TermsError(f"{path or 'federation.json'} must be an object, not {_shown(value)}")
        self._left = dict(value)
        self._path = path

    def take(self, name: str, check: Callable[[Any], Any], default: Any = _REQUIRED) -> Any:
        path = f"{self._path}.{name}" if self._path else name
        if name not in self._left:
            if default is _REQUIRED:
                raise TermsError(f'the field "{path}" is missing')
            return default
        value = self._left.pop(name)
        try:
            return check(value)
        except TermsError as error:
            raise TermsError(str(error) if str(error).startswith(path) else f"{path} {error}") from None

    def finish(self) -> None:
        if self._left:
            name = next(iter(self._left))
            raise TermsError(
                f'"{f"{self._path}.{name}" if self._path else name}" is no field of federation.json'
            )


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_finite(value: Any) -> bool:
    """Whether it is a number that others can read too: those of JavaScript are double precision."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def _text(most: int) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if not isinstance(value, str) or not value.strip() or len(value) > most:
            raise TermsError(f"must be a text of 1 to {most} characters, not {_shown(value)}")
        return value

    return check


def _integer(least: int, most: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        # JSON has one kind of number, so 3.0 is 3.
        if not _is_finite(value) or value != int(value) or not least <= value <= most:
            raise TermsError(f"must be a whole number from {least} to {most}, not {_shown(value)}")
        return int(value)

    return check


def _number(above: float, most: float) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        if not _is_finite(value) or not above < value <= most:
            raise TermsError(f"must be a number above {above:g} and at most {most:g}, not {_shown(value)}")
        return float(value)

    return check


def _not_negative(value: Any) -> float:
    return 0.0 if value == 0 and not isinstance(value, bool) else _number(0, 1e6)(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TermsError(f"must be true or false, not {_shown(value)}")
    return value


def _one_of(*choices: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in choices:
            raise TermsError(f"must be one of {', '.join(choices)}, not {_shown(value)}")
        return value

    return check


def _or_null(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else check(value)


def _texts(most: int, length: int) -> Callable[[Any], tuple[str, ...]]:
    def check(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or not 1 <= len(value) <= most:
            raise TermsError(f"must be a list of 1 to {most} texts, not {_shown(value)}")
        return tuple(_text(length)(item) for item in value)

    return check


def _key(value: Any) -> str:
    """A node's public key as PEM text, written as OpenSSL does and nodes send it."""
    text = _text(1024)(value)
    if not _PUBLIC_KEY.fullmatch(text):
        raise TermsError(f"must be public keys as PEM text and nothing beside them, not {_shown(value)}")
    try:
        key = load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TermsError(f"must be public keys as PEM text, not {_shown(value)}") from error
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP384R1):
        raise TermsError(f"must be keys on the curve P-384, not {_shown(value)}")
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _keys(value: Any) -> tuple[str, ...]:
    keys = tuple(_key(text) for text in _texts(10_000, 1024)(value))
    if len(set(keys)) < len(keys):
        raise TermsError("names a key twice")
    return keys


def _targets(value: Any) -> tuple[str, ...] | str:
    return ALL_LINEAR if value == ALL_LINEAR else _texts(64, 120)(value)


def _lora(noise: str) -> Callable[[Any], Lora]:
    def check(value: Any) -> Lora:
        fields = _Fields(value, "lora")
        lora = Lora(
            r=fields.take("r", _integer(1, MAX_RANK)),
            lora_alpha=fields.take("lora_alpha", _number(0, 1e6)),
            target_modules=fields.take("target_modules", _targets),
            # Noise in A and in B would be multiplied with each other.
            freeze_a=fields.take("freeze_a", _flag, noise != "none"),
        )
        fields.finish()
        return lora

    return check


def _train(value: Any) -> dict[str, Any]:
    fields = _Fields(value, "train")
    lengths = {
        "max_steps": fields.take("max_steps", _integer(1, 100_000), None),
        "num_train_epochs": fields.take("num_train_epochs", _integer(1, 1000), None),
    }
    rate = fields.take("learning_rate", _number(0, 10))
    batch = fields.take("per_device_train_batch_size", _integer(1, 4096), 8)
    length = fields.take("max_length", _integer(1, 1 << 20), 1024)
    if len(value) > 40:
        raise TermsError(f"train has {len(value)} fields; 40 are the most")
    for name, item in value.items():
        if not _NAME.fullmatch(name):
            raise TermsError(f'"train.{_shown(name)[1:-1]}" is no name of an option')
        if not isinstance(item, (bool, int, float, str)) or isinstance(item, str) and len(item) > 120:
            raise TermsError(
                f"train.{name} must be a number, a short text, true or false, not {_shown(item)}"
            )
        if not isinstance(item, (bool, str)) and not _is_finite(item):
            raise TermsError(f"train.{name} must be finite")
    own = {name: length for name, length in lengths.items() if length is not None}
    if not own:
        raise TermsError("train.max_steps or train.num_train_epochs is missing: how far a round goes")
    if len(own) > 1:
        raise TermsError("train.num_train_epochs says nothing beside train.max_steps, which are a round's")
    own["learning_rate"] = rate
    return {**value, **own, "per_device_train_batch_size": batch, "max_length": length}


def _privacy(value: Any) -> Privacy:
    fields = _Fields(value, "privacy")
    privacy = Privacy(
        mask=fields.take("mask", _flag, False),
        clip=fields.take("clip", _or_null(_number(0, 1e6)), None),
        noise=fields.take("noise", _one_of("none", "local", "central"), "none"),
        noise_multiplier=fields.take("noise_multiplier", _not_negative, 0.0),
        delta=fields.take("delta", _number(0, 0.5), 1e-5),
    )
    fields.finish()
    if privacy.noise != "none" and privacy.clip is None:
        raise TermsError("privacy.clip is missing: noise hides a client only where its delta is bounded")
    if privacy.noise != "none" and privacy.noise_multiplier == 0:
        raise TermsError("privacy.noise_multiplier must be above 0 where there is noise")
    if privacy.noise == "none" and privacy.noise_multiplier:
        raise TermsError('privacy.noise_multiplier says nothing with privacy.noise "none"')
    return privacy


def _check_together(terms: Terms) -> None:
    """What goes wrong only where two fields meet."""
    privacy = terms.privacy
    if privacy.mask and terms.delta_dtype != "f32":
        raise TermsError(f'delta_dtype must be "f32" with privacy.mask, not "{terms.delta_dtype}"')
    if privacy.mask and "max_steps" not in terms.train:
        raise TermsError("train.max_steps is missing: with privacy.mask it bounds what a value moves")
    if privacy.mask and terms.min_clients < 2:
        raise TermsError(
            "min_clients must be at least 2 with privacy.mask: the sum of one client is its delta"
        )
    if privacy.mask and terms.min_clients > MAX_SHARES:
        raise TermsError(
            f"min_clients must be at most {MAX_SHARES} with privacy.mask: no more are summed in a round"
        )
    if terms.aggregation != "flexlora":
        return
    if terms.lora.freeze_a:
        raise TermsError(
            'lora.freeze_a must be false with aggregation "flexlora", which takes A and B apart anew'
        )
    if privacy.mask or privacy.noise == "central":
        raise TermsError('privacy.mask and central noise need one sum, which aggregation "flexlora" has not')
    if terms.server_learning_rate != 1:
        raise TermsError(
            'server_learning_rate must be 1 with aggregation "flexlora", which replaces what was there'
        )


def check_terms(value: Any) -> Terms:
    """Checks the parsed federation.json and fills its defaults in.

    Raises TermsError, whose text names the field.
    """
    fields = _Fields(value, "")
    fields.take("version", _integer(VERSION, VERSION))
    privacy = fields.take("privacy", _privacy, _privacy({}))
    aggregation = fields.take("aggregation", _one_of("fedavg", "fedadam", "flexlora"), "fedavg")
    own_rate = 0.01 if aggregation == "fedadam" else 1.0
    terms = Terms(
        name=fields.take("name", _text(80)),
        operator=fields.take("operator", _text(120)),
        purpose=fields.take("purpose", _or_null(_text(500)), None),
        base_model_name_or_path=fields.take("base_model_name_or_path", _text(300)),
        lora=fields.take("lora", _lora(privacy.noise)),
        train=fields.take("train", _train),
        rounds=fields.take("rounds", _integer(1, 100_000)),
        min_clients=fields.take("min_clients", _integer(1, 1000), 2),
        aggregation=aggregation,
        server_learning_rate=fields.take("server_learning_rate", _number(0, 100), own_rate),
        delta_dtype=fields.take("delta_dtype", _one_of("f32", "f16", "nf4"), "f32"),
        evaluate=fields.take("evaluate", _flag, True),
        privacy=privacy,
        round_seconds=fields.take("round_seconds", _number(0, 604_800), 600.0),
        enrolled=fields.take("enrolled", _or_null(_keys), None),
        digest=hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest(),
    )
    fields.finish()
    _check_together(terms)
    return terms


def read_terms(path: Path) -> Terms:
    """Reads and checks a federation.json. Raises TermsError, whose text names the file and the field."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise TermsError(f"it is larger than {MAX_BYTES} bytes")
        return check_terms(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise TermsError(f"{path}: cannot be read: {error.strerror}") from error
    except (TermsError, RecursionError, ValueError) as error:
        raise TermsError(f"{path}: {error}") from error
