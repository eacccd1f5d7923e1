"""Provider terms as data, what was kept of them, and what failed tasks were lost to.

Functions for reports, notebooks and pages. Each takes a connection with the lake's views, times as
ns since 1970 UTC, and `by`, columns of tasks; each returns plain rows whose fields are documented
beside it:

    slis       attempts, calls and tasks: how many were good      fields of `waterfall.Sli`
    waterfall  failed tasks by what they were lost to             fields of `waterfall.Loss`
    chains     what calls let expect of tasks, beside the fact    fields of `chains.Chain`
    verdicts   promises of providers, kept or not                 fields of `verdict.Verdict`
"""

from tracekit.sla.chains import chains
from tracekit.sla.contract import verdicts
from tracekit.sla.waterfall import slis, waterfall

__all__ = ["chains", "slis", "verdicts", "waterfall"]
