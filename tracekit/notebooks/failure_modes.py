"""When things went wrong, which way, and what the detectors find."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Failure modes over time")

with app.setup:
    import marimo as mo

    from tracekit import detectors
    from tracekit.lake import Lake
    from tracekit.pages.listing import listing
    from tracekit.pages.notebooks import lake_path, where, words
    from tracekit.pages.render import fragment
    from tracekit.pages.sections.failures import by_category, found, rate_over_time
    from tracekit.pages.sections.reading import table as worth_reading
    from tracekit.reports import detections
    from tracekit.reports.over_time import PERIODS, over_time


@app.cell(hide_code=True)
def _():
    mo.md("""
    # Failure modes over time

    A rate of few tasks moves by itself: look at the intervals before believing in a bad day.
    Detectors judge sessions by rule; a session without the input a rule needs is not evaluable,
    never clear.
    """)
    return


@app.cell
def _():
    lake = Lake.open(lake_path(mo.cli_args().get("lake")))
    agent = mo.ui.dropdown(words(lake, "tasks", "agent_name"), label="agent")
    period = mo.ui.dropdown(list(PERIODS), label="per (empty: as fits)")
    mo.hstack([agent, period], justify="start", wrap=True)
    return agent, lake, period


@app.cell
def _(agent, lake, period):
    selection = where({"agent_name": agent.value})
    times = lake.read(lambda con: over_time(con, selection, period.value))
    mo.Html(fragment([rate_over_time(times), by_category(times)]))
    return (selection,)


@app.cell
def _(lake, selection):
    mo.Html(fragment([found(lake.read(lambda con: detections.summary(con, selection)))]))
    return


@app.cell
def _():
    detector = mo.ui.dropdown(list(detectors.load().detectors), label="the sessions hit by")
    detector
    return (detector,)


@app.cell
def _(detector, lake, selection):
    mo.stop(detector.value is None, mo.md("Choose a detector to see the sessions it hits."))
    hits = lake.read(lambda con: detections.sessions(con, detector.value, selection))
    mo.Html(fragment([listing(hits)]))
    return


@app.cell
def _(lake, selection):
    mo.Html(fragment([lake.read(lambda con: worth_reading(con, selection))]))
    return


if __name__ == "__main__":
    app.run()
