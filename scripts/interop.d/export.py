"""The original server serves what pyvnode imported from it and exported again.

    python export.py PYVNODE

Run it with a Python that has the original server (pyvserv) installed. It takes the data directory that the original
wrote (1,001 votes), lets the original change it (a record put, a host added, another added and deleted), imports and
exports it with pyvnode, and asks an original server on the export for everything, with the original's own library.
"""

import contextlib
import pathlib
import subprocess
import sys
import tarfile
import tempfile

from library import ROOT, original, session

from pyvcommon import pyvhash
import pyvpacker

failures = 0


def must(what, answer, good):
    global failures
    failures += not good
    print("ok  " if good else "FAIL", what, str(answer)[:120])


@contextlib.contextmanager
def asking(root):
    """An original server on a data directory, as a function that asks it as its administrator."""
    with original(root) as port, session(port) as ask:
        yield ask


def put(ask, text):
    """Puts a vote of the original's own making."""
    vote = pyvhash.BcData()
    vote.addpayload({"vote": text})
    vote.hasharr()
    while not vote.powarr():
        pass
    return ask("rput", "vote", vote.datax)


def ask_for_all(ask, count):
    answer = ask("rsize", "vote")
    must("rsize", answer, answer[:2] == ["OK", count])
    for what in "hash", "proof", "data":
        answer = ask("rcheck", "vote", what)
        must(f"rcheck {what}", answer, answer == ["OK", "No errors.", what, count, "total"])
    packer, sound = pyvpacker.packbin(), set()
    for position in range(count):
        [header, packed] = ask("rabs", "vote", str(position))[3][0]
        answer = ask("rget", "vote", header.decode())
        record = pyvhash.BcData(packer.decode_data(packed)[0])
        if answer[0] == "OK" and answer[3][0][1] == packed and record.checkhash() and record.checkpow():
            sound.add(header)
    must("rabs and rget of every record", f"{len(sound)} of {count} sound", len(sound) == count)


def main():
    [program] = sys.argv[1:]
    program = pathlib.Path(program).resolve()

    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        source, target = work / "source", work / "target"
        with tarfile.open(ROOT / "legacy" / "testdata" / "dataroot.tar.gz") as archive:
            archive.extractall(source)

        def pyvnode(*words):
            done = subprocess.run([program, "--quiet", "--data", work / "node", *words], capture_output=True, text=True)
            must(" ".join(map(str, words[:2])), (done.stdout + done.stderr).strip().splitlines()[-1:], done.returncode == 0)
            return done.stdout

        with asking(source) as ask:
            answer = put(ask, "through the original")
            must("rput", answer, answer[0] == "OK")
            for words in ("add", "192.0.2.1:6666"), ("add", "192.0.2.2:6666"), ("del", "192.0.2.1:6666"):
                answer = ask("ihost", *words)
                must("ihost", answer, answer[0] == "OK")
        pyvnode("init")
        pyvnode("legacy", "check", source)
        pyvnode("legacy", "import", source)
        pyvnode("audit")
        pyvnode("legacy", "export", target)
        pyvnode("legacy", "check", target)
        for name in "initial.pydb", "initial.pidx", "initial.hash.id":
            name = pathlib.Path("chain/vote") / name
            must(f"{name} as it was", "", (source / name).read_bytes() == (target / name).read_bytes())
        with asking(target) as ask:
            ask_for_all(ask, 1002)
            answer = ask("ihost", "list")
            must("ihost list", answer, answer == ["OK", ["192.0.2.2:6666"]])
            answer = ask("ls")
            must("ls", answer, answer == ["OK", "test.txt"])
            answer = ask("id")
            must("id", answer, answer[1] == "ffafe71d-1a1a-40f3-aea9-d28e3199474c")
            answer = put(ask, "after the export")
            must("rput", answer, answer[0] == "OK")
            answer = ask("rcheck", "vote", "proof")
            must("rcheck proof", answer, answer == ["OK", "No errors.", "proof", 1003, "total"])
        pyvnode("legacy", "check", target)
        pyvnode("legacy", "import", target)
    print("everything as it must be" if not failures else f"{failures} failed")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
