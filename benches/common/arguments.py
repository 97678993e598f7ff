"""The arguments that every comparison of rates has, and what may be wrong with them."""
import argparse
import pathlib
import shutil

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Arguments:
    """`add` what a comparison has of its own, then `parse`: the rounds, the cases, the place of the table are here."""

    def __init__(self, doc, cases, table, watchfire=True):
        self.cases, self.table, self.watchfire = cases, table, watchfire
        self.parser = argparse.ArgumentParser(description=doc.split("\n\n")[0])
        self.add, self.error = self.parser.add_argument, self.parser.error
        if watchfire:
            program = ROOT / "target" / "release" / "watchfire"
            self.add("--watchfire", metavar="PATH", default=program, help="the program [release]")

    def parse(self, rounds="rounds of each case [3]", tables="table"):
        add, error = self.add, self.error
        add("--rounds", metavar="R", type=int, default=3, help=rounds)
        add("--only", metavar="CASE,..", default=",".join(self.cases), help=f"of {', '.join(self.cases)} [all]")
        add("--dir", metavar="DIR", type=pathlib.Path, help="where the temporary folder goes [the system's]")
        add("--write", action="store_true", help=f"put the {tables} into benches/README.md")
        given = self.parser.parse_args()
        given.only = given.only.split(",")
        if unknown := set(given.only) - set(self.cases):
            error(f"no case {', '.join(sorted(unknown))}; there are {', '.join(self.cases)}")
        if given.rounds < 1:
            error("there must be a round")
        if self.watchfire:
            if not shutil.which(given.watchfire):
                error(f"no program {given.watchfire}; make it with: cargo build --release -p watchfire")
            given.watchfire = pathlib.Path(shutil.which(given.watchfire)).resolve()
        if given.write and (missing := self.table.missing()):
            error(missing)
        return given
