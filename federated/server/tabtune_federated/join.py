"""Takes part in a federation from Python: python -m tabtune_federated.join URL --model MODEL --data
ROWS.jsonl

What is sent is what the terms say, which are shown first: the delta of the adapter, how many rows there
are, and losses.
"""

import argparse
import ipaddress
import os
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import Message
from flwr.supercore.primitives.asymmetric import (
    bytes_to_private_key,
    generate_key_pairs,
    private_key_to_bytes,
)

from .fleet_node import FleetNode, Handler
from .participant import Participant
from .terms import MAX_BYTES, Terms, TermsError, check_terms, read_terms

# A node that leaves before the server has collected its reply loses it.
LINGER_SECONDS = 10.0


def safe_url(text: str) -> str:
    """The server's address. Raises ValueError where what is sent could be listened to and sent again."""
    url = urlsplit(text)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError(f"{text} is no http or https address")
    if url.scheme == "http" and not _is_here(url.hostname):
        raise ValueError(
            f"{text} is not encrypted, and whoever listens could speak as this node; it needs https"
        )
    return text.rstrip("/")


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def fetch_terms(url: str) -> Terms:
    """The terms that the server shows. Raises TermsError or httpx.HTTPError."""
    with httpx.stream("GET", f"{url}/federation.json", timeout=30) as response:
        response.raise_for_status()
        body = b""
        for part in response.iter_bytes():
            body += part
            if len(body) > MAX_BYTES:
                raise TermsError(f"{url}/federation.json is larger than {MAX_BYTES} bytes")
    try:
        return check_terms(httpx.Response(200, content=body).json())
    except (ValueError, RecursionError) as error:
        raise TermsError(f"{url}/federation.json: {error}") from error


def length(terms: Terms) -> str:
    """How far a round goes, in words."""
    train = terms.train
    return f"{train['max_steps']} steps" if "max_steps" in train else f"{train['num_train_epochs']} epochs"


def summary(terms: Terms, url: str) -> str:
    """What taking part means, in a few lines."""
    privacy = terms.privacy
    hidden = "only as a sum with others'" if privacy.mask else "by itself"
    noise = {"none": "no noise is added", "local": "noise is added here", "central": "the server adds noise"}
    bound = "" if privacy.clip is None else f", clipped to a norm of {privacy.clip:g}"
    learnt = "B of a LoRA adapter" if terms.lora.freeze_a else "a LoRA adapter"
    return "\n".join(
        [
            f"{terms.name}, by {terms.operator}, at {url}",
            *([terms.purpose] if terms.purpose else []),
            f"{terms.rounds} rounds of {length(terms)} on {terms.base_model_name_or_path}",
            f"sent each round: the change of {learnt} of rank {terms.lora.r} as {terms.delta_dtype}{bound}",
            f"the server reads it {hidden}",
            f"{noise[privacy.noise]}; the number of rows and the losses are told too",
        ]
    )


def load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """This node's key, made where there is none yet."""
    if path.exists():
        return bytes_to_private_key(path.read_bytes())
    key, _ = generate_key_pairs()
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(private_key_to_bytes(key))
    return key


def until_done(answer: Handler, terms: Terms, node: FleetNode) -> Handler:
    """Stops the node a while after it has answered the last message of the last round."""
    last = "evaluate" if terms.evaluate else "query.unmask" if terms.privacy.mask else "train"

    def wrapped(message: Message) -> Message:
        reply = answer(message)
        kind = message.metadata.message_type
        print(f"{kind} of round {message.metadata.group_id} is done", flush=True)
        if kind == last and message.metadata.group_id == str(terms.rounds):
            timer = threading.Timer(LINGER_SECONDS, node.stop)
            timer.daemon = True
            timer.start()
        return reply

    return wrapped


def arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tabtune_federated.join", description="Take part in a federation."
    )
    parser.add_argument("url", help="the server's address")
    parser.add_argument("--model", required=True, help="a folder of Hugging Face, or a name on the hub")
    parser.add_argument(
        "--data", required=True, type=Path, help="JSON Lines of text, prompt and completion, or messages"
    )
    parser.add_argument("--held-out", type=Path, help="rows that are only evaluated on")
    parser.add_argument(
        "--terms", type=Path, help="a federation.json to hold the server to (default: the one it shows)"
    )
    parser.add_argument(
        "--key", type=Path, default=Path.home() / ".config" / "tabtune" / "node.pem", help="this node's key"
    )
    parser.add_argument("--yes", action="store_true", help="join without asking")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> int:
    given = arguments(words)
    try:
        url = safe_url(given.url)
        terms = read_terms(given.terms) if given.terms else fetch_terms(url)
        print(summary(terms, url), flush=True)
        if not given.yes and input("Join? [y/N] ").strip().lower() not in ("y", "yes"):
            return 1
        # torch is large; what is wrong with the address or the terms is told before it is loaded.
        from .local_training import PeftTrainer

        key = load_key(given.key)
        trainer = PeftTrainer(terms, given.model, given.data, given.held_out)
        with FleetNode(url, key) as node:
            node.serve(until_done(Participant(terms, trainer, key).answer, terms, node))
    except (OSError, ValueError, EOFError, httpx.HTTPError) as error:
        print(f"error[{getattr(error, 'code', 'cannot-join')}]: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
