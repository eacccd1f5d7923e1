"""What lies between the provider's promise and the task."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="The SLA gap")

with app.setup:
    import marimo as mo

    from tracekit.lake import Lake
    from tracekit.pages.listing import listing
    from tracekit.pages.notebooks import lake_path, where, words
    from tracekit.pages.render import fragment
    from tracekit.pages.sections.sla import indicators, losses, promises
    from tracekit.sla import slis, verdicts, waterfall


@app.cell(hide_code=True)
def _():
    mo.md("""
    # The SLA gap

    A provider promises attempts, a customer wants tasks. Between them lie refusals that no terms
    count, retries that help or do not, and everything that is nobody's but ours. Every failed task
    is lost to exactly one cause here, so that the causes add up.
    """)
    return


@app.cell
def _():
    lake = Lake.open(lake_path(mo.cli_args().get("lake")))
    agent = mo.ui.dropdown(words(lake, "tasks", "agent_name"), label="agent")
    model = mo.ui.dropdown(words(lake, "tasks", "model"), label="model")
    mo.hstack([agent, model], justify="start", wrap=True)
    return agent, lake, model


@app.cell
def _(agent, lake, model):
    chosen = where({"agent_name": agent.value, "model": model.value}).sql()
    good = lake.read(lambda con: slis(con, where=chosen))
    lost = lake.read(lambda con: waterfall(con, where=chosen))
    mo.Html(fragment([indicators(good), losses(lost)]))
    return


@app.cell
def _(lake):
    kept = promises(lake.read(verdicts))
    mo.Html(fragment([listing(kept, "Of all calls in the lake, whatever is chosen above.")]))
    return


if __name__ == "__main__":
    app.run()
