"""The original's server, and its client library as a client of it or of a node. Needs a Python that has pyvserv."""

import contextlib
import pathlib
import socket
import subprocess
import sys
import sysconfig
import time

PACKAGES = pathlib.Path(sysconfig.get_path("purelib"))
ROOT = pathlib.Path(__file__).resolve().parents[2]  # of the repository
sys.path[:0] = [str(PACKAGES / name) for name in ("pyvcommon", "pyvserver", "pyvclient")]  # as its programs have it

from pyvcommon import pyclisup  # noqa: E402

PATIENCE = 60  # seconds to wait for a server


def free_port():
    """A port of this machine that is free; the original cannot choose one itself."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.contextmanager
def serving(port, command, **more):
    """A server, from the moment that it listens on a port until the end of the block."""
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **more)
    try:
        for _ in range(PATIENCE * 10):
            if server.poll() is not None:
                sys.exit(f"{command[0]} ended with {server.returncode}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.1)
        yield port
    finally:
        server.terminate()
        server.wait(PATIENCE)


def original(root, *options):
    """An original server on a data directory; see serving. What it prints is of no use."""
    port = free_port()
    return serving(port, [sys.executable, PACKAGES / "pyvserver" / "pyvserv.py", "-p", str(port), "-r", root, *options],
                   stderr=subprocess.DEVNULL)


class Client(pyclisup.CliSup):
    """A client of the original's library."""

    def __init__(self, port):
        super().__init__()
        self.verbose = self.pgdebug = 0
        self.conf = type("Conf", (), {"sess_key": "", "quiet": True, "verbose": 0, "pgdebug": 0})()
        self.greeting = self.connect("127.0.0.1", port)

    def ask(self, *words):
        return self.client(list(words), self.conf.sess_key)

    def must(self, *words):
        """Asks for something that has to be granted."""
        answer = self.ask(*words)
        if answer[0] != "OK":
            sys.exit(f"{words[0]}: {answer}")
        return answer

    def begin(self, user="admin", password="1234"):
        """Starts a session and logs in; returns this client."""
        for answer in self.start_session(self.conf), self.login(user, password, self.conf):
            if answer[0] != "OK":
                sys.exit(f"no session: {answer}")
        return self

    def end(self):
        """Says goodbye, and closes the connection, which the library leaves open until its own timer notices."""
        answer = self.ask("quit")
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.close()
        self.myhandler.rfile.close()
        self.myhandler.wfile.close()
        return answer


@contextlib.contextmanager
def session(port):
    """A session as administrator, as a function that asks."""
    client = Client(port).begin()
    yield client.ask
    client.end()
