"""The growth of the raw tables as a PNG, for places that show images but no page: Dagster's metadata."""

from __future__ import annotations

import io

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from lakehouse.datasets.registry import monthly
from lakehouse.report.charts import SHOWN_SNAPSHOTS, short
from lakehouse.report.collect import Facts

COLOURS = {"yellow": "#e3a400", "green": "#5d9a1f"}


def growth_png(facts: Facts) -> bytes:
    """Rows of each raw table after each of its snapshots, what the snapshot added in the dataset's colour.

    A snapshot that a rollback took back is an outline.
    """
    tables = {dataset.table: dataset.name for dataset in monthly()}
    found = [t for t in facts.tables if t.table in tables]
    figure = Figure(figsize=(7.2, 2.6 * max(len(found), 1)), layout="constrained")
    FigureCanvasAgg(figure)
    for i, history in enumerate(found, start=1):
        axes = figure.add_subplot(len(found), 1, i)
        shown = history.snapshots[-SHOWN_SNAPSHOTS:]
        totals = [s.total_rows or 0 for s in shown]
        added = [0 if s.rolled_back else min(s.added_rows, total) for s, total in zip(shown, totals, strict=True)]
        kept = [total - new for total, new in zip(totals, added, strict=True)]
        places = list(range(len(shown)))
        standing = [0 if s.rolled_back else n for s, n in zip(shown, kept, strict=True)]
        gone = [n if s.rolled_back else 0 for s, n in zip(shown, kept, strict=True)]
        axes.bar(places, standing, color="#cfd3da", width=0.6)
        axes.bar(places, gone, fill=False, edgecolor="#c8553d", linestyle="--", width=0.6)
        axes.bar(places, added, bottom=kept, color=COLOURS.get(tables[history.table], "#3f7fb5"), width=0.6)
        axes.set_xticks(places, [s.part or s.operation for s in shown], rotation=45 if len(shown) > 8 else 0)
        axes.set_title(f"{history.table}: rows by snapshot", loc="left", fontsize=10)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        axes.spines[["top", "right"]].set_visible(False)
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=110)
    return image.getvalue()
