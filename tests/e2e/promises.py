"""Scenarios about the API's promises: access, audit, concurrent changes, lists, events, bad input."""
import json
import socket
import ssl
import threading
import time

from client import Client, log_in
from house import require, wait_until

PASSWORD = "long enough to be right"


def _principal(house, name, role, grants=()):
    Client(house).send("POST", "/v1/principals", {"name": name, "role": role, "password": PASSWORD,
                                                  "grants": [{"object": where, "role": what} for where, what in grants]}, 201)
    return log_in(house, name, PASSWORD)


def _make(house, *names):
    for name in names:
        house.run("vm", "create", name, "--template", "bench-boot")


def roles_and_grants_decide_what_is_allowed(house):
    _make(house, "hers", "other")
    viewer, operator = _principal(house, "viewer", "viewer"), _principal(house, "operator", "operator")
    guest = _principal(house, "guest", "none", [("vm/hers", "operator")])
    require(len(viewer.items("/v1/vms")) == 2, "a viewer does not see all VMs")
    viewer.refused("POST", "/v1/vms/hers/start", None, 403, "denied")
    operator.finished(operator.send("POST", "/v1/vms/other/start", status=202))
    operator.refused("DELETE", "/v1/vms/other", None, 403, "denied")
    operator.refused("POST", "/v1/vms", {"name": "x", "template": "bench-boot"}, 403, "denied")
    operator.refused("PATCH", "/v1/principals/operator", {"role": "administrator"}, 403, "denied")
    # One object only: its list, its jobs, its events, nothing else.
    require([vm["name"] for vm in guest.items("/v1/vms")] == ["hers"], "a grant does not choose what is listed")
    require(guest.items("/v1/hosts") == [] and guest.items("/v1/principals") == [], "without a role something is listed")
    guest.refused("GET", "/v1/vms/other", None, 403, "denied")
    guest.refused("POST", "/v1/vms/other/kill", None, 403, "denied")
    job = guest.finished(guest.send("POST", "/v1/vms/hers/start", status=202))
    require(job["state"] == "succeeded", f"the granted VM did not start: {job}")
    require(guest.send("GET", f"/v1/jobs/{job['id']}").status == 200, "the asker does not see his job")
    shown = guest.items("/v1/events")
    require(shown and all(item["principal"] == "guest" or item.get("name") == "hers" for item in shown), f"the audit of others is shown: {shown}")
    # What is taken away is gone at once, for open sessions too.
    Client(house).send("PATCH", "/v1/principals/guest", {"grants": []}, 200)
    guest.refused("GET", "/v1/vms/hers", None, 403, "denied")
    Client(house).send("PATCH", "/v1/principals/guest", {"disabled": True}, 200)
    guest.refused("GET", "/v1/vms", None, 401, "unauthenticated")
    Client(house).refused("POST", "/v1/principals", {"name": "y", "grants": [{"object": "vm/nothing", "role": "viewer"}]}, 404,
                          "not-found", "/grants/0/object")


def every_change_is_audited_with_who_what_where_and_result(house):
    _principal(house, "eve", "viewer")
    eve = log_in(house, "eve", PASSWORD, https=True)
    eve.send("POST", "/v1/vms", {"name": "x", "template": "bench-boot"}, 403)
    Client(house, https=True).send("POST", "/v1/system/login", {"name": "eve", "password": "guess"}, 401)
    house.run("vm", "create", "web", "--template", "bench-boot", "--start")
    Client(house).send("PATCH", "/v1/principals/eve", {"role": "operator"}, 200)
    lines = {(line["principal"], line.get("source"), line["method"], line.get("name"), line["outcome"], line.get("text"))
             for line in Client(house).items("/v1/events?limit=1000")}
    lines = {line[:5] if line[4] not in ("ok",) or not line[5] else line for line in lines}
    uid = "uid 0"
    for wanted in [("eve", "127.0.0.1", "vm.create", None, "denied"), ("eve", "127.0.0.1", "system.login", None, "unauthenticated"),
                   ("root@local", uid, "vm.create", "web", "accepted"), ("root@local", uid, "vm.create", "web", "ok"),
                   ("root@local", uid, "principal.update", "eve", "ok", "role")]:
        require(wanted in lines, f"the audit misses {wanted}; it has\n" + "\n".join(map(str, sorted(lines, key=str))))
    table = house.run("event", "list").stdout
    for word in ("127.0.0.1", "denied", "principal.update", "PRINCIPAL", "OUTCOME"):
        require(word in table, f"`lodge event list` does not show {word}:\n{table}")
    require(PASSWORD not in json.dumps(Client(house).items("/v1/events?limit=1000")), "a password stands in the audit")
    before = len(Client(house).items("/v1/events?limit=1000"))
    house.power_cut("lodged")
    wait_until("lodged answers", house.answers)
    require(len(Client(house).items("/v1/events?limit=1000")) >= before, "the audit is shorter after a restart")


def guesses_wait_and_tokens_end(house):
    _principal(house, "eve", "viewer")
    anyone = Client(house, https=True)
    statuses = [anyone.send("POST", "/v1/system/login", {"name": "eve", "password": "guess"}).status for _ in range(6)]
    require(statuses[:3] == [401] * 3 and 429 in statuses, f"guesses are not slowed down: {statuses}")
    answer = anyone.send("POST", "/v1/system/login", {"name": "eve", "password": PASSWORD})
    require(answer.status == 429 and answer.headers["Retry-After"], f"the right password may pass the delay: {answer.status}")
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3))
    secret = Client(house).send("POST", "/v1/tokens", {"name": "short", "principal": "eve", "expires": soon}, 201).document["secret"]
    bearer = Client(house, secret, https=True)
    bearer.send("GET", "/v1/vms", status=200)
    wait_until("the token ends", lambda: bearer.send("GET", "/v1/vms").status == 401)
    Client(house).refused("POST", "/v1/tokens", {"name": "old", "principal": "eve", "expires": "2001-01-01T00:00:00Z"}, 400, "invalid", "/expires")


def the_login_pins_the_authority(house):
    _principal(house, "eve", "operator")
    (house.folder / "password").write_text(PASSWORD)
    (house.folder / "config").mkdir()
    url = f"https://127.0.0.1:{house.port}"
    house.environment = {**house.environment, "XDG_CONFIG_HOME": str(house.folder / "config")}
    fingerprint = house.json("system", "info")["ca_fingerprint"]
    del house.environment["LODGE_SERVER"]
    log_in_as = ["login", url, "--name", "eve", "--password-file", house.folder / "password", "--ca-fingerprint"]
    require(house.run("--server", url, "vm", "list", status=5).stderr.count("lodge login"), "an unknown authority is not refused")
    house.run(*log_in_as, "sha256:" + "0" * 64, status=5)
    house.run(*log_in_as, fingerprint)
    config = house.folder / "config/lodge/config.json"
    require(config.stat().st_mode & 0o777 == 0o600, "the token may be read by others")
    house.run("vm", "list")
    # Somebody else on the same port, with another authority.
    house.end("lodged", 15)
    for name in ("ca.pem", "ca.key", "server.pem", "server.key"):
        (house.folder / "manager" / name).rename(house.folder / name)
    house.start("lodged")
    wait_until("lodged answers", lambda: (house.folder / "manager/ca.pem").exists() and _listens(house.port))
    answer = house.run("vm", "list", status=None)
    require(answer.returncode in (5, 6) and not answer.stdout, f"a wrong authority is trusted: {answer}")


def _listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def old_tls_is_refused(house):
    def handshake(version):
        context = ssl.create_default_context(cafile=house.folder / "manager/ca.pem")
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
        with socket.create_connection(("127.0.0.1", house.port), 10) as plain:
            with context.wrap_socket(plain, server_hostname="127.0.0.1") as secure:
                return secure.version()
    for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
        require(handshake(version) == name, f"{name} is not spoken")
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        try:
            require(False, f"{handshake(version)} is spoken")
        except (ssl.SSLError, ConnectionError):
            pass


def a_change_can_name_the_revision_it_means(house):
    api = Client(house)
    _make(house, "web")
    etag = api.send("GET", "/v1/vms/web", status=200).headers["ETag"]
    require(etag and etag.startswith('"'), f"no ETag: {etag}")
    api.finished(api.send("PATCH", "/v1/vms/web", {"description": "one"}, 202, If_Match=etag))
    api.refused("PATCH", "/v1/vms/web", {"description": "two"}, 412, "precondition", If_Match=etag)
    api.refused("DELETE", "/v1/vms/web", None, 412, "precondition", If_Match=etag)
    api.refused("POST", "/v1/vms/web/start", None, 412, "precondition", If_Match=etag)
    # Runtime state is no new revision.
    etag = api.send("GET", "/v1/vms/web").headers["ETag"]
    house.run("vm", "start", "web")
    require(api.send("GET", "/v1/vms/web").headers["ETag"] == etag, "a start changed the ETag")
    api.finished(api.send("PATCH", "/v1/vms/web", {"description": "three"}, 202, If_Match=f'"0", {etag}'))
    pool = api.send("GET", "/v1/pools/default").headers["ETag"]
    api.send("PATCH", "/v1/pools/default", {"description": "a"}, 200, If_Match=pool)
    api.refused("PATCH", "/v1/pools/default", {"description": "b"}, 412, "precondition", If_Match=pool)


def one_key_makes_one_thing(house):
    api, body = Client(house), {"name": "web", "template": "bench-boot"}
    first = api.send("POST", "/v1/vms", body, 202, Idempotency_Key="k").document["id"]
    again = api.send("POST", "/v1/vms", body, Idempotency_Key="k")
    require(again.status == 503 or (again.status == 202 and again.document["id"] == first), f"the second answer is {again.text}")
    house.wait_for_jobs()
    require(api.send("POST", "/v1/vms", body, 202, Idempotency_Key="k").document["id"] == first, "the key made a second job")
    api.refused("POST", "/v1/vms", {**body, "name": "other"}, 409, "conflict", Idempotency_Key="k")
    api.refused("POST", "/v1/vms/web/start", None, 409, "conflict", Idempotency_Key="k")
    _principal(house, "admin2", "administrator").send("POST", "/v1/vms", {**body, "name": "hers"}, 202, Idempotency_Key="k")
    house.wait_for_jobs()
    house.power_cut("lodged")
    wait_until("the host is back", house.has_host)
    require(api.send("POST", "/v1/vms", body, 202, Idempotency_Key="k").document["id"] == first, "the key is forgotten after a restart")
    api.refused("POST", "/v1/vms", {**body, "name": "other"}, 409, "conflict", Idempotency_Key="k")
    require(sorted(house.states()) == ["hers", "web"], f"there are {house.states()}")
    # What is made at once, too.
    pool = api.send("POST", "/v1/pools", {"name": "p"}, 201, Idempotency_Key="p").document["id"]
    require(api.send("POST", "/v1/pools", {"name": "p"}, 201, Idempotency_Key="p").document["id"] == pool, "a repeated create is refused")
    api.refused("POST", "/v1/pools", {"name": "q"}, 409, "conflict", Idempotency_Key="p")
    api.refused("POST", "/v1/pools", {"name": "q"}, 400, "invalid", Idempotency_Key="x" * 129)


def many_at_once_with_one_key_make_one_thing(house):
    api, answers = Client(house), []
    threads = [threading.Thread(target=lambda: answers.append(
        api.send("POST", "/v1/vms", {"name": "web", "template": "bench-boot"}, Idempotency_Key="k"))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    require({answer.status for answer in answers} <= {202, 503}, f"statuses {[answer.status for answer in answers]}")
    require(len({answer.document["id"] for answer in answers if answer.status == 202}) == 1, "there are several jobs")
    house.wait_for_jobs()
    require(list(house.states()) == ["web"], f"there are {house.states()}")


def pages_lose_nothing_while_others_come_and_go(house):
    api = Client(house)
    steady = [f"steady-{n}" for n in range(40)]
    for name in steady:
        api.send("POST", "/v1/pools", {"name": name}, 201)
    for order in ("", "&sort=-name", "&sort=created", "&sort=-description,name"):
        seen, cursor, number = [], None, 0
        while True:
            page = api.send("GET", f"/v1/pools?limit=7{order}" + (f"&cursor={cursor}" if cursor else ""), status=200).document
            seen += [item["name"] for item in page["items"]]
            api.send("POST", "/v1/pools", {"name": f"guest-{number}{len(order)}"}, 201)
            if number:
                api.send("DELETE", f"/v1/pools/guest-{number - 1}{len(order)}", status=204)
            number += 1
            cursor = page.get("next", "").replace("+", "%2B").replace("=", "%3D")
            if not cursor:
                break
        counted = [name for name in seen if name.startswith("steady-")]
        require(sorted(counted) == sorted(steady), f"{order}: {len(counted)} of {len(steady)} were seen, {len(set(counted))} of them once")
    for cursor in ("x", "W10%3D", "bnVsbA%3D%3D", "%00", "WyJhIiwxLDIsMyw0XQ%3D%3D"):
        require(api.send("GET", f"/v1/pools?cursor={cursor}").status == 400, f"the cursor {cursor} was accepted")


def lists_are_filtered_sorted_and_cut(house):
    house.run("vm", "create", "web", "--template", "bench-boot", "--count", 2, "--tag", "prod", "--tag", "edge", "--start")
    house.run("vm", "create", "db", "--template", "bench-boot", "--memory", "2G", "--tag", "prod")
    api = Client(house)

    def names(query):
        return [vm["name"] for vm in api.items(f"/v1/vms?{query}")]

    for query, expected in [("filter=tags=edge", ["web-1", "web-2"]), ("filter=tags=prod,memory>1GiB", ["db"]), ("filter=tags!=edge", ["db"]),
                            ("filter=state=running", ["web-1", "web-2"]), ("filter=name~WEB&sort=-name", ["web-2", "web-1"]),
                            ("filter=repository=main&sort=memory,-name", ["web-2", "web-1", "db"]), ("filter=status.addresses.source=lease,vcpus<=1", ["web-1", "web-2"])]:
        require(names(query) == expected, f"{query} gives {names(query)}, expected {expected}")
    item = api.items("/v1/vms?fields=name,memory")[0]
    require(sorted(item) == ["id", "memory", "name"], f"fields gives {sorted(item)}")
    for query, field in [("filter=colour=1", "/filter"), ("sort=colour", "/sort"), ("limit=0", "/limit"), ("limit=1001", "/limit"), ("fields=colour", "/fields")]:
        require(api.send("GET", f"/v1/vms?{query}", status=400).document.get("field") == field, f"{query} does not name {field}")
    api.send("GET", "/v1/vms?colour=red", status=400)


def disks_and_nics_are_listed_across_vms(house):
    _make(house, "a", "b")
    house.run("vm", "start", "b")
    api = Client(house)
    disks = api.items("/v1/disks")
    require([(disk["vm_name"], disk["name"], disk["repository_name"]) for disk in disks] == [("a", "disk0", "main"), ("b", "disk0", "main")], f"{disks}")
    require([nic["vm_name"] for nic in api.items("/v1/nics?filter=vm=b")] == ["b"], "nics are not filtered by their VM")
    nic = next(vm for vm in house.list("vm") if vm["name"] == "b")["nics"][0]
    row = api.items(f"/v1/nics?filter=mac={nic['mac']}")[0]
    require(row["network_name"] == "default" and row["address"], f"the NIC's row is {row}")
    page = api.send("GET", "/v1/disks?limit=1", status=200).document
    rest = api.send("GET", f"/v1/disks?limit=1&cursor={page['next'].replace('=', '%3D').replace('+', '%2B')}", status=200).document
    require(page["items"] + rest["items"] == disks and "next" not in rest, "pages differ from the list")
    require([row["vm_name"] for row in _principal(house, "guest", "none", [("vm/a", "viewer")]).items("/v1/disks")] == ["a"], "disks of others are shown")
    table = house.run("disk", "list").stdout
    require("REPOSITORY" in table and "1 MiB" in table, f"`lodge disk list`:\n{table}")
    require(nic["mac"] in house.run("nic", "list", "-o", "csv").stdout, "`lodge nic list -o csv`")


class _Stream:
    """A reader of the event stream."""

    def __init__(self, client, last=None):
        self.connection = client.connection()
        headers = {"Last-Event-ID": last} if last else {}
        if client.token:
            headers["Authorization"] = f"Bearer {client.token}"
        self.connection.request("GET", "/v1/events/watch", headers=headers)
        self.answer = self.connection.getresponse()

    def until(self, found):
        """Events up to the first one for which `found` is true, as (id, document)."""
        events, identity = [], None
        for line in self.answer:
            line = line.decode().rstrip("\n")
            if line.startswith("id:"):
                identity = line[3:].strip()
            elif line.startswith("data:"):
                events.append((identity, json.loads(line[5:])))
                if found(events[-1][1]):
                    self.connection.close()
                    return events
        self.connection.close()
        require(False, f"the stream ended after {len(events)} events")
        return events


def events_go_on_where_they_ended(house):
    api = Client(house)
    position = api.send("GET", "/v1/pools").document["position"]
    for name in ("a", "b", "c"):
        api.send("POST", "/v1/pools", {"name": name}, 201)

    def is_last(event):
        return event["kind"] == "created" and event.get("name") == "c"

    whole = _Stream(api, position).until(is_last)
    numbers = [event["sequence"] for _, event in whole]
    require(numbers == list(range(numbers[0], numbers[0] + len(numbers))), f"there are gaps: {numbers}")
    middle = len(whole) // 2
    rest = _Stream(api, whole[middle][0]).until(is_last)
    require(rest == whole[middle + 1:], "a resumed stream tells something else")
    live = _Stream(api)
    api.send("POST", "/v1/pools", {"name": "d"}, 201)
    require(live.until(lambda event: event.get("name") == "d"), "a live stream misses what happens")
    api.refused("GET", "/v1/events/watch", None, 400, "invalid", Last_Event_ID="nonsense")
    house.power_cut("lodged")
    wait_until("lodged answers", house.answers)
    api.refused("GET", "/v1/events/watch", None, 410, "too-old", Last_Event_ID=whole[-1][0])


def a_slow_reader_of_events_is_dropped(house):
    api = Client(house)
    slow = api.connection()
    slow.connect()
    slow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.request("GET", "/v1/events/watch")
    size = 4000
    for number in range(500):
        api.send("PATCH", "/v1/pools/default", {"description": f"{number:04}" + "x" * size}, 200)
    require(house.answers(), "lodged waits for a slow reader")
    memory = house.json("system", "info")["memory"]
    require(memory < 40 << 20, f"lodged holds {memory >> 20} MiB for a slow reader")
    slow.sock.settimeout(20)
    received = 0
    try:
        while chunk := slow.sock.recv(1 << 20):
            received += len(chunk)
    except ConnectionError:
        pass
    require(received < 500 * size, f"the slow reader got all {received} bytes")


def trickles_and_floods_end(house):
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", house.port), 10), socket.socket(socket.AF_UNIX) as trickle:
        trickle.connect(str(house.folder / "lodged.sock"))
        trickle.settimeout(2)
        trickle.sendall(b"GET /v1/vms HTTP/1.1\r\nHost: x\r\n")
        ended = None
        while time.monotonic() - begun < 30 and ended is None:
            try:
                trickle.sendall(b"X-A: b\r\n")
                if trickle.recv(1 << 16) is not None:
                    ended = time.monotonic() - begun
            except TimeoutError:
                require(house.answers(), "lodged does not answer others")
            except ConnectionError:
                ended = time.monotonic() - begun
        require(ended and ended < 15, f"headers may trickle for {ended} s")
    api = Client(house)
    api.refused("POST", "/v1/vms", b'{"name":"' + b"x" * (10 << 20) + b'"}', 413, "too-large", Content_Type="application/json")
    api.refused("POST", "/v1/system/login", b'{"name":"' + b"x" * 5000 + b'"}', 413, "too-large", Content_Type="application/json")
    answer = api.send("GET", "/v1/vms", X_Long="x" * 40000)
    require(answer.status in (413, 431), f"40 kB of headers are answered with {answer.status}")
    api.send("GET", "/v1/vms?" + "&".join(f"a{n}=1" for n in range(100)), status=400)
    require(house.answers(), "lodged does not answer any more")


def bad_values_are_refused_with_their_field(house):
    api, new = Client(house), {"name": "x", "template": "bench-boot"}

    def bad(change, field, status=400, code="invalid"):
        api.refused("POST", "/v1/vms", {**new, **change}, status, code, field)

    bad({"colour": 1}, "/colour", code="unknown-field")
    bad({"disks": [{"size": 1 << 30, "colour": 1}]}, "/disks/0/colour", code="unknown-field")
    bad({"disks": [{"size": 1}]}, "/disks/0/size")
    bad({"disks": [{"kind": "disk"}]}, "/disks/0/size")
    bad({"nics": [{"network": "nothing"}]}, "/nics/0/network", 404, "not-found")
    bad({"name": 1}, "/name")
    bad({"name": None}, "/name")
    bad({"name": "-x"}, "/name")
    bad({"name": "x" * 300}, "/name")
    bad({"vcpus": 0}, "/vcpus")
    bad({"vcpus": 1.5}, "/vcpus")
    bad({"vcpus": True}, "/vcpus")
    bad({"vcpus": 4, "vcpus_maximum": 2}, "/vcpus_maximum")
    bad({"memory": 1 << 30, "memory_maximum": 1 << 29}, "/memory_maximum")
    bad({"memory": (1 << 53)}, "/memory")
    bad({"memory": (1 << 63) - 1}, "/memory")
    bad({"memory": 1 << 63}, None, code="malformed")
    bad({"memory": -1}, "/memory")
    bad({"memory": "1G"}, "/memory")
    bad({"tags": "prod"}, "/tags")
    bad({"tags": ["x"] * 65}, "/tags")
    bad({"ssh_keys": [1]}, "/ssh_keys/0")
    bad({"firmware": "coreboot"}, "/firmware")
    bad({"mac": "53:54:00:00:00:01"}, "/mac")
    bad({"mac": "52:54:00:00:00:01", "count": 2}, "/mac")
    bad({"template": "nothing"}, "/template", 404, "not-found")
    bad({"host": "nothing"}, "/host", 404, "not-found")
    for raw in (b'{"name":"\xff\xfe"}', b'{"name":"x"', b'{"name":"a","name":"b"}', b"[]", b"null", b'{"name":"\\ud800"}', b"[" * 300):
        api.refused("POST", "/v1/vms", raw, 400, "malformed", None, Content_Type="application/json")
    # What the host cannot do is refused before anything starts.
    bad({"memory": (1 << 53) - 1}, "/memory")
    bad({"disk_size": (1 << 53) - 1}, "/disk_size")
    bad({"memory": 1 << 44, "start": True}, "/memory", 409, "no-capacity")
    bad({"vcpus": 4096}, "/vcpus", 422, "unsupported")
    bad({"vcpus_maximum": 4096}, "/vcpus_maximum", 422, "unsupported")
    bad({"nics": [{"mac": "52:54:00:00:00:01"}, {"mac": "52:54:00:00:00:01"}]}, "/nics/1/mac", 409, "exists")
    require(not house.states(), f"something was left behind: {house.states()}")


def absent_null_and_default_differ(house):
    api = Client(house)
    house.run("vm", "create", "web", "--template", "bench-boot", "--description", "text", "--vcpus", 2, "--tag", "a")

    def change(patch):
        job = api.finished(api.send("PATCH", "/v1/vms/web", patch, 202))
        require(job["state"] == "succeeded", f"{patch}: {job}")
        return api.send("GET", "/v1/vms/web").document

    require(change({"tags": ["b"]})["description"] == "text", "an absent field was changed")
    require("description" not in change({"description": None}), "null does not remove")
    require(change({"vcpus": None})["vcpus"] == 1, "null does not give the default")
    require("tags" not in change({"tags": None}), "null does not remove a list")
    for patch in ({"name": None}, {"id": None}, {"status": {"state": "running"}}, {"created": None}, {"revision": 99}):
        answer = api.send("PATCH", "/v1/vms/web", patch)
        require(answer.status in (202, 400), f"{patch}: {answer.status}")
        if answer.status == 202:  # what only repeats what is so
            api.finished(answer)
    require(api.send("GET", "/v1/vms/web").document["name"] == "web", "the name is gone")


def what_is_used_cannot_be_deleted(house):
    api = Client(house)
    house.run("vm", "create", "web", "--template", "bench-boot", "--mac", "52:54:00:00:00:01", "--start")
    api.refused("POST", "/v1/vms", {"name": "web", "template": "bench-boot"}, 409, "exists", "/name")
    api.refused("POST", "/v1/vms", {"name": "x", "template": "bench-boot", "mac": "52:54:00:00:00:01"}, 409, "exists", "/mac")
    api.refused("DELETE", "/v1/vms/web", None, 409, "wrong-state")
    for path in ("/v1/networks/default", "/v1/repositories/main", "/v1/hosts/one", "/v1/pools/default", "/v1/templates/bench-boot"):
        problem = api.refused("DELETE", path, None, 409, "in-use")
        require(len(problem["detail"]) > 10, f"{path}: the refusal says nothing: {problem}")
    api.finished(api.send("PATCH", "/v1/vms/web", {"protected": True}, 202))
    house.run("vm", "kill", "web")
    require(api.send("DELETE", "/v1/vms/web").status == 409, "a protected VM was deleted")
    api.refused("DELETE", "/v1/principals/admin", None, 409, "in-use")


PROMISES = [
    roles_and_grants_decide_what_is_allowed,
    every_change_is_audited_with_who_what_where_and_result,
    guesses_wait_and_tokens_end,
    the_login_pins_the_authority,
    old_tls_is_refused,
    a_change_can_name_the_revision_it_means,
    one_key_makes_one_thing,
    many_at_once_with_one_key_make_one_thing,
    pages_lose_nothing_while_others_come_and_go,
    lists_are_filtered_sorted_and_cut,
    disks_and_nics_are_listed_across_vms,
    events_go_on_where_they_ended,
    a_slow_reader_of_events_is_dropped,
    trickles_and_floods_end,
    bad_values_are_refused_with_their_field,
    absent_null_and_default_differ,
    what_is_used_cannot_be_deleted,
]
