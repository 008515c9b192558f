"""How many questions a node answers in a second, and how many the original server, asked by the same Python client.

    python compare.py PYVNODE

Run it with a Python that has the original server (pyvserv) installed, and with nothing else running. Both servers hold
the same records, made with real proofs of work, their throttle is off, and they are asked in turn for some seconds,
several times; what counts is the median. The client is that of the original's library, once alone and once in several
processes at once. Its own cost is in every figure, and weighs on the faster server; so beside them is the limit of this
client on this machine: the same against a process that answers each frame at once with the frame that the node answered,
without looking at it.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import pathlib
import platform
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from servers import Failed, Node, Original, Session

from pyvcommon import pyclisup, pydata

# Processes that ask, when there are several.
CLIENTS = max(2, os.cpu_count())

# Where processes are made, they get what is here as it is.
processes = multiprocessing.get_context("fork")

# The library's client begins a thread for its timeout with every connection, which then lives for a second. That would
# be measured more than the servers.
pydata.DataHandler.run_tout = lambda self: None


class Connect:
    """Connect, hello, quit: each time anew, and in clear text."""
    name, target = "connect + hello + quit", 5
    turns, clear = 3, True  # frames of a server that the parrot has to learn, and whether they hold for all connections

    def __init__(self, server, headers):
        self.port = server.port

    def once(self):
        client = pyclisup.CliSup()
        client.verbose = client.pgdebug = 0
        client.connect("127.0.0.1", self.port)
        if client.client(["hello"])[:2] != ["OK", "Hello"] or client.client(["quit"])[0] != "OK":
            raise Failed("no hello")
        # The library leaves the connection open until its timer notices.
        with contextlib.suppress(OSError):
            client.sock.shutdown(socket.SHUT_RDWR)
        for end in client.sock, client.myhandler.rfile, client.myhandler.wfile:
            end.close()


class Rget:
    """A record by its header, each time a random one, in one session."""
    name, target = "rget", 10
    turns, clear = 7, False  # greeting, akey, sess, user, pass, tout, rget

    def __init__(self, server, headers):
        self.headers = headers
        self.session = Session(server)

    def once(self):
        header = random.choice(self.headers)
        answer = self.session.ask("rget", "vote", header)
        if answer[0] != "OK" or answer[3][0][0] != header.encode():
            raise Failed(f"not the record: {answer}")


class Rcount:
    """How many records there are between two times, all of them, in one session."""
    name, target = "rcount", 50
    turns, clear = 7, False

    def __init__(self, server, headers):
        self.count = len(headers)
        self.session = Session(server)

    def once(self):
        answer = self.session.ask("rcount", "vote", 0, 4102444800)
        if answer != ["OK", self.count, "records"]:
            raise Failed(f"not the count: {answer}")


class Mill:
    """A process that asks one server again and again, when told to."""

    def __init__(self, question, server, headers):
        self.orders, there = processes.Pipe()
        self.process = processes.Process(target=self.work, args=(question, server, headers, there), daemon=True)
        self.process.start()
        there.close()  # so that it is noticed when the process fails

    @staticmethod
    def work(question, server, headers, orders):
        asking = question(server, headers)
        asking.once()
        orders.send("ready")
        for seconds in iter(orders.recv, None):
            count, since = 0, time.perf_counter()
            while (now := time.perf_counter()) < since + seconds or not count:
                asking.once()
                count += 1
            orders.send(count / (now - since))

    def start(self):
        self.orders.recv()

    def end(self):
        self.orders.send(None)
        self.process.join()


def rate(mills, seconds):
    """Questions that are answered in a second, all together."""
    for mill in mills:
        mill.orders.send(seconds)
    return sum(mill.orders.recv() for mill in mills)


def frame(stream):
    """The next frame of the protocol, with its length; nothing at the end."""
    head = stream.read(2)
    return head and head + stream.read(int.from_bytes(head, "big"))


def parrot(listener, server, turns, clear):
    """Learns from a server what it answers in a connection, and then answers so itself, the last answer for ever."""
    learned = []
    while True:
        client, _ = listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with client, client.makefile("rb") as questions, contextlib.ExitStack() as until_then:
            if len(learned) < turns or not clear:
                teacher = until_then.enter_context(socket.create_connection(("127.0.0.1", server.port)))
                answers = teacher.makefile("rb")
                learned = [frame(answers)]
            client.sendall(learned[0])
            turn = 0
            while question := frame(questions):
                turn = min(turn + 1, turns - 1)
                if turn == len(learned):
                    teacher.sendall(question)
                    learned.append(frame(answers))
                client.sendall(learned[turn])


class Parrot:
    def __init__(self, question, server):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.process = processes.Process(target=parrot, args=(self.listener, server, question.turns, question.clear), daemon=True)
        self.process.start()
        self.listener.close()

    def end(self):
        self.process.terminate()
        self.process.join()


def measure(question, servers, headers, seconds):
    """The rates of one client and of several, each with a server, which may be the same."""
    mills = [Mill(question, server, headers) for server in servers]
    for mill in mills:
        mill.start()
    rates = rate(mills[:1], seconds), rate(mills, seconds)
    for mill in mills:
        mill.end()
    return rates


def measure_limit(question, server, headers, seconds):
    parrots = [Parrot(question, server) for _ in range(CLIENTS)]
    if question is Rget:
        headers = headers[:1]  # a parrot knows one
    rates = measure(question, parrots, headers, seconds)
    for parrot in parrots:
        parrot.end()
    return rates


def records(pyvnode, cache, count):
    """A file with records, which is made once."""
    file = cache / f"compare-{count}.ndjson"
    if not file.exists():
        print(f"making {count} records with their proofs of work", flush=True)
        part = file.with_suffix(f".{os.getpid()}")
        with open(part, "wb") as out:
            subprocess.run([pyvnode, "--quiet", "--data", cache / "none", "mint", "--kind", "vote", "--count", str(count), "vname=Voter", "vprim=can1"],
                           stdout=out, check=True)
        part.rename(file)
    return file


@contextlib.contextmanager
def both(pyvnode, file):
    """An original server and a node with the same records, user and key."""
    with tempfile.TemporaryDirectory(prefix="compare") as work:
        work = pathlib.Path(work)
        node = Node(work, pyvnode)
        node.do("init")
        node.do("put", "--file", file)
        node.do("legacy", "keygen")
        node.do("legacy", "export", work / "root")
        original = Original(work, root=work / "root")
        try:
            for server in original, node:
                server.start()
                session = Session(server, first=True)
                session.must(session.ask("throt", "off"))
                session.close()
            yield original, node
        finally:
            original.stop()
            node.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pyvnode", type=pathlib.Path)
    parser.add_argument("--cache", type=pathlib.Path, default=pathlib.Path(tempfile.gettempdir()), help="where the records are kept")
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=2, help="for which each server is asked at once")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    file = records(options.pyvnode.resolve(), options.cache, options.records)
    with open(file, "rb") as lines:
        headers = [json.loads(line)["record"]["header"] for line in lines]
    all_rates = {}  # by question and number of clients: (original, node, limit), a list each
    with both(options.pyvnode.resolve(), file) as (original, node):
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}, load of the machine {os.getloadavg()[0]:.1f}", flush=True)
            for question in Connect, Rget, Rcount:
                measured = (measure(question, [original] * CLIENTS, headers, options.seconds),
                            measure(question, [node] * CLIENTS, headers, options.seconds),
                            measure_limit(question, node, headers, options.seconds))
                for several in False, True:
                    for rates, new in zip(all_rates.setdefault((question, several), ([], [], [])), measured):
                        rates.append(new[several])
    print(f"\n{options.records} records, {os.cpu_count()} cores, Python {platform.python_version()}; in a second, median of {options.rounds} (least and most)\n")
    print("| what | clients | original | node | ratio | target | limit of this client | node to limit |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    missed = 0
    for (question, several), rates in all_rates.items():
        original_rate, node_rate, limit = map(statistics.median, rates)
        ratio = node_rate / original_rate
        missed += ratio < question.target
        cells = [f"{statistics.median(each):,.1f} ({min(each):,.1f}–{max(each):,.1f})" for each in rates]
        print(f"| {question.name} | {CLIENTS if several else 1} | {cells[0]} | {cells[1]} | {ratio:,.1f} | ≥ {question.target} | {cells[2]} | {node_rate / limit:.2f} |")
    print("\nall targets met" if not missed else f"\n{missed} targets MISSED")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
