"""The programs of the original server against a node, and pyvnode against the original server.

Every step runs one original program twice, in a directory of its own each: against the original server, and against a
node. It says what the program must print. It fails when one of them does not, when the exit code is another, or when
the node makes the program print anything else than the original server does. Where the node does better on purpose, the
step says what the original does instead. Besides, `network` runs originals and nodes that replicate to each other, and
`export` an original server on what pyvnode exported.

What differs by nature is replaced before comparing: see `Side.plain`.
"""

import argparse
import concurrent.futures
import csv
import dataclasses
import pathlib
import re
import sys
import tarfile
import tempfile
import time

import pyotp

import export
import network
import steps
from servers import BIN, PACKAGES, ROOT, Failed, Node, Original, Outcome

ORIGINAL_SECRET = "pyvserverkey"  # of the second factor; every original server has this one
def says_not(texts, outcome):
    """Says which texts do not come, in this order, in what a program said."""
    missing, at = [], 0
    for text in texts:
        place = outcome.text.find(text, at)
        if place < 0:
            missing.append(f"it does not say {text!r}" + (" where it should" if text in outcome.text else ""))
        else:
            at = place + len(text)
    return missing


def differences(step, node, original):
    """Says in which way outcomes are not what a step expects, in words; nothing when they are."""
    found = []
    original_says = step.says if step.original_says is None else step.original_says
    for who, outcome, texts in (("node", node, step.says), ("original server", original, original_says)):
        if outcome is not None:
            found += [f"{who}: {what}" for what in says_not(texts, outcome)]
            if outcome.code != step.code:
                found.append(f"{who}: exit code {outcome.code}, not {step.code}")
    if original is not None and step.original_says is None and node.text != original.text:
        found.append("node and original server: it does not say the same")
    return found


def installed():
    """The programs of PyvServ that pip installed: name -> files."""
    programs = {}
    record = next(PACKAGES.glob("pyvserv-*.dist-info")) / "RECORD"
    with open(record, newline="", encoding="utf-8") as f:
        for path, *_ in csv.reader(f):
            path = pathlib.PurePosixPath(path)
            in_bin = path.parent.name == "bin"
            if path.suffix in ("", ".py") and (in_bin or path.stem.startswith("pyvcli_")) and "__" not in path.name:
                file = (BIN if in_bin else PACKAGES / path.parent) / path.name
                programs.setdefault(path.stem, []).append(file)
    return programs


def same_program(files):
    """Whether scripts have the same bytes after the line that names their interpreter."""
    return len({f.read_bytes().partition(b"\n")[2] for f in files if f.suffix == ".py"}) <= 1


@dataclasses.dataclass(frozen=True)
class Check:
    """What a program that is not run for what it prints was expected to do, and did."""

    program: str
    expected: object
    did: object

    def good(self):
        return self.did == self.expected


class Report:
    def __init__(self, show):
        self.show = show
        self.done = []  # (step, node's outcome, original's outcome)
        self.checks = []
        self.failures = 0
        self.since = time.monotonic()

    def programs(self):
        return {step.program.partition(".")[0] for step, _, _ in self.done} | {check.program for check in self.checks}

    def heading(self, text):
        print(f"\n{text}", flush=True)

    def line(self, good, what, expected, did):
        self.failures += not good
        now = time.monotonic()
        did += f" ({now - self.since:.1f} s)"
        self.since = now
        print(f"{'ok  ' if good else 'FAIL'} {what}\n       expected: {expected}\n       did:      {did}", flush=True)

    def add(self, step, node, original=None):
        self.done.append((step, node, original))
        found = differences(step, node, original)
        expected = short(" · ".join(step.says) or "nothing to say")
        if step.code:
            expected += f", exit code {step.code}"
        if step.original_says is not None:
            expected += f"\n                 (the original: {short(' · '.join(step.original_says))}: {step.why})"
        elif step.why:
            expected += f"\n                 ({step.why})"
        did = "that" + (", as with the original server" if original is not None and step.original_says is None else "")
        self.line(not found, f"{step.program} {step.args}".rstrip(), expected, did if not found else "\n                 ".join(found))
        if found or self.show:
            for who, outcome in (("node", node), ("original server", original)):
                if outcome is not None:
                    print(f"       --- {who}, exit code {outcome.code}:\n" + "\n".join("       " + line for line in outcome.text.splitlines()))


    def check(self, program, what, expected, did, why=""):
        """Says what a program was expected to do, and did."""
        check = Check(program, expected, did)
        self.checks.append(check)
        self.line(check.good(), f"{program}: {what}", (short(str(expected)) if check.good() else str(expected)) + (why and f"\n                 ({why})"), "that" if check.good() else str(did))


def short(text):
    text = text.replace("\n", "⏎")
    return text if len(text) <= 150 else text[:149] + "…"


def run_steps(report, which, sides, files, more):
    """Runs steps, each on both sides at once."""
    with concurrent.futures.ThreadPoolExecutor(len(sides)) as pool:
        for step in which:
            report.add(step, *pool.map(lambda side: run_step(step, side, sides, files, more), sides))


def run_step(step, side, sides, files, more):
    words = {"port": side.port, "other": sides[1 - sides.index(side)].port if len(sides) > 1 else None, **more[side.name]}
    args = [word.format(**words) if "{" in word else word for word in step.words()]
    for name, content in step.files.items():
        (side.work / name).write_bytes(content)
    for _ in range(4 if step.slow else 1):
        outcome = side.run([*how_to_run(step.program, files), *args], step.stdin.format(**words), step.plain)
        if not says_not(step.original_says if side.name == "original" and step.original_says else step.says, outcome):
            break
    if step.same and len({(side.work / name).read_bytes() for name in step.same}) != 1:
        outcome.text += f"(afterwards, {' and '.join(step.same)} are not the same)\n"
    return outcome


def how_to_run(program, files):
    """The command line of a program: as a user calls it where it has a command, by its module otherwise."""
    stem, dot, _ = program.partition(".")
    if program == "pyvnode":
        return [str(files[program][0]), "--quiet"]
    for file in files[stem]:
        if file.name == program and file.parent == BIN and not dot:
            return [str(file)]
    return [str(BIN / "python"), str(next(f for f in files[stem] if f.suffix == ".py"))]


def self_test(report):
    """Breaks one expectation of every program, in every way, and wants each to be noticed. Returns how many were."""
    tested = set()
    for step, node, original in report.done:
        if step.program in tested or differences(step, node, original):
            continue
        tested.add(step.program)
        broken = {
            "text": (dataclasses.replace(step, says=(*step.says[:-1], step.says[-1][:-1] + "\u2020")), node, original),
            "exit code": (dataclasses.replace(step, code=step.code + 1), node, original),
        }
        if original is not None and step.original_says is None:
            broken["original"] = (step, node, Outcome(original.code, original.text + "more\n"))
        if step.original_says is not None:
            broken["original"] = (dataclasses.replace(step, original_says=("\u2020",)), node, original)
        for how, case in broken.items():
            if not differences(*case):
                raise Failed(f"self-test: a wrong {how} of {step.program} is not noticed")
    checked = set()
    for check in report.checks:
        if check.program not in checked and check.good():
            checked.add(check.program)
            if dataclasses.replace(check, expected=[check.expected, "\u2020"]).good():
                raise Failed(f"self-test: a wrong expectation of {check.program} is not noticed")
    return len({program.partition(".")[0] for program in tested | checked})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pyvnode", type=pathlib.Path)
    parser.add_argument("--show", action="store_true", help="print all that programs say")
    options = parser.parse_args()
    began = time.monotonic()
    report = Report(options.show)
    with tempfile.TemporaryDirectory(prefix="interop") as scratch:
        work = pathlib.Path(scratch)
        original, node = Original(work), Node(work, options.pyvnode)
        try:
            run_all(report, work, original, node)
        except Failed as failed:
            report.line(False, "interop", "all steps", str(failed))
        finally:
            for side in (original, node):
                side.stop()
        if report.failures:
            for log in sorted((*work.glob("*.log"), *work.glob("*/said"))):
                print(f"\nlast lines of {log.relative_to(work)}:", *log.read_text(errors="replace").splitlines()[-20:], sep="\n  ")
    print(f"\n{len(report.programs())} programs in {len(report.done) + len(report.checks)} steps, {report.failures} not as expected, in {time.monotonic() - began:.0f} s")
    return 1 if report.failures else 0


def run_all(report, work, original, node):
    files = {**installed(), "pyvnode": [node.pyvnode]}

    report.heading("Programs with windows:")
    more = {"original": {"root": original.root}, "node": {"root": node.data / "legacy"}}
    run_steps(report, steps.WINDOWS, (node,), files, more)

    report.heading("Keys. The node gets those that the original's key tools make, the original server those that pyvnode makes:")
    node.do("init", "--name", "interop")
    run_steps(report, steps.KEYS, (node,), files, more)
    made = sorted((node.data / "legacy" / "private").glob("*.pem"))
    report.check("pyvgenkeys", "keys in the node's pool, of both tools", 3, len(made))
    for pem in made:
        pem.chmod(0o600)  # the original's tools let everybody read private keys, and a node refuses those
    node.do("legacy", "keygen", "--count", 3, "--dir", original.root)

    sides = (node, original)
    for side in sides:
        side.start()
    report.heading("Sessions, users and files:")
    run_steps(report, steps.COMMANDS, sides, files, more)
    for side in sides:
        side.stop()

    report.heading("Records. Both get the chain file that an original server wrote:")
    with tarfile.open(ROOT / "legacy/testdata/dataroot.tar.gz") as packed:
        packed.extractall(original.root, [m for m in packed.getmembers() if m.name.startswith("./chain")])
    node.do("import", "--kind", "vote", original.root / "chain/vote/initial.pydb")
    for side in sides:
        side.start()
        side.run([*how_to_run("pyvcli_throt", files), "-p", str(side.port), "-t", "off"], "", ())
    run_steps(report, steps.RECORDS, sides, files, more)
    report.heading("The client of pyvnode, with both servers:")
    run_steps(report, steps.CLIENT, sides, files, more)
    for side in sides:
        side.stop()

    report.heading("In production mode, with a second factor:")
    secret = re.search(r"secret=([A-Z2-7]+)", node.do("user", "enrol", "admin"))[1]
    for side in sides:
        side.start(production=True)
    more["node"]["code"] = pyotp.TOTP(secret).now()
    more["node"]["next_code"] = pyotp.TOTP(secret).at(time.time() + 30)  # a node takes a code once
    more["original"]["code"] = more["original"]["next_code"] = pyotp.TOTP(ORIGINAL_SECRET).now()
    run_steps(report, steps.PRODUCTION, sides, files, more)

    for side in sides:
        side.stop()

    network.run(report, work, node.pyvnode)
    export.run(report, work, node.pyvnode)

    report.heading("All of it:")
    wanted = {name for name in files if name.startswith("pyvcli_")} | {"pyvp2p", "pyvgenkey", "pyvgenkeys", "pyvserv", "pyvreplic"}
    missing, other = sorted(wanted - report.programs()), [name for name in sorted(wanted) if not same_program(files[name])]
    report.line(not missing, f"{len(wanted)} programs of the original: pyvcli_*, pyvp2p, the key tools, the server, its replicator", "each was run",
                "that" if not missing else f"not {', '.join(missing)}")
    report.line(not other, "programs that are installed in two places", "the same bytes", "that" if not other else f"they differ: {', '.join(other)}")
    tested = self_test(report)
    report.line(True, f"self-test: one expectation broken for each of {tested} programs", "all noticed", "that")


if __name__ == "__main__":
    sys.exit(main())
