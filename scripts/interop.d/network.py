"""Replication between original servers and nodes: a network of two nodes, with an original server beside each.

    A  <->  one  <->  two  <->  B

The original's replicator pushes from A to one and from B to two, in the way it does to another original server; one pushes to
A and two to B; one and two are nodes of one network. What is put at any of the four must come to the other three, once,
also when A was down and two was killed meanwhile.
"""

import json
import re
import time

from servers import Node, Original, Replicator, Session, make_vote, read_record, wait_until

GONE_BY = 8  # seconds; the original's replicator does not try an older record again for hours
AHEAD = 20  # seconds that stamps are ahead, so that no slow machine makes the replicator give up
FROM_A, FROM_ONE, FROM_TWO, FROM_B = "put at A", "put at one", "put at two", "put at B"
OLD, MEANWHILE_ONE, MEANWHILE_B, LATE = "old, put at A", "put at one meanwhile", "put at B meanwhile", "put at B afterwards"

SAVED = ["OK", "Blockchain data added."]


class Network:
    def __init__(self, work, pyvnode):
        self.servers = {"A": Original(work, "A", keeps_port=True), "one": Node(work, pyvnode, "one"),
                        "two": Node(work, pyvnode, "two"), "B": Original(work, "B")}
        self.replicators = {name: Replicator(work, self.servers[name]) for name in ("A", "B")}
        self.sessions = {}
        self.headers = {}  # what records are called here -> header

    def close(self):
        for side in (*self.replicators.values(), *self.servers.values()):
            side.stop()

    def host(self, name):
        return f"127.0.0.1:{self.servers[name].port}"

    def start_original(self, name, first=False):
        self.servers[name].start()
        self.sessions[name] = Session(self.servers[name], first=first)
        self.sessions[name].ask("throt", "off")
        self.replicators[name].start()

    def stop_original(self, name):
        self.sessions.pop(name).close()
        self.replicators[name].stop()
        self.servers[name].stop()

    def start_node(self, name):
        self.servers[name].start("--legacy-throttle=false", "--legacy-password-file", str(self.servers[name].work / "1234"))
        self.sessions[name] = Session(self.servers[name], "boss", "secret")

    def found(self):
        """Starts all. The original's replicator logs in as admin with 1234; at a node, that is a restricted account."""
        one, two = self.servers["one"], self.servers["two"]
        member = json.loads(two.do("--format", "json", "identity", "--create"))["origin"]
        one.do("network", "create", "--name", "interop", "--member", member)
        for name, node in (("one", one), ("two", two)):
            if node is two:
                two.do("network", "join", one.data / "genesis.json", one.status["listen"][0])
            for user, password, *options in (("admin", "1234", "--replicator", "--from", "127.0.0.1/32"), ("boss", "secret", "--admin")):
                file = node.work / password
                file.write_text(password)
                file.chmod(0o600)
                node.do("user", "add", user, *options, "--password-file", file)
            self.start_node(name)
        for name in "A", "B":
            one.do("legacy", "keygen", "--dir", self.servers[name].root)
            self.start_original(name, first=True)
        for name, neighbour in (("A", "one"), ("one", "A"), ("two", "B"), ("B", "two")):
            Session.must(self.sessions[name].ask("ihost", "add", self.host(neighbour)))
        # They look what the originals have, and then not for half a minute: what is put at A and B first comes from the replicators.
        wait_until("both nodes to reach A and B", lambda: all(self.replication(name).get("state") == "good" for name in ("one", "two")))
        wait_until("both nodes to write", lambda: all(self.status(name)["signing"] == "ready" for name in ("one", "two")))

    def status(self, name):
        return json.loads(self.servers[name].do("--format", "json", "status"))

    def put(self, name, what, ahead):
        vote = make_vote(what, ahead)
        self.headers[what] = vote.datax["header"]
        return self.sessions[name].ask("rput", "vote", vote.datax)[:2]

    def replicated(self, what):
        """How often a record was sent on before it came to each server, by what that says; None where it is not."""
        found = {}
        for name, session in self.sessions.items():
            answer = session.ask("rget", "vote", self.headers[what])
            found[name] = read_record(answer[3][0][1]).datax["Replicated"] if answer[0] == "OK" and answer[1] == 1 else None
        return found

    def spread(self, what):
        """The same, as soon as all that run have it."""
        wait_until(f"the record {what!r} at all servers", lambda: None not in self.replicated(what).values())
        return self.replicated(what)

    def holds(self, name):
        """What a server has, position by position, by what records are called here."""
        names = {header: what for what, header in self.headers.items()}
        session = self.sessions[name]
        size = session.ask("rsize", "vote")[1]
        return sorted(names[session.ask("rabs", "vote", str(position))[3][0][0].decode()] for position in range(size))

    def offered(self, name):
        """What an original's replicator did, by what records are called here. Tries in a row without a connection count as one."""
        names = {header: what for what, header in self.headers.items()}
        tries = {}
        for host, header, outcome in re.findall(r"Attempt: (\S+) vote (\S+)\n(Success|Cannot Connect|.*Duplicate block|.*)", self.replicators[name].text()):
            done = tries.setdefault(names[header], [])
            outcome = "Duplicate" if "Duplicate" in outcome else outcome
            if done[-1:] != ["Cannot Connect"] or outcome != "Cannot Connect":
                done.append(outcome)
        return tries

    def idle(self, name):
        """Whether an original's replicator has nothing to do. What is put before, it does not send: it keeps one state for each host."""
        chain = self.servers[name].root / "chain" / "vote"
        state, requests = (chain / file for file in ("rstate.pydb", "replic.pydb"))
        return requests.exists() and b"s5 '00000' " not in requests.read_bytes() and state.exists() and b"RECB" not in state.read_bytes()

    def replication(self, name):
        """What a node says of its original server; it has none in the first second after ihost."""
        status = json.loads(self.servers[name].do("--format", "json", "legacy", "replication") or "{}")
        return {k: v for k, v in status.items() if k not in ("host", "why", "failing_since")}


def counts(**more):
    """What a node must say of its original server."""
    return {"state": "good", "behind": 0, "refused": 0, "sent": 0, "held": 0, "not_sent": 0, "given_up": 0, "taken": 0, "not_taken": 0, **more}


def run(report, work, pyvnode):
    network = Network(work, pyvnode)
    try:
        network.found()
        calm(report, network)
        trouble(report, network)
        at_last(report, network)
    finally:
        network.close()


def calm(report, network):
    report.heading("Replication in both directions: A <-> one <-> two <-> B, two originals with their replicators and two nodes:")
    for what, name, program, replicated in (
        (FROM_A, "A", "pyvreplic", {"one": 1, "two": 1, "A": 0, "B": 1}),  # one hop to one, none from there to two, one to B
        (FROM_B, "B", "pyvreplic", {"one": 1, "two": 1, "A": 1, "B": 0}),
        (FROM_ONE, "one", "pyvnode", {"one": 0, "two": 1, "A": 1, "B": 1}),
        (FROM_TWO, "two", "pyvnode", {"one": 1, "two": 0, "A": 1, "B": 1}),
    ):
        report.check("pyvserv" if name in "AB" else "pyvnode", f"a record is put at {name}", SAVED, network.put(name, what, AHEAD))
        report.check(program, "it comes to all four, with how often it was sent on", replicated, network.spread(what))
        for original in "A", "B":
            wait_until(f"the replicator of {original}", lambda: network.idle(original))


def trouble(report, network):
    report.heading("The same, while A is down for a while and two is killed:")
    log = network.servers["A"].root / "log" / "pyvreplic.log"
    report.check("pyvserv", "a record with a stamp of last week is put at A", SAVED, network.put("A", OLD, -7 * 24 * 3600))
    given_up = f"Giving up: {network.host('one')} "
    wait_until("the replicator of A to give up", lambda: given_up in log.read_text())
    report.check("pyvreplic", "it does not try that one", None, network.offered("A").get(OLD), why="it goes by stamps, not by when a record came")
    network.stop_original("A")

    kept = network.servers["two"].data / "legacy" / "replication.json"
    wait_until("two to keep how far it has come", lambda: json.loads(kept.read_text())[network.host("B")]["sent"] == 3)
    network.sessions.pop("two")
    network.servers["two"].kill()

    report.check("pyvnode", "a record is put at one", SAVED, network.put("one", MEANWHILE_ONE, 0))
    report.check("pyvserv", "a record is put at B", SAVED, network.put("B", MEANWHILE_B, 0))
    time.sleep(GONE_BY)
    report.check("pyvreplic", "that one gets nowhere", ["Cannot Connect"], network.offered("B").get(MEANWHILE_B),
                 why="it is tried for six seconds, and then when its age is a multiple of four hours")
    report.check("pyvnode", "who has the first meanwhile", {"one": 0, "B": None}, network.replicated(MEANWHILE_ONE))
    report.check("pyvserv", "who has the second", {"one": None, "B": 0}, network.replicated(MEANWHILE_B))

    network.start_node("two")
    report.check("pyvnode", "two is back: it sends B the first", {"one": 0, "two": 1, "B": 1}, network.spread(MEANWHILE_ONE))
    report.check("pyvnode", "and fetches from B the second", {"one": 1, "two": 1, "B": 0}, network.spread(MEANWHILE_B))
    report.check("pyvserv", "another is put at B, whose replicator still waits with the one before", SAVED, network.put("B", LATE, AHEAD))
    network.start_original("A")
    report.check("pyvnode", "A is back: it gets the first", {"one": 0, "two": 1, "A": 1, "B": 1}, network.spread(MEANWHILE_ONE))
    report.check("pyvnode", "and the second", {"one": 1, "two": 1, "A": 1, "B": 0}, network.spread(MEANWHILE_B))
    report.check("pyvnode", "and one fetches what the replicator of A gave up", {"one": 1, "two": 1, "A": 0, "B": 1}, network.spread(OLD))
    report.check("pyvnode", "two fetches the one that the replicator of B passes over", {"one": 1, "two": 1, "A": 1, "B": 0}, network.spread(LATE),
                 why="the program itself is broken: it keeps one state for each host, and while that is of one record, no other is sent there")


def received(status):
    """How many entries came to a node from the other: new ones, and others."""
    ways = status["received"].values()
    return sum(way["new"] for way in ways), sum(way["held"] for way in ways)


def at_last(report, network):
    report.heading("At last. Nothing was taken twice, sent twice by a node, or sent back by one, and nothing goes round:")
    time.sleep(GONE_BY)  # whatever would still be sent is sent by then
    everything = sorted(network.headers)
    for name in network.servers:
        report.check("pyvserv" if name in "AB" else "pyvnode", f"what {name} has, by position", everything, network.holds(name))
    echoes = {FROM_ONE: ["Duplicate"], FROM_TWO: ["Duplicate"]}  # the original also sends back what it was sent
    from_a = network.offered("A")
    back = from_a.pop(LATE, ["Duplicate"])  # whether it sends that one back too depends on how soon two fetched it
    report.check("pyvreplic", "from A in all, each once", {FROM_A: ["Success"], FROM_B: ["Duplicate"], **echoes}, from_a)
    report.check("pyvreplic", "the last one, if it came early enough for A to send it back", ["Duplicate"], back)
    report.check("pyvreplic", "from B in all, each once", {FROM_B: ["Success"], FROM_A: ["Duplicate"], **echoes, MEANWHILE_B: ["Cannot Connect"]},
                 network.offered("B"))
    report.check("pyvnode", "one and A", counts(sent=6, not_sent=2, taken=1), network.replication("one"))  # not sent: what came from there
    report.check("pyvnode", "two and B", counts(sent=5, not_sent=3, taken=2), network.replication("two"))
    for name in "A", "B":
        for what in "hash", "proof":
            report.check("pyvserv", f"rcheck {what} of {name}", ["OK", "No errors.", what, len(everything), "total"], network.sessions[name].ask("rcheck", "vote", what))
    one, two = (network.status(name) for name in ("one", "two"))
    report.check("pyvnode", "entries of one and two, each record signed once", [len(everything)] * 2, [one["entries"], two["entries"]])
    report.check("pyvnode", "entries that came to one from two: what was put there and at B, each once", (4, 0), received(one))
    report.check("pyvnode", "and to two from one since it is back: what was put meanwhile, and what one fetched from A", (2, 0), received(two))
    report.check("pyvnode", "both hold the same", one["digest"], two["digest"])
