"""Makes the PyTorch reference of a whole GGUF as it is, its weights quantised as in the file.

    python gguf_case.py MODEL.gguf MODEL_DIR CASE_DIR

The GGUF is that of smollm2.py or gemma270m.py, and MODEL_DIR the folder that the script makes of it. The case is laid
out as those of tests/fixtures/bases: the reference runs on what the codes stand for, in f32.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np
from safetensors.torch import save_file

import gemma270m
import smollm2


def main(path, model_dir, case_dir):
    path, model_dir, case_dir = Path(path).resolve(), Path(model_dir), Path(case_dir)
    reader = gguf.GGUFReader(path)

    def field(key):
        return reader.get_field(key).contents()

    case_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        values = Path(temporary)
        for file in model_dir.glob("*.json"):
            shutil.copy(file, values)
        if field("general.architecture") == "llama":
            heads = [field(f"llama.attention.{name}") for name in ("head_count", "head_count_kv")]
            module, weights = smollm2, smollm2.read_weights(reader, *heads, dtype=np.float32)
        else:
            module, weights = gemma270m, gemma270m.read_weights(reader, dtype=np.float32)
        save_file(weights, values / "model.safetensors", {"format": "pt"})
        module.write_reference(values, case_dir, {**module.CONFIG, "quantization": {}})
    (case_dir / "model.gguf").unlink(missing_ok=True)
    (case_dir / "model.gguf").symlink_to(path)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
