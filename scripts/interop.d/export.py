"""The original server serves what pyvnode imported from it and exported again.

It gets the data directory that an original wrote (1,001 votes) and changes it: a record put, a host added, another added and
deleted. Pyvnode imports that and exports it, and an original server on the export is asked for everything.
"""

import json
import pathlib
import tarfile

from servers import ROOT, Node, Original, Session, make_vote, read_record

RECORDS = 1002
SITE = "ffafe71d-1a1a-40f3-aea9-d28e3199474c"


def run(report, work, pyvnode):
    report.heading("A data directory of the original, imported and exported again, with an original server on the export:")
    source = Original(work, "source", work / "source-root")
    target = Original(work, "target", work / "target-root")
    node = Node(work, pyvnode, "between")
    with tarfile.open(ROOT / "legacy" / "testdata" / "dataroot.tar.gz") as archive:
        archive.extractall(source.root)

    try:
        source.start()
        session = Session(source)
        report.check("pyvserv", "a record is put at the source", "OK", session.ask("rput", "vote", make_vote("before").datax)[0])
        for words in ("add", "192.0.2.1:6666"), ("add", "192.0.2.2:6666"), ("del", "192.0.2.1:6666"):
            report.check("pyvserv", f"ihost {words[0]}", "OK", session.ask("ihost", *words)[0])
        session.close()
        source.stop()
        node.do("init")
        node.do("legacy", "check", source.root)
        node.do("legacy", "import", source.root)
        node.do("audit")
        node.do("legacy", "export", target.root)
        node.do("legacy", "check", target.root)
        for name in "initial.pydb", "initial.pidx", "initial.hash.id":
            name = pathlib.Path("chain/vote") / name
            report.check("pyvnode", f"{name} is as it was", True, (source.root / name).read_bytes() == (target.root / name).read_bytes())
        target.start()
        session = Session(target)
        ask_for_all(report, session.ask)
        report.check("pyvserv", "after a new record, rcheck proof", ["OK", "No errors.", "proof", RECORDS + 1, "total"],
                     session.ask("rput", "vote", make_vote("after").datax)[0] == "OK" and session.ask("rcheck", "vote", "proof"))
        session.close()
        target.stop()
        node.do("legacy", "check", target.root)
        node.do("legacy", "import", target.root)
        audit = json.loads(node.do("--format", "json", "audit").splitlines()[-1])
        report.check("pyvnode", "entries, after the new one was imported too", RECORDS + 1, audit["entries"])
    finally:
        for side in source, target:
            side.stop()


def ask_for_all(report, ask):
    report.check("pyvserv", "rsize", ["OK", RECORDS, "records"], ask("rsize", "vote"))
    for what in "hash", "proof", "data":
        report.check("pyvserv", f"rcheck {what}", ["OK", "No errors.", what, RECORDS, "total"], ask("rcheck", "vote", what))
    sound = set()
    for position in range(RECORDS):
        [header, packed] = ask("rabs", "vote", str(position))[3][0]
        answer = ask("rget", "vote", header.decode())
        record = read_record(packed)
        if answer[0] == "OK" and answer[3][0][1] == packed and record.checkhash() and record.checkpow():
            sound.add(header)
    report.check("pyvserv", "records that rabs and rget show, and that are sound", RECORDS, len(sound))
    report.check("pyvserv", "ihost list", ["OK", ["192.0.2.2:6666"]], ask("ihost", "list"))
    report.check("pyvserv", "ls", ["OK", "test.txt"], ask("ls"))
    report.check("pyvserv", "the site's ID", SITE, ask("id")[1])
