"""What the provider said against how the task really stopped."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Stop triage")

with app.setup:
    import marimo as mo

    from tracekit.lake import Lake
    from tracekit.pages.listing import listing
    from tracekit.pages.notebooks import lake_path, where, words
    from tracekit.pages.render import fragment
    from tracekit.pages.sections.stops import codes, matrix
    from tracekit.reports import sessions, stops


@app.cell(hide_code=True)
def _():
    mo.md("""
    # Stop triage

    The provider's stop value says how a *call* ended; the stop code says how the *task* ended, from
    the whole session. Where one value stands for many codes, the value alone tells nobody anything.
    """)
    return


@app.cell
def _():
    lake = Lake.open(lake_path(mo.cli_args().get("lake")))
    agent = mo.ui.dropdown(words(lake, "tasks", "agent_name"), label="agent")
    against = mo.ui.dropdown(
        ["stop_raw", "stop_framework_raw", "provider", "model", "stop_fault", "stop_rule"],
        value="stop_raw",
        allow_select_none=False,
        label="against",
    )
    mo.hstack([agent, against], justify="start", wrap=True)
    return against, agent, lake


@app.cell
def _(against, agent, lake):
    chosen = {"agent_name": agent.value}
    table = lake.read(lambda con: stops.stops(con, against.value, where(chosen)))
    mo.Html(fragment([codes(table), matrix(table)]))
    return chosen, table


@app.cell
def _(table):
    found = sorted({str(row["stop_reason"]) for row in table.rows})
    code = mo.ui.dropdown(found, label="the sessions that stopped with")
    code
    return (code,)


@app.cell
def _(chosen, code, lake):
    mo.stop(code.value is None, mo.md("Choose a stop code to see its latest sessions."))
    selection = where(chosen | {"stop_reason": code.value})
    latest = lake.read(lambda con: sessions.sessions(con, selection))
    mo.Html(fragment([listing(latest, title="The latest sessions with this stop code")]))
    return


if __name__ == "__main__":
    app.run()
