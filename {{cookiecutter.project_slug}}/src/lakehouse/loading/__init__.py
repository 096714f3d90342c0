"""Loading one file: conform, accept, write, commit. `load.py` has the steps, `jobs.py` several files at once.

What refuses a file, by the file of code that has the rule. What is known without the rows is asked first; the number
of rows and the bytes of another part are asked again at the commit. `_load_landed` and `_accept` of `load.py` have the
order.

- `load.py`: nothing is landed; a month or day that the dataset can't have (`_check_part`)
- `iceberg/tables.py`: a declared type that is not the table's (`check_declared_types`)
- `cursor.py`: a gap before an extract (`check_no_gap`)
- `landing/zone.py`: the file is gone, or has not the length recorded at landing (`Landing.local`)
- `formats`: what can't be read as declared (`ContentError`); `reading.py` makes a refusal of it
- `conform.py`: a missing column, a type (`plan`), a value, columns that are swapped or empty (`Conformer`)
- `file_rows.py`: keys, and a table of which another program has deleted rows · `set_aside.py`: too many bad rows ·
  `reading.py`: lost rows
- `acceptance.py`: its month or day (`RowTimes`), its hash (`check_bytes`), its number of rows (`Change.check_size`),
  bytes of another part (`OtherParts`), a newer version that has landed (`still_current`)
- `iceberg/data_file.py`: a data file that is not what was written (`audit`)
"""
