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


def ask(method, path, body=None):
    headers = {"Authorization": f"Bearer {RUN['keeper']}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    return urllib.request.urlopen(urllib.request.Request(f"{RUN['url']}{path}", data, headers, method=method))


def world():
    return json.load(ask("POST", "/api/v1/worlds", {"name": "Passing", "slug": f"passing-{next(names)}"}))["id"]


def channel():
    body = {"scope": f"world:{world()}", "slug": "passing", "name": "Passing"}
    return json.load(ask("POST", "/api/v1/channels", body))["id"]


def member(home):
    request = urllib.request.Request(f"{RUN['url']}/api/v1/auth/guest", b"{}", {"Content-Type": "application/json"})
    guest = json.load(urllib.request.urlopen(request))
    join = urllib.request.Request(
        f"{RUN['url']}/api/v1/worlds/{home}/members/me",
        headers={"Authorization": f"Bearer {guest['accessToken']}"}, method="PUT",
    )
    urllib.request.urlopen(join)
    return {"world": home, "userId": guest["user"]["id"]}


# What a call changes or ends is made for it, so that the next one finds everything in its place.
FRESH = {
    "PATCH /api/v1/worlds/{world}": lambda: {"world": world()},
    "DELETE /api/v1/worlds/{world}": lambda: {"world": world()},
    "PATCH /api/v1/channels/{id}": lambda: {"id": channel()},
    "DELETE /api/v1/channels/{id}": lambda: {"id": channel()},
    "DELETE /api/v1/worlds/{world}/members/{userId}": lambda: member(world()),
}


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.meta is None or case.meta.generation.mode != schemathesis.GenerationMode.POSITIVE:
        return
    label = case.operation.label
    number = next(calls[label])
    in_chain = case.meta.phase.name.value == "stateful"
    if label in FRESH and not in_chain and number % 2 == 0:
        case.path_parameters.update(FRESH[label]())
    # What the two make is private, or there would be nothing that one may not see of the other.
    if case.auth_identity in RUN["homes"] and label == "POST /api/v1/worlds":
        case.body = {**case.body, "visibility": "private"}
    if case.auth_identity in RUN["homes"] and label == "POST /api/v1/channels":
        case.body = {**case.body, "scope": f"world:{RUN['homes'][case.auth_identity]}"}
    if label == "POST /api/v1/auth/login" and (in_chain or number % 2 == 0):
        case.body = {**case.body, **RUN["login"]}
    if "If-Match" in (case.headers or {}) and (in_chain or number % 3 != 2):
        path = case.operation.path
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
