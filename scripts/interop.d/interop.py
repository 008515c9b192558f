"""The programs of the original server against a node, and pyvnode against the original server.

Every step runs one original program twice, in a directory of its own each: against the original server, and against a
node. It says what the program must print. It fails when one of them does not, when the exit code is another, or when
the node makes the program print anything else than the original server does. Where the node does better on purpose, the
step says what the original does instead.

What differs by nature is replaced before comparing: see `Side.plain`.
"""

import argparse
import concurrent.futures
import contextlib
import csv
import dataclasses
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time

import pyotp

import steps

ORIGINAL_SECRET = "pyvserverkey"  # of the second factor; every original server has this one
PATIENCE = 60  # seconds that one program may take
BIN = pathlib.Path(sysconfig.get_path("scripts"))
ROOT = pathlib.Path(__file__).resolve().parents[2]  # of the repository
PACKAGES = pathlib.Path(sysconfig.get_path("purelib"))


class Failed(Exception):
    """Something around the programs does not work."""


# What a program did.
@dataclasses.dataclass
class Outcome:
    code: int
    text: str  # standard output and error, made plain


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


class Side:
    """A server, the original or a node, and a directory in which programs work with it."""

    def __init__(self, name, work):
        self.name = name
        self.work = work / name
        self.work.mkdir()
        (self.work / "test.txt").write_bytes(steps.TEST_FILE)
        self.home = work / (name + "-home")
        self.home.mkdir()
        self.process = None
        self.port = None
        self.site = None
        self.log = open(work / (name + ".log"), "ab")

    def environment(self):
        keep = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "LC_ALL", "TMPDIR", "GOCOVERDIR")}
        keep["PATH"] = f"{BIN}{os.pathsep}{keep.get('PATH', os.defpath)}"
        return {**keep, "HOME": str(self.home), "TZ": "UTC", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}

    def launch(self, command, **more):
        self.process = subprocess.Popen(command, cwd=self.work, env=self.environment(), stdin=subprocess.DEVNULL, stderr=self.log,
                                        start_new_session=True, **more)

    def stop(self):
        if self.process is None:
            return
        process, self.process = self.process, None
        # The original starts processes of its own; all are in the group that launch made.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)

    def plain(self, text, more):
        """Replaces what differs by nature: site, connection, version, session keys, times of files, speeds."""
        text = text.replace("\r", "")
        if self.site:
            text = text.replace(self.site, "SITE")
        for pattern, by in (
            (r"(?<='SITE', ')\d+(?=')", "CONNECTION"),
            (r"(?<='Bye', ')\d+(?=')", "CONNECTION"),
            (r"\['OK', '1\.\d\.\d', 'SITE'", "['OK', 'VERSION', 'SITE'"),
            (r"'pyvserv 1\.\d\.\d ready', '\d+'", "'pyvserv VERSION ready', 'CONNECTION'"),
            (r"b'[A-Za-z0-9+/]{12}' \.\.\.", "KEY ..."),
            (r"b'[A-Za-z0-9+/]{171}='", "KEY"),
            (r"(-----BEGIN PUBLIC ECC-----\n)[^-]+", r"\1KEY\n"),
            (r"(?m)^([-d](?:[-r][-w][-xsStT]){3} .*) \d{4}-\d\d-\d\d \d\d:\d\d:\d\d$", r"\1 TIME"),
            (r"\d+\.\d+ kbytes/sec", "N kbytes/sec"),
            (r"\d+\.\d+ms", "Nms"),
            *more,
        ):
            text = re.sub(pattern, by, text)
        return text

    def run(self, command, stdin, more):
        try:
            done = subprocess.run(["timeout", str(PATIENCE), *command], cwd=self.work, env=self.environment(), input=stdin.encode(),
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE + 5, check=False)
        except subprocess.TimeoutExpired:
            return Outcome(124, "(it hangs)")
        return Outcome(done.returncode, self.plain(done.stdout.decode("utf-8", "backslashreplace"), more))


def wait_for(port, process):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Failed(f"the server ended with {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as conn:
            conn.settimeout(5)
            if conn.recv(2):
                return
        time.sleep(0.1)
    raise Failed(f"nobody listens on port {port}")


class Original(Side):
    def __init__(self, work):
        super().__init__("original", work)
        self.root = self.home / "pyvserver"

    def start(self, production=False):
        with socket.socket() as s:  # a port that is free; the original cannot choose one
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.launch([BIN / "python", PACKAGES / "pyvserver" / "pyvserv.py", "-p", str(self.port), "-r", str(self.root),
                     *(["-P"] if production else [])], stdout=self.log)
        wait_for(self.port, self.process)
        self.site = re.search(r"[0-9a-f]{8}-[0-9a-f-]{27}", (self.root / "pyservid.init").read_text())[0]


class Node(Side):
    def __init__(self, work, pyvnode):
        super().__init__("node", work)
        self.data = self.home / "data"
        self.pyvnode = pyvnode

    def start(self, production=False):
        self.launch([self.pyvnode, "--quiet", "--format", "json", "--data", self.data, "run", "--listen", "/ip4/127.0.0.1/tcp/0",
                     "--legacy-listen", "127.0.0.1:0", "--legacy-mode", "production" if production else "development"],
                    stdout=subprocess.PIPE)
        line = self.process.stdout.readline()
        if not line:
            raise Failed("the node does not start")
        self.port = int(json.loads(line)["legacy"].rpartition(":")[2])
        self.site = re.search(r"[0-9a-f]{8}-[0-9a-f-]{27}", (self.data / "legacy" / "pyservid.init").read_text())[0]

    def do(self, *args, stdin=""):
        """Runs pyvnode on the node's data directory."""
        done = subprocess.run(["timeout", str(PATIENCE), self.pyvnode, "--quiet", "--data", self.data, *map(str, args)], cwd=self.work,
                              env=self.environment(), input=stdin, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if done.returncode != 0:
            raise Failed(f"pyvnode {' '.join(map(str, args))}: {done.stdout}")
        return done.stdout


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


class Report:
    def __init__(self, show):
        self.show = show
        self.done = []  # (step, node's outcome, original's outcome)
        self.failures = 0
        self.since = time.monotonic()

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
    return len(tested)


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
            run_all(report, original, node)
        except Failed as failed:
            report.line(False, "interop", "all steps", str(failed))
        finally:
            for side in (original, node):
                side.stop()
        if report.failures:
            for side in (original, node):
                tail = (work / (side.name + ".log")).read_text(errors="replace").splitlines()[-20:]
                print(f"\nlast lines of the log of the {side.name}:", *tail, sep="\n  ")
    programs = {step.program.partition(".")[0] for step, _, _ in report.done}
    print(f"\n{len(programs)} programs in {len(report.done)} steps, {report.failures} not as expected, in {time.monotonic() - began:.0f} s")
    return 1 if report.failures else 0


def run_all(report, original, node):
    files = {**installed(), "pyvnode": [node.pyvnode]}

    report.heading("Every program that is installed is here:")
    known = {step.program.partition(".")[0] for part in steps.ALL for step in part}
    wanted = {name for name in files if name.startswith("pyvcli_")} | {"pyvp2p", "pyvgenkey", "pyvgenkeys"}
    report.line(wanted <= known, f"{len(wanted)} programs: pyvcli_*, pyvp2p, the key tools", "a step for each",
                "that" if wanted <= known else f"none for {', '.join(sorted(wanted - known))}")
    other = [name for name in wanted if not same_program(files[name])]
    report.line(not other, "programs that are installed in two places", "the same bytes", "that" if not other else f"they differ: {', '.join(other)}")

    report.heading("Programs with windows:")
    more = {"original": {"root": original.root}, "node": {"root": node.data / "legacy"}}
    run_steps(report, steps.WINDOWS, (node,), files, more)

    report.heading("Keys. The node gets those that the original's key tools make, the original server those that pyvnode makes:")
    node.do("init", "--name", "interop")
    run_steps(report, steps.KEYS, (node,), files, more)
    made = sorted((node.data / "legacy" / "private").glob("*.pem"))
    report.line(len(made) == 3, "the node's pool", "3 keys", f"{len(made)} keys")
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
    # Replication between the two, in both directions, belongs here once a node replicates to original servers.
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

    tested = self_test(report)
    report.heading("Self-test:")
    report.line(True, f"one expectation broken for each of {tested} programs", "all noticed", "that")


if __name__ == "__main__":
    sys.exit(main())
