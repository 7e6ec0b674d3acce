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
removed = set()


def ask(method, path, body=None, token=None, key=None):
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Idempotency-Key"] = key
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    return urllib.request.urlopen(urllib.request.Request(f"{RUN['url']}/api/v1/{path}", data, headers, method=method))


def made(path, body, token=None):
    return json.load(ask("POST", path, body, token))


def token():
    """Signs the caller in anew each time: a random request may have ended the last session."""
    return made("auth/login", {"username": RUN["caller"], "password": RUN["password"]})["accessToken"]


def world(token, visibility="public"):
    body = {"name": "Passing", "slug": f"passing-{next(names)}", "visibility": visibility}
    return made("worlds", body, token)["id"]


def channel(token):
    return made("channels", {"scope": f"world:{world(token)}", "slug": "passing", "name": "Passing"}, token)["id"]


def message(token):
    return made(f"channels/{channel(token)}/messages", {"body": "in passing"}, token)["id"]


def member(token):
    home, guest = world(token), made("auth/guest", {})
    ask("PUT", f"worlds/{home}/members/me", None, guest["accessToken"])
    return {"world": home, "userId": guest["user"]["id"]}


def role(token):
    """What a role is given by: a world of the caller's, and somebody who has none in it."""
    guest = made("auth/guest", {})
    return {"userId": guest["user"]["id"], "role": "world_member", "scope": f"world:{world(token)}"}


def grant(token):
    return made("access/grants", role(token), token)["id"]


def draft(token):
    """What a key is made of."""
    return {"name": "arena", "scope": f"world:{world(token)}", "permissions": ["chat.read"]}


def key(token):
    return made("access/keys", draft(token), token)["id"]


def announcement(token, audience=None):
    """Something that is announced: in a world of the caller's, if nothing else is said."""
    audience = audience or {"kind": "world", "worldId": world(token)}
    body = {"title": "Passing", "body": "In passing.", "audience": audience}
    return json.load(ask("POST", "announcements", body, token, f"passing-announcement-{next(names)}"))["id"]


def notification():
    """Something that everybody is told, the caller among them; who told it runs the installation."""
    keeper = made("auth/login", {"username": RUN["keeper"], "password": RUN["password"]})["accessToken"]
    return announcement(keeper, {"kind": "global"})


def session():
    """One of the caller's sessions, which nobody else is using."""
    return made("auth/login", {"username": RUN["caller"], "password": RUN["password"]})["sessionId"]


def device():
    """A device that the caller has signed in from just now, and is not using."""
    devices = json.load(ask("GET", "users/me/devices", None, token()))["items"]
    return next(device["id"] for device in devices if device["current"])


# Deleted, these are still there for some: a tombstone in its place, an archived world for those who manage it.
KEPT = {"DELETE /api/v1/messages/{id}": "id", "DELETE /api/v1/worlds/{world}": "world"}

# What a call changes or ends is made for it by who calls, so that it may, and that the next call finds everything in its place.
FRESH = {
    "PATCH /api/v1/worlds/{world}": lambda token: {"world": world(token)},
    "DELETE /api/v1/worlds/{world}": lambda token: {"world": world(token)},
    "PATCH /api/v1/channels/{id}": lambda token: {"id": channel(token)},
    "DELETE /api/v1/channels/{id}": lambda token: {"id": channel(token)},
    "PATCH /api/v1/messages/{id}": lambda token: {"id": message(token)},
    "DELETE /api/v1/messages/{id}": lambda token: {"id": message(token)},
    "DELETE /api/v1/worlds/{world}/members/{userId}": member,
    "GET /api/v1/access/grants/{id}": lambda token: {"id": grant(token)},
    "DELETE /api/v1/access/grants/{id}": lambda token: {"id": grant(token)},
    "GET /api/v1/access/keys/{id}": lambda token: {"id": key(token)},
    "DELETE /api/v1/access/keys/{id}": lambda token: {"id": key(token)},
    "GET /api/v1/announcements/{id}": lambda token: {"id": announcement(token)},
    "PATCH /api/v1/announcements/{id}": lambda token: {"id": announcement(token)},
    "DELETE /api/v1/announcements/{id}": lambda token: {"id": announcement(token)},
    "POST /api/v1/notifications/{id}/read": lambda _: {"id": notification()},
    "DELETE /api/v1/notifications/{id}": lambda _: {"id": notification()},
    "DELETE /api/v1/users/me/sessions/{id}": lambda _: {"id": session()},
    "PATCH /api/v1/users/me/devices/{id}": lambda _: {"id": device()},
    "DELETE /api/v1/users/me/devices/{id}": lambda _: {"id": device()},
}

# Lists that one sees in what one manages.
LISTED_IN_SCOPE = {"GET /api/v1/access/grants", "GET /api/v1/access/keys"}


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.meta is None or case.meta.generation.mode != schemathesis.GenerationMode.POSITIVE:
        return
    label = case.operation.label
    number = next(calls[label])
    in_chain = case.meta.phase.name.value == "stateful"
    if label in FRESH and not in_chain and number % 2 == 0:
        case.path_parameters.update(FRESH[label](token()))
    # What is made is private, or there would be nothing that another may not see of it.
    if label == "POST /api/v1/worlds":
        case.body = {**case.body, "visibility": "private"}
    if label == "POST /api/v1/channels":
        case.body = {**case.body, "scope": f"world:{world(token(), 'private')}"}
    if label == "POST /api/v1/announcements":
        # Of two requests with one body, one is meant for a place where the caller may.
        case.body = {**case.body, "audience": {"kind": "world", "worldId": world(token(), "private")}}
        if number % 2 == 0:
            case.body = {name: case.body[name] for name in ("title", "body", "audience")}
    if label == "PATCH /api/v1/announcements/{id}" and number % 2 == 0:
        case.body = {name: value for name, value in case.body.items() if name in ("title", "body")}
    if label == "POST /api/v1/notifications/read-all" and number % 2 == 0:
        case.body = {"upTo": json.load(ask("GET", "notifications", None, token()))["upTo"]}
    if label == "POST /api/v1/auth/login" and (in_chain or number % 2 == 0):
        case.body = {**case.body, "username": RUN["caller"], "password": RUN["password"]}
    # Of passwords and names drawn at random hardly any may be used.
    if label == "POST /api/v1/auth/register" and number % 2 == 0:
        case.body = {"username": f"passer-by-{next(names)}", "password": RUN["password"]}
    # The caller manages its own worlds, and nothing else.
    if label == "POST /api/v1/access/grants" and number % 2 == 0:
        case.body = role(token())
    if label == "POST /api/v1/access/keys" and number % 2 == 0:
        case.body = draft(token())
    if label in LISTED_IN_SCOPE and not in_chain and number % 2 == 0:
        case.query = {"scope": f"world:{world(token())}"}
    # The caller owns worlds and stays; a guest who passes by may go.
    if label == "DELETE /api/v1/users/me" and not in_chain and number % 2 == 0:
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {made('auth/guest', {})['accessToken']}"}
    # Whoever changes the password must know it, and so must the next request.
    if label == "PUT /api/v1/users/me/password":
        known = RUN["password"] if number % 2 == 0 else "another password"
        case.body = {"currentPassword": known, "newPassword": RUN["password"]}
    if "If-Match" in (case.headers or {}) and (in_chain or number % 3 != 2):
        path = case.operation.path.removeprefix("/api/v1/")
        for name, value in case.path_parameters.items():
            path = path.replace(f"{{{name}}}", quote(str(value), safe=""))
        try:
            case.headers["If-Match"] = ask("GET", path, None, token()).headers["ETag"]
        except urllib.error.HTTPError:
            pass  # It is not there, which the call itself will hear.


@schemathesis.hook
def after_call(context, case, response):
    label = case.operation.label
    if label in KEPT and response.status_code == 204:
        removed.add(case.path_parameters[KEPT[label]])
    if 200 <= response.status_code < 300 and label not in succeeded:
        succeeded.add(label)
        with open(RUN["succeeded"], "a") as notes:
            notes.write(f"{label}\n")


@schemathesis.check
def what_is_removed_is_gone_for_others(context, response, case):
    """Stands in for use_after_free where a deleted thing keeps its place."""
    label, parameters = case.operation.label, case.path_parameters or {}
    if response.status_code != 200:
        return
    if label == "GET /api/v1/messages/{id}" and parameters["id"] in removed:
        body = response.json()
        assert body["body"] is None and body.get("tombstone"), "the text of a removed message is still there"
    if label.startswith("GET /api/v1/worlds/{world}") and parameters["world"] in removed:
        assert label != "GET /api/v1/worlds/{world}" or response.json().get("archivedAt"), "the world is not archived"
        try:
            ask("GET", f"worlds/{parameters['world']}")
        except urllib.error.HTTPError as error:
            assert error.code == 404, f"an archived world answers {error.code} to strangers"
        else:
            raise AssertionError("strangers see an archived world")
