"""The tables in benches/README.md."""
import pathlib

README = pathlib.Path(__file__).resolve().parents[1] / "README.md"


class Place:
    """What is between two markers."""

    def __init__(self, name):
        self.begin, self.end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"

    def missing(self):
        """Why nothing can be put there, if so."""
        text = README.read_text() if README.is_file() else ""
        return None if self.begin in text and self.end in text else f"{README} lacks {self.begin} and {self.end}"

    def put(self, table):
        before, rest = README.read_text().split(self.begin, 1)
        README.write_text(f"{before}{self.begin}\n\n{table}\n\n{self.end}{rest.split(self.end, 1)[1]}")


def escape(failure):
    """A failure as the text of a cell."""
    return str(failure).replace("|", "\\|").replace("\n", " ")
