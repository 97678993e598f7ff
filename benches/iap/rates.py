#!/usr/bin/env python3
"""Watchfire's programs beside rsyslog's and Prelude's, in one run, on the same alerts, over loopback and mutual TLS.

python3 benches/iap/rates.py [--watchfire PATH] [--alerts N] [--rounds R] [--only CASE,..] [--write]

Prints a table; --write also puts it between the two markers in benches/README.md. What the columns mean is said there.
Exit code 0 when every case ran, 1 when one did not, 2 for bad usage.
"""
import pathlib
import signal
import sqlite3
import statistics
import sys
import tempfile

# Nothing is left beside the sources.
sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from common.arguments import Arguments  # noqa: E402
from common.processes import CaseFailed  # noqa: E402
from common.readme import Place, escape  # noqa: E402
from whole import machine, memory, prelude, rsyslog, watchfire  # noqa: E402
from whole.alerts import OCTETS  # noqa: E402
from whole.bench import Bench  # noqa: E402

TABLE = Place("rates.py")

# name: (what, whether each alert is acknowledged, where the receiver has it then, how to run a round)
RATES = {
    "opaque": ("watchfire, opaque bodies", "yes", "nowhere (/dev/null)", watchfire.opaque),
    "idmef": ("watchfire, IDMEF parsed and validated", "yes", "nowhere (/dev/null)", watchfire.idmef),
    "file": ("watchfire, opaque bodies", "yes", "file, not synced", watchfire.file),
    "durable": ("watchfire, IDMEF, spool and store on disk, synced", "yes", "SQLite, synced", watchfire.durable),
    "relp": (f"rsyslog RELP, window {rsyslog.RELP_WINDOW}", "yes", "file, not synced", rsyslog.relp),
    "plain": ("rsyslog, octet-counted TLS", "no", "file, not synced", rsyslog.plain),
    "prelude": ("Prelude, binary IDMEF", "no", "file, one field of each, not synced", prelude.prelude),
    "prelude-xml": ("Prelude, binary IDMEF", "no", "file, IDMEF XML, not synced", prelude.prelude_xml),
}
CASES = [*RATES, "memory"]
PRELUDE = ("prelude", "prelude-xml")


def rate_rows(bench, names, arguments):
    """Runs the rounds, the cases of a round one after the other, so that a noisy minute hits all of them."""
    rounds, alone, failures = {name: [] for name in names}, {}, {}
    for turn in range(arguments.rounds):
        for name in names:
            if name in failures:
                continue
            run = RATES[name][3]
            try:
                if turn == 0:
                    # What starting, connecting and ending cost.
                    alone[name] = run(bench, 1).seconds
                got = run(bench, arguments.alerts)
                rounds[name].append(got)
                progress(f"round {turn + 1}, {name}: {got.rate:,.0f} alerts/s")
            except (CaseFailed, OSError, sqlite3.Error) as failure:
                failures[name] = failure
                progress(f"round {turn + 1}, {name}: {failure}")
    rows = []
    for name in names:
        what, acknowledged, where, _ = RATES[name]
        start = f"| `{name}` | {what} | {acknowledged} | {where} |"
        if name in failures:
            rows.append(f"{start} did not run: {escape(failures[name])} | | | | |")
            continue
        got = rounds[name]
        median = lambda of: statistics.median(of(one) for one in got)
        each = ", ".join(f"{one.rate / 1000:.1f}" for one in got)
        rate, sender, receiver = (median(lambda r, of=of: getattr(r, of)) for of in ("rate", "sender", "receiver"))
        rows.append(
            f"{start} **{rate / 1000:.1f}** ({each}) | {alone[name]:.2f} | {sender:.1f} | {receiver:.1f} "
            f"| {max(one.foreign for one in got):.0%} |"
        )
    return rows, failures, [got for name in PRELUDE for got in rounds.get(name, ())]


def memory_rows(bench, arguments):
    rows, failed = [], False
    for case, amount in ((memory.manager_memory, arguments.channels), (memory.sensor_memory, arguments.spool_octets)):
        try:
            for what, resident, proportional, note in case(bench, amount):
                rows.append(f"| {what} | {resident / 2**20:.1f} | {proportional / 2**20:.1f} | {note} |")
                progress(rows[-1].strip("| "))
        except (CaseFailed, OSError) as failure:
            rows.append(f"| {case.__name__.replace('_', ' ')} | | | did not run: {escape(failure)} |")
            progress(rows[-1].strip("| "))
            failed = True
    return rows, failed


def progress(text):
    print(text, file=sys.stderr, flush=True)


def arguments_given():
    arguments = Arguments(__doc__, CASES, TABLE)
    add = arguments.add
    add("--alerts", metavar="N", type=int, default=300_000, help="alerts in a round [300000]")
    add("--channels", metavar="N", type=int, default=200, help="idle sensors of the case memory [200]")
    add("--spool-octets", metavar="N", type=int, default=2**30, help="spooled in the case memory [1 GiB]")
    given = arguments.parse()
    if min(given.alerts, given.channels, given.spool_octets) < 1:
        arguments.error("counts start at 1")
    return given


def main():
    # An end by signal also runs the clean-up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    arguments = arguments_given()
    with tempfile.TemporaryDirectory(prefix="watchfire-rates-", dir=arguments.dir) as folder:
        bench = Bench(arguments, pathlib.Path(folder).resolve())
        parts, failed = [machine.header(bench)], False
        if names := [name for name in RATES if name in arguments.only]:
            rows, failures, preludes = rate_rows(bench, names, arguments)
            failed |= bool(failures)
            title = "| case | sender to receiver | acknowledged | kept | thousand alerts/s, median (all rounds) "
            title += "| one alert alone, s | sender, CPU µs/alert | receiver, CPU µs/alert | CPU of others, at most |"
            parts.append(
                f"{arguments.alerts:,} alerts of {OCTETS} octets in each of {arguments.rounds} rounds; "
                f"watchfire's window is {watchfire.WINDOW}."
            )
            parts.append("\n".join((title, "| --- | --- | --- | --- | --- | --- | --- | --- | --- |", *rows)))
            if preludes:
                octets = statistics.mean(got.octets for got in preludes)
                parts.append(f"Prelude: {prelude.versions()}; {octets:.0f} octets of TLS for each alert, on average.")
        if "memory" in arguments.only:
            rows, broken = memory_rows(bench, arguments)
            failed |= broken
            title = "| memory | resident, MiB | proportional, MiB | |"
            parts.append("\n".join((title, "| --- | --- | --- | --- |", *rows)))
    table = "\n\n".join(parts)
    print(table)
    if arguments.write:
        TABLE.put(table)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
