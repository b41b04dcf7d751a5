# python make.py: writes rows.parquet beside this script, with pyarrow 26.0.1. Empty pictures pack well.
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
rows = [{"bytes": bytes(14_000_000), "path": "x.png"} for _ in range(2)]
table = pa.table({"text": ["alpha beta"] * 2, "image": pa.array(rows, picture)})
pq.write_table(table, Path(__file__).with_name("rows.parquet"), compression="zstd")
