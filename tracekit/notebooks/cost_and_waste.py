"""Where the money goes, and which part of it was wasted."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Cost and waste")

with app.setup:
    import marimo as mo

    from tracekit.lake import Lake
    from tracekit.pages.listing import listing
    from tracekit.pages.notebooks import lake_path, where, words
    from tracekit.pages.render import fragment
    from tracekit.pages.sections.cost import amounts, per_success, waste
    from tracekit.reports import cost, sessions, success


@app.cell(hide_code=True)
def _():
    mo.md("""
    # Cost and waste

    Costs are USD, from the provider's report or the price book. An unknown price makes a sum a
    lower bound (≥). A step is wasted when it was a failed attempt, repeated work, a cancelled
    sibling, or came after the task was done.
    """)
    return


@app.cell
def _():
    lake = Lake.open(lake_path(mo.cli_args().get("lake")))
    agent = mo.ui.dropdown(words(lake, "tasks", "agent_name"), label="agent")
    by = mo.ui.dropdown(
        [
            "agent_name",
            "model",
            "provider",
            "workflow_name",
            "task_name",
            "tenant_id",
            "stop_reason",
        ],
        value="model",
        allow_select_none=False,
        label="by",
    )
    mo.hstack([agent, by], justify="start", wrap=True)
    return agent, by, lake


@app.cell
def _(agent, by, lake):
    selection = where({"agent_name": agent.value})
    groups = lake.read(lambda con: success.report(con, (by.value,), selection)).rows
    reasons = lake.read(lambda con: waste(con, selection))
    word = by.value.removesuffix("_name").removesuffix("_id").replace("_", " ")
    mo.Html(
        fragment([amounts(groups, by.value, word), reasons, per_success(groups, by.value, word)])
    )
    return (selection,)


@app.cell
def _(lake, selection):
    calls = lake.read(lambda con: cost.cost(con, ("model",), selection))
    mo.Html(
        fragment([listing(calls, "Tokens by class; only calls whose spans were kept are in here.")])
    )
    return


@app.cell
def _(lake, selection):
    order = sessions.Order("wasted_cost_usd", limit=10)
    wasteful = lake.read(lambda con: sessions.sessions(con, selection, order))
    mo.Html(fragment([listing(wasteful, title="The ten sessions that wasted most")]))
    return


if __name__ == "__main__":
    app.run()
