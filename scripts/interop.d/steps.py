"""What each program of the original server is run for, and what it must say."""

import dataclasses
import pathlib
import shlex

from servers import TEST_FILE


@dataclasses.dataclass(frozen=True)
class Step:
    program: str  # a command; with .py the script, where the command itself is broken
    args: str  # {port}, {other}: ports of this server and of the other one; {root}: its data directory
    says: tuple  # texts that must come in this order, in what Side.plain leaves of the output
    stdin: str = ""  # {code}: a valid code of the second factor
    code: int = 0  # exit code
    original_says: tuple = None  # where a node does better than the original server, what that says
    why: str = ""  # in which way it does, or what is broken in the program
    slow: bool = False  # it searches a proof of work, which may take longer than the servers wait; so it may try again
    plain: tuple = ()  # pairs of a pattern and a replacement for what differs by nature in this step
    files: dict = dataclasses.field(default_factory=dict, hash=False)  # put into the working directory first
    same: tuple = ()  # two files in the working directory that must be equal afterwards

    def words(self):
        return shlex.split(self.args)


def step(program, args, *says, **more):
    return Step(program, "-p {port} " + args, says, **more)


def broken(program, args, *says, why, **more):
    """A program that does not work with the original server either; it must fail with a node in the same way."""
    return Step(program, args, says, code=more.pop("code", 1), why=f"the program itself is broken: {why}", **more)


FIRST, SECOND = "0f79b774-e612-11f1-a9aa-02fc00000001", "498922f6-e612-11f1-b935-02fc00000001"  # headers of the 1,001 votes

# Records that programs make have headers of their own, and a step that tried again left more of them.
NEW = ((r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", "HEADER"), (r"\b10[0-9]{2}(?=, '(?:records|total)')", "COUNT"))

# The key tools, before the servers start.
KEYS = [
    Step("pyvgenkey", "-m {root}", ("Generated files:", ".pem", ".pub")),
    Step("pyvgenkeys", "-x 2 -m {root}", ("Key 1", ".pem", "Key 2", ".pem")),
]

# Programs with windows. Why they are not run is found by trying.
WINDOWS = [Step(name, "", ("No module named 'gi'",), code=1, why="not applicable: it has windows, and needs GTK with its Python bindings")
           for name in ("pyvballot", "pyvcpanel", "pyvpeople", "pyvservui", "pyvtally", "pyvvote")]

COMMANDS = [
    # Who are you, and sessions.
    step("pyvcli_ping", "", "Server initial: ['OK', 'pyvserv VERSION ready', 'CONNECTION']"),
    step("pyvcli_uini", "", "Are you sure? (y/N)", "Exiting", stdin="n\n"),
    step("pyvcli_uini", "", "Are you sure? (y/N)", "resp ['OK', 'Added initial user', 'admin']", stdin="y\n"),
    step("pyvcli_uini", "-f", "resp ['ERR', "),
    step("pyvcli_throt", "", "['OK', 'Throttle is', 'ON']"),
    step("pyvcli_throt", "-t off", "['OK', 'Throttle turned OFF']"),
    step("pyvcli_throt", "", "['OK', 'Throttle is', 'OFF']"),
    step("pyvcli_hello", "", "hello resp ['OK', 'Hello', 'SITE', 'CONNECTION']"),
    step("pyvcli_hello", "-v", "Server initial:", "hello resp ['OK', 'Hello', 'SITE', 'CONNECTION']", "['OK', 'Bye', 'CONNECTION']"),
    step("pyvcli_ver", "-v", "Version resp: ['OK', 'VERSION', 'SITE', 'CONNECTION']", "Server quit resp: ['OK', 'Bye', 'CONNECTION']"),
    broken("pyvcli_id", "-p {port}", "ValueError: ('Duplicate options on comline.', 'p')", why="it refuses its own table of options"),
    step("pyvcli_gethelp", "", "help resp: ['OK', 'ver', 'id', 'hello'", "'rput'", "'fields']"),
    step("pyvcli_gethelp", "-s fields", "ST_MODE Inode protection mode"),
    step("pyvcli_gethelp", "-s nosuch", "['ERR', 'No such command', 'nosuch']"),
    step("pyvcli_gethelp", "-s rput", "Usage: rput kind record", original_says=("Usage: rcheck kind",), why="the texts of two commands are mixed up there"),
    step("pyvcli_akey", "-s", "Key OK", "-----BEGIN PUBLIC ECC-----", "KEY", "-----END PUBLIC ECC-----"),
    step("pyvcli_sess", "", "Hello Plain: ['OK', 'Hello', ", "Hello Resp: ['OK', 'Hello', ", "Hello2 Resp: ['OK', 'Hello', "),
    step("pyvcli_login", "", "['OK', 'Send pass for', 'admin']", "['OK', 'Authenticated.', 'admin']", "Bye"),
    step("pyvcli_pass", "", "Send pass for", "Authenticated."),
    # Users.
    step("pyvcli_uadd", "", "['OK', 'Added user.', 'peter3']", "['OK', 'Added user.', 'peter2']", "['OK', 'Added user.', 'peter3,comma']",
         "['OK', 'Added user.', 'peter4 space']", "['OK', 'Added admin.', 'admin2']"),
    step("pyvcli_uadd", "", "['ERR', 'Can not add, Duplicate User ', 'peter3']"),
    step("pyvcli_uena", "", "('OK', 'peter2', 'enabled')", "'Out of Sequence command issued'", "('OK', 'peter2', 'disabled')",
         "'this user is temporarily disabled'"),
    step("pyvcli_uchpass", "", "'No such user', 'test_admin'", "'Added admin.', 'test_admin'", "'Pass changed', 'test_user'",
         "'Pass changed', 'test_admin'", "'deleted user', 'test_admin'"),
    step("pyvcli_uman", "", "ulist Response: ['peter3', 'peter3%2ccomma', 'peter4%20space']"),
    step("pyvcli_uman", "-i admin", "ulist Response: ['admin', 'admin2']"),
    step("pyvcli_uman", "-i initial", "ulist Response: ['admin']"),
    step("pyvcli_uman", "-i disabled", "ulist Response: ['peter2']"),
    step("pyvcli_uman", "-i nosuch", "Must specify 'user' or 'admin'"),
    step("pyvcli_uman", "-a -u anna -x secret", "['OK', 'Added user.', 'anna']"),
    step("pyvcli_uman", "-a -m -u boss -x secret", "['OK', 'Added admin.', 'boss']"),
    step("pyvcli_uman", "-e disable -u anna", "('OK', 'anna', 'disabled')"),
    step("pyvcli_uman", "-l anna -s secret", "temporarily disabled", code=1),
    step("pyvcli_uman", "-e enable -u anna", "('OK', 'anna', 'enabled')"),
    step("pyvcli_uman", "-l anna -s secret", "('ERR', 'only admin can view users.', 'ulist')"),
    step("pyvcli_uman", "-l anna -s wrong", "['ERR', 'Bad User or Bad Pass', 'pass']", code=1),
    step("pyvcli_uman", "-c -u boss -x secret -X other", "['OK', 'Pass changed', 'boss']"),
    step("pyvcli_uman", "-l boss -s other -r -u anna", "['OK', 'deleted user', 'anna']"),
    step("pyvcli_udel", "", "['OK', 'deleted user', 'peter3']", "['OK', 'deleted user', 'peter2']", "['OK', 'deleted user', 'peter3,comma']",
         "['OK', 'deleted user', 'peter4 space']", "['OK', 'deleted user', 'admin2']"),
    step("pyvcli_udel", "", "['ERR', 'No such user', 'peter3']"),
    # Files.
    step("pyvcli_mkdir", "", "['OK', 'Made directory:', 'test_dir']"),
    step("pyvcli_lsd", "", "['OK', 'test_dir']", "drwx", "test_dir"),
    step("pyvcli_rmdir", "", "['OK', 'Deleted directory:', 'test_dir']"),
    step("pyvcli_cd", "", "pwd response: ['OK', '/']", "['ERR', 'Directory does not exist', 'test_1']", "['ERR', 'No Access to directory.', '../test_2']"),
    step("pyvcli_fman", "-m test_1", "['OK', 'Made directory:', 'test_1']"),
    step("pyvcli_cd", "", "cd response: ['OK', ", "pwd response: ['OK', '/test_1']",
         "['ERR', 'Directory does not exist', '../test_2']", original_says=("['ERR', 'No Access to directory.', '../test_2']",),
         why="it knows no way back from a directory"),
    step("pyvcli_fman", "-r test_1", "['OK', 'Deleted directory:', 'test_1']"),
    step("pyvcli_file", "", "file response: ['OK', ", "quit response: ['OK', 'Bye'", files={"test.txt_local": TEST_FILE}),
    step("pyvcli_fget", "", "['OK', 'Server sent file', 'test.txt']", files={"test.txt_local": b""}, same=("test.txt", "test.txt_local")),
    step("pyvcli_file", "", "['ERR', 'File exists. Delete first.', 'test.txt']"),
    step("pyvcli_ls", "", "['OK', 'test.txt']", "-rw-r--r-- test.txt                 12600"),
    step("pyvcli_fdel", "", "['OK', 'File deleted', 'test.txt']"),
    step("pyvcli_fget", "", "fget response: ['ERR', "),
    step("pyvcli_fput", "", "['OK', 'Server received file.', 'test.txt']"),
    step("pyvcli_fput", "", "['OK', 'Server received file.', 'test.txt']"),
    step("pyvcli_fdel", "-f test.txt_0", "['OK', 'File deleted', 'test.txt_0']"),
    step("pyvcli_fget", "", "['OK', 'Server sent file', 'test.txt']", same=("test.txt", "test.txt_local")),
    step("pyvcli_fman", "", "ls Resp: ['OK', 'test.txt']"),
    step("pyvcli_fman", "-g", "-rw-r--r-- test.txt                 12600"),
    step("pyvcli_fman", "-a test.txt", "-rw-r--r-- test.txt                 12600"),
    step("pyvcli_fman", "-n test.txt", "['OK', 'Server sent file', 'test.txt']", same=("test.txt", "test.txt_local")),
    step("pyvcli_fman", "-u 'two words.txt'", "['OK', 'Server received file.', 'two words.txt']", files={"two words.txt": b"", "empty": b""}),
    step("pyvcli_fman", "-e 'two words.txt'", "['OK', 'File deleted', 'two words.txt']"),
    step("pyvcli_fman", "-m folder", "['OK', 'Made directory:', 'folder']"),
    step("pyvcli_fman", "-I", "lsd Resp: ['OK', 'folder']"),
    step("pyvcli_fman", "-I -g", "drwxr-xr-x folder"),
    step("pyvcli_fman", "-r folder", "['OK', 'Deleted directory:', 'folder']"),
    step("pyvcli_fman", "-e test.txt", "['OK', 'File deleted', 'test.txt']"),
    step("pyvcli_fman", "-e test.txt", "['ERR', 'No Such File.', 'test.txt']"),
    step("pyvcli_fman", "-l boss -s wrong", "Login failed", code=1),
    step("pyvcli_bigget", "", "['OK', 'Server received file.', 'bigfile']", "['OK', 'Server sent file', 'bigfile']", "Files Compare OK"),
    step("pyvcli_fdel", "-f bigfile", "['OK', 'File deleted', 'bigfile']"),
    # The rest.
    step("pyvcli_qr", "", "['ERR', 'No QR image on server']"),
    step("pyvcli_qr", "-f test.txt", "['OK', 'Written new QR image', 12600]"),
    step("pyvcli_qr", "", "saved to 'qr.png' 12600 bytes", same=("test.txt", "qr.png")),
    broken("pyvcli_ihost", "-p {port} -S", "ImportError: cannot import name 'mainfunct'", why="the command looks for a function that the script lacks"),
    step("pyvcli_ihost.py", "", "['OK', 'Added replication host:port.', 'localhost:5555']"),
    step("pyvcli_ihost.py", "-A localhost:5556", "['OK', 'Added replication host:port.', 'localhost:5556']"),
    step("pyvcli_ihost.py", "-D localhost:5555", "['OK', 'Deleted replication host:port.', 'localhost:5555']"),
    step("pyvcli_ihost.py", "-S", "['OK', ['localhost:5556']]"),
    step("pyvcli_ihost.py", "-D localhost:5556", "['OK', 'Deleted replication host:port.', 'localhost:5556']"),
    step("pyvcli_cli", "-x 'tout 15'", "['OK', 'Timeout set to ', '15']"),
    step("pyvcli_cli", "-x 'ls ../../keys'", "['ERR', ", original_says=(".pub'",), why="users see the whole disk there"),
    step("pyvcli_cli", "", "['OK', 'Hello', ", "fput response: ['OK', 'Server received file.', 'test.txt']", "['OK', 'test.txt']",
         "fget response: ['OK', 'Server sent file', 'test.txt']", "['OK', 'File deleted', 'test.txt']", "['ERR', 'Invalid command issued', 'nosuch']",
         "here too", stdin="hello\nfput test.txt\nls\nfget test.txt\nsess\ndel test.txt\nnosuch\n!echo here too\nquit\n", same=("test.txt", "test.txt_local")),
    step("pyvp2p", "-P {other} 127.0.0.1 127.0.0.1", "Server  rsize response: ['OK', 0, 'records']", "Replicated: 0 record(s)."),
]

# With the same 1,001 records in both.
RECORDS = [
    step("pyvcli_rcount", "-b 2026-11-22", "rsize response: ['OK', 1001, 'records']", "rcount response: ['OK', 1001, 'records']"),
    step("pyvcli_rcount", "-b 2026-11-22+01:14 -i 1", "rcount response: ['OK', 1, 'records']"),
    step("pyvcli_rlist", "-b 2026-11-22+01:14 -i 1", f"rlist response: ['OK', ['{FIRST}']]", "2026-11-22 01:14:26", "Listed 1 records."),
    step("pyvcli_rlist", "-b 2026-11-22", "rcount response: ['OK', 1001, 'records']"),
    step("pyvcli_rget", "-v -b 2026-11-22+01:14 -i 1", "dec: {'header': '" + FIRST, "'Voter 0'", "Listed 1 records."),
    step("pyvcli_rget", "-b 2026-11-22", "Cannot get rlist ['ERR', 'Too many records, narrow date range.', 'vote']"),
    step("pyvcli_rget", f"-r '{FIRST} {SECOND}'", "'Voter 0'", "pay: "),
    step("pyvcli_rabs", "", "rsize response: ['OK', 1001, 'records']", "Last Record:", "'Voter 999'"),
    step("pyvcli_rabs", "-a '3 4 -2'", "aa [b'", "aa [b'", "aa [b'"),
    step("pyvcli_rabs", "-a 5000", "['ERR', 'Record not found.', 5000]"),
    step("pyvcli_rman", "", "'Voter 999'"),
    step("pyvcli_rman", "-z", "rsize response: ['OK', 1001, 'records']"),
    step("pyvcli_rman", "-o -b 2026-11-22 -i 60", "rcount response: ['OK', 0, 'records']"),
    step("pyvcli_rman", "-v -a '0 1 -1'", "dec: {'header': '" + FIRST, "dec: {'header': '" + SECOND, "'Voter 999'", "Listed 3 records."),
    step("pyvcli_rman", f"-r '{FIRST} {SECOND}'", "'Voter 0'", "Listed 2 records."),
    step("pyvcli_rman", "-r nosuch", "['ERR', "),
    broken("pyvcli_rman", "-p {port} -c -b 2026-11-22+01:14 -i 1", "KeyError: 'payload'", why="it looks for \"payload\", and a record has \"PayLoad\""),
    step("pyvcli_rcheck", "", "['OK', 'No errors.', 'proof', 1001, 'total']", "['OK', 'No errors.', 'hash', 1001, 'total']",
         "['OK', 'No errors.', 'data', 1001, 'total']"),
    step("pyvcli_rcheck", "-r 0", "rtest response: ['ERR', 'Invalid command issued', 'rtest']", why="neither server knows the command"),
    broken("pyvp2p", "-p {port} -P {other} -a 127.0.0.1 127.0.0.1", "Server  rsize response: ['OK', 1001, 'records']", "KeyError: 'payload'",
           why="it looks for \"payload\", and a record has \"PayLoad\""),
    # New ones.
    step("pyvcli_rput", "", "resp: ['OK', 'Blockchain data added.', 'HEADER']", slow=True, plain=NEW),
    step("pyvcli_rput", "-n 2", "putrec: OK", "putrec: OK", slow=True, plain=NEW),
    step("pyvcli_rput", "-k " + FIRST, "resp: ['ERR', 'Duplicate header of a record with other content, not saved.', ", slow=True,
         original_says=("resp: ['ERR', 'Duplicate block, not saved.', ",), why="it does not say whether it has that record or another"),
    step("pyvcli_rman", "-u", "rput resp: ['OK', 'Blockchain data added.', 'HEADER']", slow=True, plain=NEW),
    step("pyvcli_rcheck", "", "['OK', 'No errors.', 'proof', COUNT, 'total']", "['OK', 'No errors.', 'hash', COUNT, 'total']",
         "['OK', 'No errors.', 'data', COUNT, 'total']", plain=NEW),
]

def client(options, *says, **more):
    """Our client, which must get the same from both servers."""
    more["files"] = {"password": b"1234\n", "records": FIVE, **more.get("files", {})}
    return Step("pyvnode", f"legacy client 127.0.0.1:{{port}} {options}", says, **more)


LOGIN = "--user admin --password-file password"
VERSION = ((r"1\.\d\.\d SITE \d+", "VERSION SITE CONNECTION"), (r"Hello SITE \d+", "Hello SITE CONNECTION"))
# Records that the original's library made. Of the eight in the file the original takes five: the others are not all ASCII.
FIVE = b"\n".join((pathlib.Path(__file__).resolve().parents[1] / "records.ndjson").read_bytes().split(b"\n")[:5])

CLIENT = [
    client("ver", "VERSION SITE CONNECTION", plain=VERSION),
    client("--plain hello", "Hello SITE CONNECTION", plain=VERSION),
    client("help hello", "Usage: hello"),
    client("ls", "Out of Sequence", "log in with --user NAME", code=7),
    client("--user admin --password-file test.txt ls", "longer than 1024 bytes", code=2),
    client("--user admin --password-file wrong ls", "Bad User or Bad Pass", code=7, files={"wrong": b"12345"}),
    client(f"{LOGIN} put test.txt 'two words.txt'", "uploaded two words.txt, 12600 bytes"),
    client(f"{LOGIN} ls", "two words.txt\n"),
    client(f"{LOGIN} stat 'two words.txt'", "mode      100644", "size      12600", plain=((r"(?m)^(inode|device|user|group|\w+ed ) .*$", r"\1"),)),
    client(f"{LOGIN} get 'two words.txt' back.txt", "downloaded back.txt, 12600 bytes", same=("test.txt", "back.txt")),
    client(f"{LOGIN} get 'two words.txt' back.txt", "back.txt exists", code=1),
    client(f"{LOGIN} get nosuch", "the server refused fget", code=3),
    client(f"{LOGIN} del 'two words.txt'", "File deleted two words.txt"),
    client(f"{LOGIN} tout", "Current timeout 20"),
    client(f"{LOGIN} ulist admin", "admin\nboss\n"),
    client(f"{LOGIN} uadd anna", "Added user. anna", stdin="secret\n"),
    client(f"{LOGIN} chpass anna", "Pass changed anna", stdin="secret\nother\n"),
    client(f"{LOGIN} udel anna", "deleted user anna"),
    client(f"{LOGIN} rput vote records", *["stored "] * 5),
    client(f"{LOGIN} rput vote records", *["duplicate "] * 5),
    client(f"{LOGIN} -- rabs vote 0 1 -1", '{"kind":"vote","record":{"header":"' + FIRST, '{"kind":"vote","record":{"header":"' + SECOND),
    client(f"{LOGIN} rget vote {FIRST} {SECOND}", '{"kind":"vote","record":{"header":"' + FIRST, '{"kind":"vote","record":{"header":"' + SECOND),
    client(f"{LOGIN} rcount vote 2026-11-22T01:14:00Z 2026-11-22T01:15:00Z", "1 records"),
    client(f"{LOGIN} rlist vote 1795310040 1795310100", FIRST),
    client("--format json", '{"command":"user","reply":["OK","Send pass for","admin"]}', '{"command":"pass","reply":["OK","Authenticated.","admin"]}',
           '{"command":"mkdir","reply":["OK","Made directory:","one"]}', '{"command":"rmdir","reply":["OK","Deleted directory:","one"]}',
           '"reason":"refused"', stdin="user admin\npass\n1234\nmkdir one\nrmdir one\nsess\nnosuch\nls\n", code=1),
]

# In production mode.
PRODUCTION = [
    step("pyvcli_rput", "", "Enter twofa code:", "twofa resp: ['ERR', ", "NameError: name 'OK'", stdin="000000\n", code=1,
         why="the program itself is broken: after a wrong code it looks for a name that it lacks"),
    step("pyvcli_ihost.py", "-S", "Enter twofa code:", "twofa resp: ['OK', ", "ihost resp: ['OK', []]", stdin="{code}\n"),
    step("pyvcli_rcheck", "", "proof response: ['ERR', 'Out of Sequence command issued', 'rcheck']", plain=NEW),
    client(f"{LOGIN} rcheck vote hash", "Out of Sequence", "--code-file", code=7),
    client(f"{LOGIN} --code-file - rcheck vote hash", "No errors. hash COUNT total", stdin="{next_code}\n", plain=((r"\b10\d\d\b", "COUNT"),)),
]

ALL = (KEYS, WINDOWS, COMMANDS, RECORDS, CLIENT, PRODUCTION)
