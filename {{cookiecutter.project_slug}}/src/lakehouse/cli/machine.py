"""`doctor`: what is missing on this machine."""

from __future__ import annotations

from dataclasses import asdict

import typer

from lakehouse.cli.app import MACHINE, Json, app, escaped, examples, load_settings

# What a command needs is imported in it: `lakehouse --help` and a no-op load should not wait for dbt or DuckDB.
# ruff: noqa: PLC0415


@app.command(rich_help_panel=MACHINE, epilog=examples("lakehouse doctor", "lakehouse doctor --json"))
def doctor(as_json: Json = False) -> None:
    """Say what is missing on this machine for the target, and how to get it."""
    from lakehouse.cli.doctor import examine
    from lakehouse.cli.terminal import out, print_json

    findings = examine(load_settings())
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            mark = {"ok": "[green]ok[/]  ", "warn": "[yellow]warn[/]", "missing": "[red]no[/]  "}[finding.state]
            out.print(f"{mark} {escaped(finding.what)}: {escaped(finding.found)}", soft_wrap=True)
            if finding.state != "ok":
                out.print(f"     {escaped(finding.way_out)}", soft_wrap=True)
    if any(finding.state == "missing" for finding in findings):
        raise typer.Exit(1)
