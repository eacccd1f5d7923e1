"""Whether the kept sessions speak for all of them."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Sampling quality and bias")

with app.setup:
    import marimo as mo

    from tracekit.lake import Lake
    from tracekit.pages.listing import listing
    from tracekit.pages.notebooks import lake_path, where, words
    from tracekit.pages.render import fragment
    from tracekit.pages.sections.sampling import against_census, shares
    from tracekit.reports.sampling import kept, quality


@app.cell(hide_code=True)
def _():
    mo.md("""
    # Sampling quality and bias

    A sampler that keeps failures and drops the rest makes everything look broken, unless each kept
    session counts for as many as it stands for. The ledger knows of every session, kept or not, so
    what the weights say can be held against it.
    """)
    return


@app.cell
def _():
    lake = Lake.open(lake_path(mo.cli_args().get("lake")))
    agent = mo.ui.dropdown(words(lake, "sessions", "agent_name"), label="agent")
    policy = mo.ui.dropdown(words(lake, "sessions", "policy"), label="policy")
    mo.hstack([agent, policy], justify="start", wrap=True)
    return agent, lake, policy


@app.cell
def _(agent, lake, policy):
    chosen = where({"agent_name": agent.value, "policy": policy.value})
    ended = lake.read(lambda con: kept(con, chosen))
    judged = lake.read(lambda con: quality(con, chosen))
    mo.Html(fragment([against_census(judged), shares(ended)]))
    return (ended,)


@app.cell
def _(ended):
    mo.Html(fragment([listing(ended, "Counted over the ledger; spans as received.")]))
    return


if __name__ == "__main__":
    app.run()
