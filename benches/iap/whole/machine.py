"""What it ran on."""
import shutil

from common.machine import file_system, first_line, ours, sync_milliseconds, what_it_is


def header(bench):
    debian = first_line("dpkg-query", "-W", "-f", "${Version}", "rsyslog")
    rsyslog = first_line(shutil.which("rsyslogd", path=bench.path) or "rsyslogd", "-v").split(" compiled")[0]
    openssl = first_line("openssl", "version").split(" (")[0]
    return "\n".join(
        (
            f"{ours(bench.watchfire)} Peers: {rsyslog} (package {debian}), {openssl}.",
            what_it_is(),
            f"Files on {file_system(bench.dir)}, where 4 KiB appended and forced to the disk take "
            f"{sync_milliseconds(bench.dir):.2f} ms (median of 100).",
        )
    )
