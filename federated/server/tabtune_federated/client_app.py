"""The Flower ClientApp: a client in Python with PEFT, for `flower-supernode` next to the server, or for
join.py.

Node config: `terms` (a federation.json), `model` (a folder or a name on the hub), `data` (JSON Lines) and,
if there are rows to hold out, `held_out`.
"""

from pathlib import Path

from flwr.app import Context, Message
from flwr.app.user_config import UserConfig
from flwr.clientapp import ClientApp

from .participant import Participant, Refusal
from .terms import read_terms

app = ClientApp()

# A model is loaded once and not for each message.
_participants: dict[tuple[tuple[str, str], ...], Participant] = {}


def participant(config: UserConfig) -> Participant:
    """The participant of a node config. Raises Refusal where an option is missing."""
    options = {name: str(config.get(name, "")) for name in ("terms", "model", "data", "held_out")}
    for name in ("terms", "model", "data"):
        if not options[name]:
            raise Refusal("bad-option", f"the node config has no {name}")
    key = tuple(options.items())
    if key not in _participants:
        # torch is large, and Flower imports this file where it is not needed.
        from .local_training import PeftTrainer

        terms = read_terms(Path(options["terms"]))
        held_out = Path(options["held_out"]) if options["held_out"] else None
        trainer = PeftTrainer(terms, options["model"], Path(options["data"]), held_out)
        _participants[key] = Participant(terms, trainer)
    return _participants[key]


def answer(message: Message, context: Context) -> Message:
    return participant(context.node_config).answer(message)


app.train()(answer)
app.evaluate()(answer)
for action in ("layout", "keys", "shares", "masked", "unmask"):
    app.query(action)(answer)
