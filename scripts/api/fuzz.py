"""Asks a running server about everything its OpenAPI document says, by chance and by two people who may not see each other's things.

Started by scripts/fuzz-api.
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
PASSWORD = "a lantern on the pier"
# The first asks, about things of its own; what it gets is asked for by the second too, who may not see it.
PEERS = ["mira", "ylva"]
KEEPER = "keeper"
# Calls that only a secret opens, which chance does not find, one that a guest makes once and nobody else, and those of staff.
BY_FEW = {
    "GET /api/v1/outbox/dead",
    "POST /api/v1/outbox/dead/{id}/retry",
    "POST /api/v1/auth/bootstrap",
    "POST /api/v1/users/me/upgrade",
    "POST /api/v1/users/me/two-factor/confirm",
    "DELETE /api/v1/users/me/two-factor",
}


def main():
    args = arguments()
    seed = args.seed if args.seed is not None else random.randrange(2**32)
    store = "Postgres" if args.postgres else "SQLite"
    print(f"fuzz-api: seed {seed} on {store}; the same requests again: scripts/fuzz-api --seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="weltenwind-fuzz-") as folder:
        server = Server(args.binary, args.postgres, Path(folder))
        try:
            furnish(server)
            return fuzz(server, seed, args, Path(folder))
        finally:
            server.stop()


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/fuzz-api")
    parser.add_argument("--binary", required=True, help=argparse.SUPPRESS)
    parser.add_argument(
        "--postgres", action="store_const", const=os.environ.get("WW_TEST_POSTGRES_URL", ""), default=None,
        help="on the empty Postgres database that WW_TEST_POSTGRES_URL names",
    )
    parser.add_argument("--seed", type=int, help="of the random requests; drawn if absent")
    parser.add_argument("--examples", type=int, default=25, help="random requests per operation and phase (default 25)")
    parser.add_argument("--seconds", type=int, default=60, help="how long, once every call had its turn (default 60)")
    parser.add_argument("--report", help="a folder for a report of every request")
    args = parser.parse_args()
    if args.postgres == "":
        parser.error("--postgres needs WW_TEST_POSTGRES_URL, which scripts/with-services sets")
    return args


class Server:
    """The real binary on a store of its own."""

    def __init__(self, binary, postgres, folder):
        url = postgres or f"sqlite://{folder}/weltenwind.db"
        self.binary = binary
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("WELTENWIND_")},
            "WELTENWIND_STORAGE__URL": url,
        }
        self.flags = ["--config", str(HERE / "weltenwind.toml")]
        self.folder = folder
        self.log = open(folder / "log", "w+")
        self.process = subprocess.Popen(
            [binary, *self.flags, "serve", "--set", "http.listen=127.0.0.1:0", "--set", "ops.listen="],
            env=self.environment, cwd=folder, stdout=subprocess.PIPE, stderr=self.log, text=True,
        )
        self.url = self.address()

    def address(self):
        for line in self.process.stdout:
            if line.startswith(("Listening ", "Weltenwind ")):
                url = line.split()[1]
                # What else it says is of no interest, but a full pipe would hold it up.
                threading.Thread(target=lambda: list(self.process.stdout), daemon=True).start()
                return url
        self.log.seek(0)
        sys.exit(f"fuzz-api: the server ended before it listened:\n{self.log.read()}")

    def run(self, *command):
        done = subprocess.run(
            [self.binary, *self.flags, *command],
            env=self.environment, cwd=self.folder, stdout=subprocess.PIPE, text=True, check=True,
        )
        return json.loads(done.stdout)

    def call(self, method, path, body=None, token=None):
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/api/v1/{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request) as response:
                text = response.read()
        except urllib.error.HTTPError as error:
            sys.exit(f"fuzz-api: {method} {path} answered {error.code}: {error.read().decode()}")
        return json.loads(text) if text else None

    def failures(self):
        """What the log calls an error, or a panic: nothing of that may happen, whatever is asked."""
        self.log.seek(0)
        return [line.rstrip() for line in self.log if re.search(r"\bERROR\b|panicked", line)]

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=60)
        self.log.close()


def furnish(server):
    """Makes people, and things that belong to them."""
    token = server.run("admin", "bootstrap", "--json")["token"]
    keeper = server.call("POST", "auth/bootstrap", {"token": token, "username": KEEPER, "password": PASSWORD})
    people = {KEEPER: keeper["accessToken"]}
    for name in PEERS:
        session = server.call("POST", "auth/register", {"username": name, "password": PASSWORD})
        people[name] = session["accessToken"]
    guest = server.call("POST", "auth/guest", {"displayName": "Nadia"})["accessToken"]
    hall = server.call("POST", "worlds", {"name": "Hall", "slug": "mistral"}, people[KEEPER])
    lobby = channel(server, hall, people[KEEPER])
    for author in [*people.values(), guest]:
        server.call("PUT", f"worlds/{hall['id']}/members/me", None, author)
        for number in range(3):
            server.call("POST", f"channels/{lobby['id']}/messages", {"body": f"well met {number}"}, author)
    for name in PEERS:
        own = server.call("POST", "worlds", {"name": f"{name}'s", "visibility": "private"}, people[name])
        room = channel(server, own, people[name])
        server.call("POST", f"channels/{room['id']}/messages", {"body": "nobody hears this"}, people[name])


def channel(server, world, token):
    body = {"scope": f"world:{world['id']}", "slug": "lobby", "name": "Lobby"}
    return server.call("POST", "channels", body, token)


def sign_in(name):
    """How a person signs in, and signs in again after a request has ended the session."""
    return {
        "name": name,
        "loginEndpointAuth": {
            "verb": "POST",
            "endpoint": "/api/v1/auth/login",
            "contentType": "application/json",
            "payloadRaw": json.dumps({"username": name, "password": PASSWORD}),
            "token": {
                "extractFrom": "body",
                "extractSelector": "/accessToken",
                "sendIn": "header",
                "sendName": "Authorization",
                "sendTemplate": "Bearer {token}",
            },
        },
    }


def fuzz(server, seed, args, folder):
    document = server.call("GET", "openapi.json")
    # From a file: the call that answers the document would be left out otherwise.
    (folder / "openapi.json").write_text(json.dumps(document))
    sign_ins, notes = folder / "sign-in.json", folder / "succeeded"
    sign_ins.write_text(json.dumps({"auth": [sign_in(name) for name in PEERS]}))
    notes.touch()
    config = (HERE / "schemathesis.toml").read_text().replace('"hooks.py"', json.dumps(str(HERE / "hooks.py")))
    config += f"\n[auth.wfc]\npath = {json.dumps(str(sign_ins))}\npeers = {json.dumps(PEERS)}\nuser = {json.dumps(PEERS[0])}\n"
    (folder / "schemathesis.toml").write_text(config)
    command = [
        str(Path(sys.executable).parent / "schemathesis"), "--config-file", str(folder / "schemathesis.toml"), "run",
        str(folder / "openapi.json"), "--url", server.url, "--seed", str(seed), "--max-examples", str(args.examples),
        "--max-time", str(args.seconds),
    ]
    if args.report:
        command += ["--report", "ndjson,junit", "--report-dir", args.report]
    run = {
        "url": server.url,
        "caller": PEERS[0],
        "keeper": KEEPER,
        "password": PASSWORD,
        "succeeded": str(notes),
    }
    started = time.monotonic()
    # It keeps a database of examples in the working directory, and reads a configuration from there.
    status = subprocess.run(command, cwd=folder, env={**os.environ, "WELTENWIND_FUZZ": json.dumps(run)}).returncode
    findings = [f"the server's log: {line}" for line in server.failures()]
    calls = {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item}
    findings += [f"{call} never succeeded" for call in sorted(calls - set(notes.read_text().splitlines()) - BY_FEW)]
    for finding in findings:
        print(f"fuzz-api: {finding}")
    print(f"fuzz-api: {time.monotonic() - started:.0f} s", flush=True)
    return status or (1 if findings else 0)


if __name__ == "__main__":
    sys.exit(main())
