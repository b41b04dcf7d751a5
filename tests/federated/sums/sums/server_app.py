"""FedAvg over flat arrays, and at the end a question whose answers are written down beside the arrays."""

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()

# More than one chunk, so that arrays are taken apart and put together.
VALUES = 1_500_000

VALUES_OF_ALL_TYPES = {
    "n": 3, "id": 2**64 - 1, "x": 0.5, "yes": True, "text": "Grüße", "raw": b"\0\xff",
    "ints": [1, -2], "texts": ["a", ""],
}
ARRAYS_OF_SOME_TYPES = [np.arange(3, dtype=np.uint32), np.zeros(0, np.int64)]


def asker(grid: Grid, gate: Path | None) -> Callable[..., list[Message]]:
    """As the grid's own `send_and_receive`, which looks for replies every three seconds.

    With a gate none are looked for until there is that file: a SuperLink gives a reply away once, whether or not
    all of it has come.
    """

    def ask(messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        waiting = set(grid.push_messages(messages))
        end = time.monotonic() + (timeout or 0.0)
        replies: list[Message] = []
        while waiting and (timeout is None or time.monotonic() < end):
            time.sleep(0.2)
            if gate and not gate.exists():
                continue
            came = list(grid.pull_messages(waiting))
            replies += came
            waiting -= {reply.metadata.reply_to_message_id for reply in came}
        return replies

    return ask


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Runs FedAvg from lora_A = 1 and lora_B = 0; then every node is to echo records, and one to fail."""
    config = context.run_config
    arrays = {"lora_A": np.ones(VALUES, np.float32), "lora_B": np.zeros((3, 2), np.float32)}
    first = ArrayRecord({name: Array(array) for name, array in arrays.items()})
    nodes = int(config["nodes"])
    ask = asker(grid, Path(str(config["gate"])) if config["gate"] else None)
    # The strategy asks by it.
    grid.send_and_receive = ask
    strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=nodes, min_available_nodes=nodes)
    result = strategy.start(grid=grid, initial_arrays=first, num_rounds=int(config["rounds"]))

    while len(ids := list(grid.get_node_ids())) < nodes:
        time.sleep(0.2)
    records = {"config": ConfigRecord(VALUES_OF_ALL_TYPES), "many": ArrayRecord(ARRAYS_OF_SOME_TYPES)}
    asked = RecordDict(records)
    echoes = ask([Message(asked, node, "query.echo") for node in ids], timeout=60)
    fails = ask([Message(RecordDict(), ids[0], "query.fail")], timeout=60)
    sums = {name: array.numpy() for name, array in result.arrays.items()}
    told = {
        "arrays": {name: [float(array.min()), float(array.max())] for name, array in sums.items()},
        "shapes": {name: list(array.shape) for name, array in sums.items()},
        "losses": [record["train_loss"] for record in result.train_metrics_clientapp.values()],
        "echoes": [echo.has_content() and echo.content == asked for echo in echoes],
        "fails": [[fail.error.code, fail.error.reason] for fail in fails],
    }
    Path(str(config["out"])).write_text(json.dumps(told), encoding="utf-8")
