"""Every benchmark, one after the other, as one table: `make bench`."""

from __future__ import annotations

import bench_encode
import bench_import
import bench_report
import bench_scan
import bench_ui
import measure

if __name__ == "__main__":
    measure.show(
        [
            *bench_scan.run(),
            *bench_encode.run(),
            *bench_import.run(),
            *bench_report.run(),
            *bench_ui.run(),
        ]
    )
