"""What several tests need: terms, and trainers whose steps are known."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from tabtune_federated.layout import Entry, Layout
from tabtune_federated.participant import Work
from tabtune_federated.terms import Terms, check_terms

SHAPES = {"model.layers.0.self_attn.q_proj": (6, 10), "model.layers.0.self_attn.v_proj": (4, 10)}


def terms_json(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "version": 1,
        "name": "A test",
        "operator": "Tests",
        "base_model_name_or_path": "some/model",
        "lora": {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "v_proj"]},
        "train": {"max_steps": 5, "learning_rate": 1e-3, "per_device_train_batch_size": 2, "max_length": 128},
        "rounds": 3,
        "min_clients": 2,
    }
    return base | changes


def terms(**changes: Any) -> Terms:
    return check_terms(terms_json(**changes))


def write_terms(folder: Path, **changes: Any) -> str:
    path = folder / "federation.json"
    path.write_text(json.dumps(terms_json(**changes)))
    return str(path)


def layout(rank: int = 2, freeze_a: bool = False) -> Layout:
    """Of two small modules, [out, in] 6 x 10 and 4 x 10."""
    a = [Entry(f"{path}.lora_A.weight", rank, width) for path, (_, width) in SHAPES.items()]
    b = [Entry(f"{path}.lora_B.weight", height, rank) for path, (height, _) in SHAPES.items()]
    if freeze_a:
        return Layout(tuple(b), tuple(a))
    return Layout(tuple(entry for pair in zip(a, b) for entry in pair), ())


class PulledTrainer:
    """A trainer that is pulled a fixed part of the way to its own goal, so that what it makes of any values
    is known.
    """

    def __init__(self, layout: Layout, examples: int, seed: int) -> None:
        self.layout = layout
        self.examples = examples
        self.goal = np.random.default_rng(seed).normal(0, 0.05, layout.size).astype(np.float32)
        self.frozen: list[bytes] = []

    def trained(self, values: np.ndarray) -> np.ndarray:
        return values + np.float32(0.25) * (self.goal - values)

    def loss(self, values: np.ndarray) -> float:
        return float(np.mean((values - self.goal) ** 2, dtype=np.float64))

    def train(self, work: Work) -> tuple[np.ndarray, float]:
        self.frozen.append(work.frozen.tobytes())
        return self.trained(work.values), self.loss(work.values)

    def evaluate(self, work: Work) -> tuple[int, float]:
        return self.examples, self.loss(work.values)
