"""The page about runs: one HTML file, made from what their directories hold."""

from gankit.report.make import NAME, Report, make_report, report_of

__all__ = ["NAME", "Report", "make_report", "report_of"]
