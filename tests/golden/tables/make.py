"""Writes the files of this folder with the installed pyarrow: python3 make.py. rows.jsonl is what each of the
Parquet files holds; data.zip holds two files of JSON lines and things that are none."""
import datetime, decimal, json, zipfile
import pyarrow as pa
import pyarrow.parquet as pq

N = 120
TEXTS = [None, "", 'é京😀 "q" \\ \n\t\x01', "some text of a document\n" * 3, "def f(x):\n    return x\n"]
LISTS = [None, [], [["a"], [], None], [[None, "b"]]]
STRUCTS = [None, {"x": 1, "y": {"z": None}}, {"x": None, "y": None}, {"x": 3, "y": {"z": "deep"}}]
COLUMNS = {
    "id": pa.array(range(N), pa.int64()),
    "text": pa.array([TEXTS[i % 5] for i in range(N)], pa.string()),
    "licence": pa.array([["mit", "bsd"][i % 7 == 0] for i in range(N)], pa.string()),
    "small": pa.array([None if i % 3 == 0 else i * 1000 - 50000 for i in range(N)], pa.int32()),
    "score": pa.array([i / 8 for i in range(N)], pa.float64()),
    "good": pa.array([[True, False, None][i % 3] for i in range(N)], pa.bool_()),
    "day": pa.array([datetime.date(1969, 12, 30) + datetime.timedelta(i) for i in range(N)], pa.date32()),
    "at": pa.array([datetime.datetime(1969, 12, 31, 23, 59, 59, 5) + datetime.timedelta(i / 7) for i in range(N)], pa.timestamp("us")),
    "price": pa.array([decimal.Decimal(i - 60).scaleb(-2) for i in range(N)], pa.decimal128(12, 2)),
    "lists": pa.array([LISTS[i % 4] for i in range(N)], pa.list_(pa.list_(pa.string()))),
    "inside": pa.array([STRUCTS[i % 4] for i in range(N)], pa.struct([("x", pa.int32()), ("y", pa.struct([("z", pa.string())]))])),
}
DELTA = {"id": "DELTA_BINARY_PACKED", "text": "DELTA_LENGTH_BYTE_ARRAY", "licence": "DELTA_BYTE_ARRAY", "score": "BYTE_STREAM_SPLIT"}
FILES = {
    "dictionary-snappy-v1": {"compression": "snappy", "row_group_size": 50},
    "plain-none-v1": {"compression": "none", "use_dictionary": False},
    "dictionary-lz4-v2": {"compression": "lz4", "data_page_version": "2.0"},
    "delta-zstd-v2": {"compression": "zstd", "data_page_version": "2.0", "use_dictionary": False, "column_encoding": DELTA},
    "plain-gzip-v1": {"compression": "gzip", "use_dictionary": False, "data_page_size": 300},
}


# Some 900 KB of rows in few stored bytes: places to go on from lie in the middle of row groups and pages.
M = 4000
MANY = pa.table({
    "text": pa.array([None if i % 11 == 3 else f"row {i} " + "x y " * (i * 37 % 90) for i in range(M)], pa.string()),
    "licence": pa.array([["mit", "bsd"][i % 7 == 0] + "-" * (i % 3) for i in range(M)], pa.string()),
    "lists": pa.array([LISTS[i * 5 % 4] for i in range(M)], pa.list_(pa.list_(pa.string()))),
    "n": pa.array([None if i % 3 == 0 else i * i for i in range(M)], pa.int64()),
})


def plain(x):
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    if isinstance(x, list):
        return [plain(v) for v in x]
    if isinstance(x, (datetime.date, datetime.datetime)):
        return x.isoformat()
    return float(x) if isinstance(x, decimal.Decimal) else x


def main():
    table = pa.table(COLUMNS)
    with open("rows.jsonl", "w") as f:
        f.writelines(json.dumps(plain(r)) + "\n" for r in table.to_pylist())
    for name, options in FILES.items():
        pq.write_table(table, name + ".parquet", store_schema=False, write_statistics=False, **options)
    pq.write_table(MANY, "many-rows.parquet", store_schema=False, write_statistics=False, compression="zstd", row_group_size=1700,
                   data_page_size=2000, use_dictionary=["licence"], data_page_version="2.0")
    with zipfile.ZipFile("data.zip", "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("b/two.jsonl", '{"text": "2"}\n')
        z.writestr("a.jsonl", '{"text": "1"}\n')
        z.writestr(".hidden.jsonl", '{"text": "no"}\n')
        z.writestr("__MACOSX/a.jsonl", "no")
        z.writestr("c.txt", "3")


if __name__ == "__main__":
    main()
