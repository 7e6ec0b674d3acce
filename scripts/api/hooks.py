"""Brings random requests to where the rules begin: every second one names a thing that is there, in its present state.

Which calls have succeeded is noted: a run in which one never did has not tested it.
"""

import itertools
import json
import os
import urllib.error
import urllib.request
from collections import defaultdict
from urllib.parse import quote

import schemathesis

RUN = json.loads(os.environ["WELTENWIND_FUZZ"])
calls = defaultdict(itertools.count)
names = itertools.count()
succeeded = set()


def ask(method, path, body=None, token=RUN["keeper"]):
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    return urllib.request.urlopen(urllib.request.Request(f"{RUN['url']}/api/v1/{path}", data, headers, method=method))


def made(path, body, token=RUN["keeper"]):
    return json.load(ask("POST", path, body, token))


def token_of(person):
    """Signs in anew each time: a random request may have ended the last session."""
    if person not in RUN["homes"]:
        return RUN["keeper"]
    return made("auth/login", {"username": person, "password": RUN["password"]}, None)["accessToken"]


def world(token):
    return made("worlds", {"name": "Passing", "slug": f"passing-{next(names)}"}, token)["id"]


def channel(token):
    return made("channels", {"scope": f"world:{world(token)}", "slug": "passing", "name": "Passing"}, token)["id"]


def message(token):
    return made(f"channels/{channel(token)}/messages", {"body": "in passing"}, token)["id"]


def member(token):
    home, guest = world(token), made("auth/guest", {}, None)
    ask("PUT", f"worlds/{home}/members/me", None, guest["accessToken"])
    return {"world": home, "userId": guest["user"]["id"]}


# What a call changes or ends is made for it by who calls, so that it may, and that the next call finds everything in its place.
FRESH = {
    "PATCH /api/v1/worlds/{world}": lambda token: {"world": world(token)},
    "DELETE /api/v1/worlds/{world}": lambda token: {"world": world(token)},
    "PATCH /api/v1/channels/{id}": lambda token: {"id": channel(token)},
    "DELETE /api/v1/channels/{id}": lambda token: {"id": channel(token)},
    "PATCH /api/v1/messages/{id}": lambda token: {"id": message(token)},
    "DELETE /api/v1/messages/{id}": lambda token: {"id": message(token)},
    "DELETE /api/v1/worlds/{world}/members/{userId}": member,
}


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.meta is None or case.meta.generation.mode != schemathesis.GenerationMode.POSITIVE:
        return
    label, person = case.operation.label, case.auth_identity
    number = next(calls[label])
    in_chain = case.meta.phase.name.value == "stateful"
    if label in FRESH and not in_chain and number % 2 == 0:
        case.path_parameters.update(FRESH[label](token_of(person)))
    # What the two make is private, or there would be nothing that one may not see of the other; what the keeper makes, all see.
    if label == "POST /api/v1/worlds":
        case.body = {**case.body, "visibility": "private" if person in RUN["homes"] else "public"}
    if label == "POST /api/v1/channels":
        case.body = {**case.body, "scope": f"world:{RUN['homes'][person]}" if person in RUN["homes"] else "global"}
    if label == "POST /api/v1/auth/login" and (in_chain or number % 2 == 0):
        case.body = {**case.body, "username": next(iter(RUN["homes"])), "password": RUN["password"]}
    if "If-Match" in (case.headers or {}) and (in_chain or number % 3 != 2):
        path = case.operation.path.removeprefix("/api/v1/")
        for name, value in case.path_parameters.items():
            path = path.replace(f"{{{name}}}", quote(str(value), safe=""))
        try:
            case.headers["If-Match"] = ask("GET", path).headers["ETag"]
        except urllib.error.HTTPError:
            pass  # It is not there, which the call itself will hear.


@schemathesis.hook
def after_call(context, case, response):
    if 200 <= response.status_code < 300 and case.operation.label not in succeeded:
        succeeded.add(case.operation.label)
        with open(RUN["succeeded"], "a") as notes:
            notes.write(f"{case.operation.label}\n")
