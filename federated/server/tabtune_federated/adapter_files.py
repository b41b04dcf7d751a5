"""The two files of a PEFT adapter: what a federation may begin with, and what it leaves behind."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from .layout import Layout, LayoutError, flat
from .terms import Terms

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."


def read_adapter(folder: Path, layout: Layout, terms: Terms) -> tuple[np.ndarray, np.ndarray]:
    """The values of a PEFT folder, float32 [size] and [frozen size].

    Raises LayoutError, whose text names the file and the tensor or the option.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        tensors = load_file(folder / WEIGHTS)
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise LayoutError(f"{folder}: no PEFT adapter of float tensors: {error}") from error
    if not isinstance(config, dict):
        raise LayoutError(f"{folder / CONFIG} is no JSON object")
    wanted = {"r": terms.lora.r, "lora_alpha": terms.lora.lora_alpha}
    off = {"use_rslora": False, "use_dora": False}
    for name, value in {**wanted, **off}.items():
        if config.get(name, off.get(name)) != value:
            raise LayoutError(f"{folder / CONFIG}: {name} is {config.get(name)}, but the terms have {value}")
    matrices = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}
    extra = matrices.keys() - {entry.name for entry in layout.entries + layout.frozen}
    if extra:
        raise LayoutError(f"{folder / WEIGHTS}: tensor {min(extra)} is in no layout of the clients")
    for name, tensor in matrices.items():
        if tensor.dtype.kind != "f" or not np.isfinite(tensor).all():
            raise LayoutError(f"{folder / WEIGHTS}: tensor {name} has values that are not finite numbers")
    try:
        return flat(layout.entries, matrices), flat(layout.frozen, matrices)
    except LayoutError as error:
        raise LayoutError(f"{folder / WEIGHTS}: {error}") from error


def adapter_config(terms: Terms) -> dict[str, Any]:
    """PEFT's adapter_config.json of a federation."""
    targets = terms.lora.target_modules
    alpha = terms.lora.lora_alpha
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": terms.base_model_name_or_path,
        "inference_mode": True,
        "r": terms.lora.r,
        "lora_alpha": int(alpha) if alpha == int(alpha) else alpha,
        "lora_dropout": 0.0,
        "target_modules": targets if isinstance(targets, str) else list(targets),
        "bias": "none",
        "fan_in_fan_out": False,
    }


def write_adapter(folder: Path, terms: Terms, matrices: dict[str, np.ndarray]) -> None:
    """Writes a PEFT folder of matrices by their names, with rank `lora.r` each."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        PREFIX + name: np.ascontiguousarray(matrix, dtype=np.float32) for name, matrix in matrices.items()
    }
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(adapter_config(terms), indent=2) + "\n", encoding="utf-8")
