"""Tests of a Python plant over TLS: real certificates, real sessions on loopback. Each test of a refusal also shows a
principal that is allowed.

    AEGIS_BINARY=target/release/aegis python -m unittest test_aegis_tls
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

import zenoh

from aegis_keys import ENDS_SOON_S, KeysError, check, utc
from aegis_wire import decode, encode

AEGIS = os.environ.get("AEGIS_BINARY")
HERE = Path(__file__).parent
NAME = "guarded"
UNANSWERED = 1.0  # Time limit for a request that must not be answered, seconds; an answer would take milliseconds.
FOR_SURE = 60.0  # Time limit for a message that must arrive, seconds.


def make_keys(out: Path, *arguments: str) -> Path:
    subprocess.run([AEGIS, "keys", "--out", out, *arguments], check=True, capture_output=True)
    return out


def client(endpoint: str, keys: Path) -> zenoh.Session:
    """Opens a session without access control on the client's side: only the plant's side denies messages."""
    config = zenoh.Config()
    tls = "transport/link/tls"
    for key, value in {
        "mode": "client",
        "connect/endpoints": [endpoint],
        "connect/timeout_ms": 2000,
        "connect/exit_on_failure": True,
        "scouting/multicast/enabled": False,
        f"{tls}/enable_mtls": True,
        f"{tls}/root_ca_certificate": str(keys / "ca.pem"),
        f"{tls}/connect_certificate": str(keys / "certificate.pem"),
        f"{tls}/connect_private_key": str(keys / "private.pem"),
    }.items():
        config.insert_json5(key, json.dumps(value))
    return zenoh.open(config)


class Served:
    """`serve_robot.py` in a separate process."""

    def __init__(self, keys: Path, name: str = NAME):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.endpoint = f"tls/127.0.0.1:{free.getsockname()[1]}"
        command = ["serve_robot.py", "--name", name, "--listen", self.endpoint, "--keys", keys]
        self.process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            cwd=HERE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.ready = self.process.stdout.readline()

    def close(self) -> str:
        """Ends the process; returns what it wrote to standard error."""
        self.process.terminate()
        return self.process.communicate(timeout=30)[1]


class Heard:
    """The newest message of a key, and the number of messages received."""

    def __init__(self, session: zenoh.Session, leaf: str):
        self.condition, self.count, self.newest = threading.Condition(), 0, None
        self.subscriber = session.declare_subscriber(f"aegis/{NAME}/{leaf}", self._take)

    def _take(self, sample) -> None:
        with self.condition:
            self.count, self.newest = self.count + 1, decode(sample.payload.to_bytes())[1]
            self.condition.notify_all()

    def wait(self, holds, timeout: float = FOR_SURE):
        """Waits for the next message for which `holds` is true; returns None where none arrives in time."""
        with self.condition:
            seen = self.count
            found = self.condition.wait_for(lambda: self.count > seen and holds(self.newest), timeout)
            return self.newest if found else None


def ask(link: zenoh.Session, name: str, timeout: float, **fields):
    """Sends a request; returns its answer, or None where there is none."""
    replies = link.get(f"aegis/{NAME}/request", payload=encode(name, fields), timeout=timeout)
    answers = [decode(reply.ok.payload.to_bytes()) for reply in replies if reply.ok]
    return answers[0] if answers else None


def claim(session: zenoh.Session, nonce: int, timeout: float):
    return ask(session, "Claim", timeout, controller="test", nonce=nonce, mode="free_running")


def act(session: zenoh.Session, claimed: int, sequence: int, observation: int) -> None:
    fields = {"session": claimed, "episode": 1, "sequence": sequence, "observation": observation, "stamp_ns": 0}
    session.put(f"aegis/{NAME}/action", encode("Action", {**fields, "action": [0.5] * 7}))


def first_joint(moved: dict) -> float:
    return moved["observation"]["values"][0]


@unittest.skipUnless(AEGIS, "AEGIS_BINARY names no program, so there are no keys")
class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        zenoh.init_log_from_env_or("off")
        cls.folder = Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.keys = make_keys(cls.folder / "keys")
        cls.others = make_keys(cls.folder / "others")
        cls.served = Served(cls.keys / "plant")
        cls.addClassCleanup(cls.served.close)
        assert cls.served.ready.startswith(f"serving {NAME} at tls/"), cls.served.close()

    def connect(self, keys: Path) -> zenoh.Session:
        session = client(self.served.endpoint, keys)
        self.addCleanup(session.close)
        return session

    def test_a_controller_moves_it_and_a_watcher_reads_and_moves_nothing(self):
        controller, watcher = self.connect(self.keys / "controller"), self.connect(self.keys / "watcher")
        statuses, seen = Heard(controller, "status"), Heard(watcher, "observation")
        watched = Heard(watcher, "status")
        self.assertIsNotNone(watched.wait(lambda _: True), "a watcher reads the heartbeat")
        self.assertIsNone(claim(watcher, 7, UNANSWERED), "a watcher's claim is not answered")

        claimed = claim(controller, 1, FOR_SURE)[1]["session"]
        start = {"session": claimed, "episode": 1, "task": 0, "initial_state": 0}
        self.assertEqual(ask(controller, "Reset", FOR_SURE, **start)[0], "Moved")
        self.assertIsNotNone(seen.wait(lambda _: True), "a watcher reads observations")

        # A watcher reads the session number in the heartbeat; with it, the watcher's actions would pass as the controller's.
        for sequence in range(1, 6):
            act(watcher, claimed, sequence, seen.wait(lambda _: True)["sequence"])
        watcher.put(f"aegis/{NAME}/pulse", b"nothing")
        self.assertIsNone(ask(watcher, "Release", UNANSWERED, session=claimed))
        self.assertIsNone(seen.wait(lambda moved: first_joint(moved) != 0.0, UNANSWERED), "a watcher moved it")
        status = statuses.wait(lambda _: True)
        self.assertEqual((status["dropped"], status["refused"], status["session"]), (0, 0, claimed))

        # The same action from the controller arrives, so the watcher's actions were not lost for another reason.
        act(controller, claimed, 1, seen.wait(lambda _: True)["sequence"])
        self.assertIsNotNone(seen.wait(lambda moved: first_joint(moved) > 0.0), "a controller moves it")
        # Without further actions the plant stops by itself and stands still, and a watcher receives that status too.
        self.assertIsNotNone(watched.wait(lambda status: status["phase"] == "stopped"))
        stands = first_joint(seen.wait(lambda _: True))
        self.assertEqual([first_joint(seen.wait(lambda _: True)) for _ in range(3)], [stands] * 3)
        # A message beyond the size bound is counted without being decoded.
        before = statuses.wait(lambda _: True)["dropped"]
        controller.put(f"aegis/{NAME}/action", bytes(8192))
        self.assertIsNotNone(statuses.wait(lambda status: status["dropped"] == before + 1))
        self.assertEqual(ask(controller, "Release", FOR_SURE, session=claimed)[1]["phase"], "idle")

    def test_an_operators_program_answers_a_controllers_call_and_no_other_certificate_can(self):
        controller, heard, begun = self.connect(self.keys / "controller"), [], threading.Condition()

        def hear(sample) -> None:
            with begun:
                heard.append(decode(sample.payload.to_bytes())[1])
                begun.notify_all()

        subscriber = controller.declare_subscriber(f"aegis/{NAME}/teleop", hear)
        calls, over = controller.declare_publisher(f"aegis/{NAME}/call"), threading.Event()
        channel = {"name": "joint1", "kind": "rate", "bounds": [-1.0, 1.0], "within": 0.5}
        call = {"session": 1, "episode": 1, "state": "called", "call": 1, "operator": 0, "sequence": 0, "left_ns": 1}
        call |= {"period_ns": 1, "stream_timeout_ns": 1, "command": [0.25], "refused": 0, "away": [], "channels": [channel]}

        def publish() -> None:
            while not over.wait(0.05):
                calls.put(encode("Call", call))

        caller = threading.Thread(target=publish)
        caller.start()
        self.addCleanup(lambda: (over.set(), caller.join(), subscriber.undeclare()))
        stray = {"operator": 1, "session": 1, "episode": 1, "call": 1, "stamp_ns": 1, "engaged": True, "action": [9.0]}
        sessions = [self.connect(self.keys / party) for party in ("watcher", "policy", "watchdog", "controller")]

        def intrude(sequence: int) -> None:
            for session in sessions:
                session.put(f"aegis/{NAME}/teleop", encode("Teleop", {**stray, "sequence": sequence}))

        intrude(1)
        command = ["teleop.py", "--name", NAME, "--connect", self.served.endpoint, "--script", "-"]
        command += ["--keys", str(self.keys / "operator")]
        person = subprocess.Popen(
            [sys.executable, *command], cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        said, _ = person.communicate("wait called\nengage\nsend 100\nsay over\n", timeout=FOR_SURE)
        self.assertEqual(person.returncode, 0, said)
        self.assertIn("called 1", said)
        with begun:
            engaged = lambda: [one for one in heard if one["engaged"]]  # noqa: E731
            self.assertTrue(begun.wait_for(engaged, FOR_SURE), said)
        intrude(2)
        time.sleep(UNANSWERED)
        self.assertEqual({one["operator"] for one in heard} - {heard[-1]["operator"]}, set(), "one program alone was heard")
        self.assertEqual((engaged()[0]["action"], engaged()[0]["call"]), ([0.25], 1))
        self.assertNotEqual(heard[-1]["operator"], 1)

    def test_a_certificate_of_another_plant_or_authority_and_no_tls_get_nowhere(self):
        other = make_keys_for(self.keys, "controller", "another")
        self.assertIsNone(claim(self.connect(other), 3, UNANSWERED), "it is another plant's controller")
        with self.assertRaises(zenoh.ZError):
            client(self.served.endpoint, self.others / "controller")
        mixed = self.folder / "mixed"
        shutil.copytree(self.others / "controller", mixed)
        shutil.copy(self.keys / "ca.pem", mixed)
        with self.assertRaises(zenoh.ZError, msg="it trusts the plant, and another authority signed it"):
            client(self.served.endpoint, mixed)
        with self.assertRaises(zenoh.ZError, msg="the plant's own certificate connects"):
            client(self.served.endpoint, self.keys / "plant")
        with self.assertRaises(zenoh.ZError, msg="plain TCP"):
            client(self.served.endpoint.replace("tls/", "tcp/"), self.keys / "controller")
        session = self.connect(self.keys / "controller")
        answer = claim(session, 2, FOR_SURE)
        self.assertEqual(answer[0], "Claimed", "the right one is answered")
        ask(session, "Release", FOR_SURE, session=answer[1]["session"])


def make_keys_for(keys: Path, party: str, plant: str) -> Path:
    make_keys(keys, "--add", party, "--plant", plant)
    return keys / f"{party}.{plant}"


@unittest.skipUnless(AEGIS, "AEGIS_BINARY names no program, so there are no keys")
class Folder(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.keys, cls.others = make_keys(cls.folder / "keys"), make_keys(cls.folder / "others")

    def copy(self, party: str = "plant") -> Path:
        copied = Path(tempfile.mkdtemp(dir=self.folder)) / party
        shutil.copytree(self.keys / party, copied)
        return copied

    def refused(self, folder: Path, *words: str, now: float | None = None) -> None:
        with self.assertRaises(KeysError) as caught:
            check(str(folder), NAME, now)
        for word in ("; valid is ", *words):
            self.assertIn(word, str(caught.exception))

    def test_a_whole_folder_passes(self):
        self.assertEqual(check(str(self.keys / "plant"), NAME), [])
        self.assertEqual(check(str(make_keys_for(self.keys, "plant", NAME)), NAME), [])

    def test_an_operators_folder_is_checked_for_connecting(self):
        self.assertEqual(check(str(self.keys / "operator"), NAME, party="operator"), [])
        for party, words in (("plant", "does not vouch"), ("watcher", "operator or operator.guarded")):
            with self.assertRaisesRegex(KeysError, words):
                check(str(self.keys / party), NAME, party="operator")
        folder = self.copy("operator")
        shutil.copy(self.others / "ca.pem", folder)
        with self.assertRaisesRegex(KeysError, "does not vouch.*for connecting"):
            check(str(folder), NAME, party="operator")
        end = time.time() + 365 * ENDS_SOON_S
        with self.assertRaisesRegex(KeysError, "expired at"):
            check(str(self.keys / "operator"), NAME, end + ENDS_SOON_S, party="operator")

    def test_each_file_at_fault_is_named(self):
        self.refused(self.folder / "none", "none/ca.pem", "No such file", "aegis keys")
        for name, what in (("ca.pem", "a certificate"), ("certificate.pem", "a certificate"), ("private.pem", "a private key")):
            folder = self.copy()
            (folder / name).write_text("nothing")
            self.refused(folder, name, "7 bytes", f"{what} in PEM", "aegis keys")
        folder = self.copy()
        (folder / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        self.refused(folder, "ca.pem", "not readable", "aegis keys")
        folder = self.copy()
        (folder / "private.pem").chmod(0o644)
        self.refused(folder, "private.pem", "0644", "0600")
        self.refused(Path("a;b"), "a;b", "a path without them")

    def test_files_that_do_not_belong_together_are_named(self):
        folder = self.copy()
        shutil.copy(self.others / "plant/private.pem", folder)
        self.refused(folder, "private.pem", "not the key of certificate.pem")
        folder = self.copy()
        shutil.copy(self.others / "ca.pem", folder)
        self.refused(folder, "certificate.pem", "ca.pem does not vouch for it", "aegis keys")
        self.refused(self.keys / "controller", "certificate.pem", "does not vouch", "purpose", "for listening")
        another = make_keys_for(self.keys, "plant", "another")
        self.refused(another, "certificate.pem", "its common name is plant.another", f"plant.{NAME}")

    def test_dates_are_checked_and_said_in_utc(self):
        folder, now, day = self.copy(), time.time(), ENDS_SOON_S
        end = now + 365 * day
        self.refused(folder, "certificate.pem", "expired at", utc(end)[:10], "aegis keys", now=end + day)
        self.refused(folder, "certificate.pem", "begins at", utc(now - day)[:10], "set the clock", now=now - 2 * day)
        for before, count in ((day - 60, 1), (day + 60, 0)):
            warnings = check(str(folder), NAME, end - before)
            self.assertEqual(len(warnings), count, warnings)
        self.assertIn("certificate.pem: the certificate ends at", check(str(folder), NAME, end - 60)[0])

    def test_the_program_refuses_and_warns(self):
        brief = make_keys(self.folder / "brief", "--days", "1")
        served = Served(brief / "plant")
        self.assertTrue(served.ready.startswith("serving"), served.ready)
        warned = served.close()
        self.assertRegex(warned, "warning: .*brief/plant/certificate.pem: the certificate ends at .* UTC")
        folder = self.copy()
        shutil.copy(self.others / "plant/private.pem", folder)
        served = Served(folder)
        self.assertEqual(served.ready, "")
        said = served.close()
        self.assertIn("private.pem: it is not the key of certificate.pem", said)
        self.assertNotIn("Traceback", said)


if __name__ == "__main__":
    unittest.main()
