"""The servers that programs are run with: originals and nodes."""

import contextlib
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
import time

TEST_FILE = b"A file that goes up and comes down again.\n" * 300
PATIENCE = 60  # seconds that one program may take, and that something may need to happen
BIN = pathlib.Path(sysconfig.get_path("scripts"))
ROOT = pathlib.Path(__file__).resolve().parents[2]  # of the repository
PACKAGES = pathlib.Path(sysconfig.get_path("purelib"))
sys.path[:0] = [str(PACKAGES / name) for name in ("pyvcommon", "pyvserver", "pyvclient")]  # as the original's programs have it

from pyvcommon import pyclisup, pyvhash  # noqa: E402
import pyvpacker  # noqa: E402


class Failed(Exception):
    """Something around the programs does not work."""


# What a program did.
@dataclasses.dataclass
class Outcome:
    code: int
    text: str  # standard output and error, made plain


class Side:
    """A server, the original or a node, and a directory in which programs work with it."""

    def __init__(self, name, work):
        self.name = name
        self.work = work / name
        self.work.mkdir()
        (self.work / "test.txt").write_bytes(TEST_FILE)
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
        # The original starts processes of its own, not all of which heed the first signal; all are in the group that launch made.
        for how in signal.SIGTERM, signal.SIGKILL:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, how)
            with contextlib.suppress(subprocess.TimeoutExpired):
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


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_until(what, done):
    """Asks again and again until something is done."""
    deadline = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > deadline:
            raise Failed(f"after {PATIENCE} s, still waiting for {what}")
        time.sleep(0.1)


class Original(Side):
    # Lets it take its port again when it is started again: without, it could not for a minute.
    KEEPING_PORT = ("import os, runpy, socketserver, sys; socketserver.TCPServer.allow_reuse_address = True; "
                    "del sys.argv[0]; sys.path[0] = os.path.dirname(sys.argv[0]); runpy.run_path(sys.argv[0], run_name='__main__')")

    def __init__(self, work, name="original", root=None, keeps_port=False):
        super().__init__(name, work)
        self.keeps_port = keeps_port
        self.root = root or self.home / "pyvserver"

    def start(self, production=False):
        if not (self.port and self.keeps_port):
            self.port = free_port()  # the original cannot choose one
        self.launch([BIN / "python", *(["-c", self.KEEPING_PORT] if self.keeps_port else []), PACKAGES / "pyvserver" / "pyvserv.py", "-p", str(self.port),
                     "-r", str(self.root), *(["-P"] if production else [])], stdout=self.log)
        wait_for(self.port, self.process)
        self.site = re.search(r"[0-9a-f]{8}-[0-9a-f-]{27}", (self.root / "pyservid.init").read_text())[0]


class Replicator(Side):
    """The original's replicator, which sends on what is put at an original server."""

    def __init__(self, work, server):
        super().__init__(server.name + "-replicator", work)
        self.server = server
        self.said = self.work / "said"

    def start(self):
        with open(self.said, "ab") as said:
            self.launch([BIN / "pyvreplic", "-r", str(self.server.root)], stdout=said)

    def text(self):
        return self.said.read_text(errors="replace")


class Node(Side):
    def __init__(self, work, pyvnode, name="node"):
        super().__init__(name, work)
        self.data = self.home / "data"
        self.pyvnode = pyvnode

    def start(self, *options, production=False):
        self.launch([self.pyvnode, "--quiet", "--format", "json", "--data", self.data, "run", "--listen", "/ip4/127.0.0.1/tcp/0",
                     "--legacy-listen", f"127.0.0.1:{self.port or 0}", "--legacy-mode", "production" if production else "development", *options],
                    stdout=subprocess.PIPE)
        line = self.process.stdout.readline()
        if not line:
            raise Failed("the node does not start")
        self.status = json.loads(line)
        self.port = int(self.status["legacy"].rpartition(":")[2])
        self.site = re.search(r"[0-9a-f]{8}-[0-9a-f-]{27}", (self.data / "legacy" / "pyservid.init").read_text())[0]

    def kill(self):
        """Ends it as a power cut would."""
        process, self.process = self.process, None
        process.kill()
        process.wait()

    def do(self, *args, stdin=""):
        """Runs pyvnode on the node's data directory."""
        done = subprocess.run(["timeout", str(PATIENCE), self.pyvnode, "--quiet", "--data", self.data, *map(str, args)], cwd=self.work,
                              env=self.environment(), input=stdin, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if done.returncode != 0:
            raise Failed(f"pyvnode {' '.join(map(str, args))}: {done.stdout}")
        return done.stdout




class Session:
    """A session with a server, by the original's own client library."""

    def __init__(self, server, user="admin", password="1234", first=False):
        self.conf = type("Conf", (), {"sess_key": "", "quiet": True, "verbose": 0, "pgdebug": 0})()
        self.client = pyclisup.CliSup()
        self.client.verbose = self.client.pgdebug = 0
        self.client.connect("127.0.0.1", server.port)
        self.must(self.client.start_session(self.conf))
        if first:  # nobody has an account yet
            self.must(self.ask("uini", user, password))
        self.must(self.client.login(user, password, self.conf))
        self.must(self.ask("tout", "600"))

    @staticmethod
    def must(answer):
        if answer[0] != "OK" and answer[0][0] != "OK":  # of tout, the reply is inside another
            raise Failed(f"no session: {answer}")
        return answer

    def ask(self, *words):
        return self.client.client(list(words), self.conf.sess_key)

    def close(self):
        with contextlib.suppress(OSError):
            self.ask("quit")
            self.client.close()


def make_vote(text, ahead=0):
    """A record of the original's own making, with a stamp so many seconds ahead of time."""
    vote = pyvhash.BcData()
    vote.addpayload({"vote": text})
    vote.datax["stamp"] = str(time.time() + ahead)
    vote.hasharr()
    while not vote.powarr():
        pass
    return vote


def read_record(packed):
    return pyvhash.BcData(pyvpacker.packbin().decode_data(packed)[0])
