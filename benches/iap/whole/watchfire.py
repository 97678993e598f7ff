"""Rates of one watchfire sensor and one manager."""
import contextlib
import hashlib
import itertools
import json
import sqlite3
import time

from common.processes import CaseFailed, Foreign

from .alerts import IDMEF, OCTETS, OPAQUE
from .processes import Round, Site

WINDOW = 2048


def watchfire_round(bench, count, kind, sensor=(), manager=(), after=lambda site: None):
    """One sensor, one manager; from the start of the sensor's process to its last line."""
    with Site(bench, "watchfire") as site:
        fill = lambda arguments: [str(a).replace("{dir}", str(site.dir)) for a in arguments]
        receiver, address = site.manager(*fill(manager))
        foreign, own = Foreign(), time.process_time()
        arguments = ["--input", bench.alerts(count), "--content-type", kind, "--window", WINDOW]
        sender = site.sensor(address, *arguments, "--exit-when-drained", *fill(sensor))
        drained, when = sender.event("drained", time.monotonic() + bench.patience(count))
        seconds = when - sender.began
        used = sender.end(ask=False), receiver.end()
        share = foreign.share(sum(used) + time.process_time() - own)
        if (drained["sent"], drained["acked"], drained["rejected"]) != (count, count, 0):
            raise CaseFailed(f"the sensor's last line is {drained}")
        after(site)
        return Round(count, seconds, *used, share)


def output_is_whole(bench, count):
    """A check that an NDJSON file has each body, in order."""

    def check(site):
        with open(site.dir / "alerts.ndjson", "rb") as got, open(bench.alerts(count), "rb") as sent:
            for number, (line, body) in enumerate(itertools.zip_longest(got, sent), 1):
                wanted = body and hashlib.sha256(body.rstrip(b"\n")).hexdigest()
                if not line or not body or json.loads(line)["sha256"] != wanted:
                    raise CaseFailed(f"line {number} of the output is not alert {number}: {line!r:.80}")

    return check


def store_is_whole(count):
    """A check that a SQLite store has each alert once."""

    def check(site):
        with contextlib.closing(sqlite3.connect(site.dir / "alerts.db")) as store:
            found = store.execute("SELECT count(*), count(DISTINCT body), min(length(body)) FROM alert").fetchone()
        if found != (count, count, OCTETS):
            raise CaseFailed(f"rows, different bodies, shortest body are {found} instead of {(count, count, OCTETS)}")

    return check


NULL = ("--output", "ndjson:/dev/null", "--output-sync", "never")


def opaque(bench, count):
    return watchfire_round(bench, count, OPAQUE, manager=NULL)


def idmef(bench, count):
    return watchfire_round(bench, count, IDMEF, manager=NULL)


def file(bench, count):
    arguments = ("--output", "ndjson:{dir}/alerts.ndjson", "--output-sync", "never")
    return watchfire_round(bench, count, OPAQUE, manager=arguments, after=output_is_whole(bench, count))


def durable(bench, count):
    sensor, manager = ("--spool", "{dir}/spool"), ("--store", "sqlite:{dir}/alerts.db")
    return watchfire_round(bench, count, IDMEF, sensor, manager, store_is_whole(count))
