"""What becomes of each sample input when it is ingested as it is: a table of the kinds of input that people bring.

The samples are in samples.tar.xz; settings there name files in the folder of the case. Those of `READING` concern
types, files and formats; the others what the values mean.
"""

from __future__ import annotations

from tests.datasets.cases.running import Outcome

READING = {
    "cols_both": Outcome(2, "'user_id' and 'USER_ID', which Spark does not tell apart. Rename or remove one"),
    "cols_upper": Outcome(2, "no column 'user_id' (the nearest is 'USER_ID')"),
    "csv_12h": Outcome(2, "of 6 rows the time is missing or not a time, such as line 2 of inter.csv: 'u1,i0,9/13/2020"),
    "csv_bigquery": Outcome(0, "", 2, 2, 0),
    "csv_braces": Outcome(2, "holds 2020-09-13T00:00:00.csv, and Hadoop reads no file with a colon in its name"),
    "csv_escape_ids": Outcome(
        2, "the user id holds control characters or invisible ones, such as line 2 of inter.csv: "
    ),
    "csv_escapes": Outcome(0, "", 6, 6, 0),
    "csv_inch": Outcome(0, "", 6, 6, 0),
    "csv_jp_path": Outcome(0, "", 6, 6, 0),
    "csv_phantom": Outcome(0, "", 6, 5, 0),
    "csv_semicolon": Outcome(2, "Set dataset.csv.separator to ';'"),
    "csv_spark_default": Outcome(2, "neither doubled nor escaped (dataset.csv.quote, dataset.csv.escape)"),
    "csv_utf16": Outcome(0, "", 6, 6, 0),
    "csv_zst": Outcome(0, "", 6, 6, 0),
    "decimal9": Outcome(0, "", 6, 6, 0),
    "feat_map": Outcome(2, "Column 'features' is map<string,string>, but features are an array of text, or text"),
    "pq_bidi_ids": Outcome(2, "4 of them because the item id holds control characters or invisible ones"),
    "pq_delta": Outcome(2, "pq_delta/in is a table of Delta Lake"),
    "pq_mixed_int": Outcome(0, "", 12, 6, 0),
    "pq_mixed_str": Outcome(0, "", 12, 6, 0),
    "pq_mixed_ts": Outcome(0, "", 12, 6, 0),
    "pq_nested_mixed": Outcome(0, "", 12, 6, 0),
    "pq_newcol_first": Outcome(2, "6 of them because the weight is missing"),  # one file has no weights
    "pq_nullcol": Outcome(0, "", 6, 12, 0),
    "pq_user_part": Outcome(0, "", 6, 6, 0),
    "pq_zero": Outcome(2, "part-1.parquet is empty: it was not written to its end"),
    "rb_amazon": Outcome(0, "", 3, 2, 0),
    "ts_ns_naive": Outcome(0, "", 6, 6, 0),
    "ts_ns_utc": Outcome(0, "", 6, 6, 0),
}
EXPECTED = {
    **READING,
    "case_ids": Outcome(2, "I0"),  # no item joins: examples of both sides
    "csv_null_words": Outcome(2, "the user id is missing"),
    "dup_items": Outcome(2, "6 of them because the catalogue has this item already"),
    "dup_notime": Outcome(2, "Set dataset.repeats to last or sum"),
    "dup_notime/audit": Outcome(2, "Set dataset.repeats to last or sum"),
    "feat_json": Outcome(0, "", 6, 6, 0),
    "float_ids_text": Outcome(2, "0.0"),
    "float_item_int": Outcome(2, "0001"),
    "night/jp": Outcome(0, "", 7000, 120, 0),
    "night/n1": Outcome(0, "", 7000, 120, 0),
    "night/n2": Outcome(0, "", 10800, 200, 0),
    "night/n3": Outcome(2, "One side has '.0' at its end"),
    "night/nomatch": Outcome(2, "One side has '.0' at its end"),
    "no_match": Outcome(2, "xi0"),
    "null_users": Outcome(2, "5 of them because the user id is missing"),
    "order/csv": Outcome(0, "", 12000, 300, 0),
    "order/day": Outcome(0, "", 12000, 300, 0),
    "order/days": Outcome(0, "", 12000, 300, 0),
    "order/pq": Outcome(0, "", 12000, 300, 0),
    "ts_excel": Outcome(0, "", 6, 6, 0),
    "ts_yyyymmdd_int": Outcome(0, "", 6, 6, 0),
    "w_zero": Outcome(0, "", 6, 6, 0),
}
