"""Loading one file: conform, accept, write, commit. `load.py` has the steps.

What refuses a file:

- `conform.py`: a missing column, a type, a value (`plan`, `Conformer`)
- `acceptance.py`: its size, its month or day, bytes of another part (`Change.check_size`, `RowTimes`, `OtherParts`)
- `file_rows.py`: keys · `set_aside.py`: too many bad rows · `cursor.py`: a gap · `reading.py`: lost rows
"""
