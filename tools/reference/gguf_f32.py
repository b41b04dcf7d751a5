"""Writes the values of a GGUF as a GGUF in F32, on which llama.cpp rounds no activations.

    python gguf_f32.py MODEL.gguf OUT.gguf
"""

import sys

import gguf

# What the writer says itself.
OWN = ("GGUF.", "general.architecture", "general.file_type", "general.quantization_version")


def main(path, out):
    reader = gguf.GGUFReader(path)
    writer = gguf.GGUFWriter(out, reader.get_field("general.architecture").contents())
    for key, field in reader.fields.items():
        if not key.startswith(OWN):
            of_elements = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(key, field.contents(), field.types[0], sub_type=of_elements)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, gguf.quants.dequantize(tensor.data, tensor.tensor_type))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
