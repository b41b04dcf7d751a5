"""The Flower ClientApp: a client in Python with PEFT, for `flower-supernode` on the server's own machine.

Elsewhere join.py is the way: the proxy does not let through what SuperNode fetches. Besides, SuperNode has a
process for each message, so the model is loaded for each, what small deltas lost is not added to the next
ones, and masked rounds, in which a client has to remember its keys, cannot be taken part in.

Node config: `terms` (a federation.json), `model` (a folder or a name on the hub), `data` (JSON Lines) and, if
there are rows to hold out, `held_out`.
"""

from pathlib import Path

from flwr.app import Context, Message
from flwr.app.user_config import UserConfig
from flwr.clientapp import ClientApp

from .participant import Participant, Refusal
from .terms import read_terms

app = ClientApp()


def participant(config: UserConfig) -> Participant:
    """The participant of a node config. Raises Refusal where an option is missing."""
    options = {name: str(config.get(name, "")) for name in ("terms", "model", "data", "held_out")}
    for name in ("terms", "model", "data"):
        if not options[name]:
            raise Refusal("bad-option", f"the node config has no {name}")
    # torch is large, and Flower imports this file where it is not needed.
    from .local_training import PeftTrainer

    terms = read_terms(Path(options["terms"]))
    held_out = Path(options["held_out"]) if options["held_out"] else None
    return Participant(terms, PeftTrainer(terms, options["model"], Path(options["data"]), held_out))


@app.query("layout")
@app.train()
@app.evaluate()
def answer(message: Message, context: Context) -> Message:
    return participant(context.node_config).answer(message)
