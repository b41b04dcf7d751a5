"""FedAvg over flat arrays, and at the end a question whose answers are written down beside the arrays."""

import json
import time
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()

# More than one chunk, so that arrays are taken apart and put together.
VALUES = 1_500_000


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Runs FedAvg from lora_A = 1 and lora_B = 0, then asks every node to echo a record and a node to fail."""
    config = context.run_config
    first = ArrayRecord({"lora_A": Array(np.ones(VALUES, np.float32)), "lora_B": Array(np.zeros((3, 2), np.float32))})
    nodes = int(config["nodes"])
    strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=nodes, min_available_nodes=nodes)
    result = strategy.start(grid=grid, initial_arrays=first, num_rounds=int(config["rounds"]))

    while len(ids := list(grid.get_node_ids())) < nodes:
        time.sleep(0.2)
    values = {"n": 3, "id": 2**64 - 1, "x": 0.5, "yes": True, "text": "Grüße", "raw": b"\0\xff", "ints": [1, -2], "texts": ["a", ""]}
    asked = RecordDict({"config": ConfigRecord(values), "many": ArrayRecord([np.arange(3, dtype=np.uint32), np.zeros(0, np.int64)])})
    echoes = grid.send_and_receive([Message(asked, node, "query.echo") for node in ids], timeout=60)
    fails = grid.send_and_receive([Message(RecordDict(), ids[0], "query.fail")], timeout=60)
    told = {
        "arrays": {name: [float(array.numpy().min()), float(array.numpy().max())] for name, array in result.arrays.items()},
        "shapes": {name: list(array.numpy().shape) for name, array in result.arrays.items()},
        "losses": [record["train_loss"] for record in result.train_metrics_clientapp.values()],
        "echoes": [echo.has_content() and echo.content == asked for echo in echoes],
        "fails": [[fail.error.code, fail.error.reason] for fail in fails],
    }
    Path(str(config["out"])).write_text(json.dumps(told), encoding="utf-8")
