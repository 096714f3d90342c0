"""Loading one file: conform, accept, write, commit. `load.py` has the steps.

What refuses a file, in the order in which it is asked:

- `load.py`: a month or day that the dataset can't have (`_check_part`); `cursor.py`: a gap before an extract
- `iceberg/tables.py`: a declared type that is not the table's (`check_declared_types`)
- `formats`: what can't be read as declared (`ContentError`); `reading.py` makes a refusal of it
- `conform.py`: a missing column, a type (`plan`), a value, columns that are swapped or empty (`Conformer`)
- `file_rows.py`: keys · `set_aside.py`: too many bad rows · `reading.py`: lost rows
- `acceptance.py`: its month or day (`RowTimes`), its hash (`check_bytes`), its size (`Change.check_size`), bytes of
  another part (`OtherParts`), a newer version that has landed (`still_current`)
- `iceberg/writer.py`: a data file that is not what was written (`audit`)
"""
