"""Scenarios about the promises of the command line: output, terminals, exit statuses, completion, manual pages."""
import csv
import fcntl
import io
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import subprocess
import termios
import time

from client import Client
from house import require, wait_until


class Terminal:
    """`lodge` on a terminal of 80 columns; what it writes there is gathered."""

    def __init__(self, house, *arguments, columns=80):
        self.main, other = pty.openpty()
        subprocess.run(["stty", "cols", str(columns), "rows", "24"], stdin=other, check=True)
        self.child = subprocess.Popen([house.programs["lodge"], *map(str, arguments)], stdin=other, stderr=other, stdout=other,
                                      env=house.environment, start_new_session=True,
                                      preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))  # so that ctrl-C reaches it
        os.close(other)
        self.text = ""

    def read(self, seconds=0.1):
        while select.select([self.main], [], [], seconds)[0]:
            try:
                chunk = os.read(self.main, 65536)
            except OSError:  # the other end is closed
                return False
            if not chunk:
                return False
            self.text += chunk.decode(errors="replace")
        return True

    def until(self, word, seconds=20):
        end = time.monotonic() + seconds
        while word not in self.text and time.monotonic() < end and self.read():
            pass
        require(word in self.text, f"{word!r} was not written: {self.text!r}")

    def type(self, text):
        os.write(self.main, text.encode())

    def end(self, seconds=30):
        end = time.monotonic() + seconds
        while self.child.poll() is None and time.monotonic() < end:
            self.read()
        self.read(0)
        if self.child.poll() is None:
            self.child.kill()
        status = self.child.wait()
        os.close(self.main)
        return status


def _slow(house, milliseconds):
    house.power_cut("lodge-agent", LODGE_FAKE_DELAY_MS=str(milliseconds))
    wait_until("the host is connected", house.has_host)


def every_format_tells_the_same(house):
    house.run("vm", "create", "web", "--template", "bench-boot", "--count", 3, "--memory", "1536M", "--start")
    house.wait_for_states({f"web-{n}": "running" for n in (1, 2, 3)})
    names = ["web-1", "web-2", "web-3"]
    rows = house.run("vm", "list").stdout.splitlines()
    require(rows[0].split() == ["NAME", "STATE", "VCPUS", "MEMORY", "MAC", "IP", "REPOSITORY", "HOST"], f"the columns are {rows[0]}")
    require([row.split()[0] for row in rows[1:]] == names and "1.5 GiB" in rows[1], f"the rows are {rows}")
    wide = house.run("vm", "list", "-o", "wide").stdout.splitlines()
    require("TEMPLATE" in wide[0] and re.search(r"\d+ s ago$", wide[1]), f"-o wide: {wide[:2]}")
    require([vm["name"] for vm in json.loads(house.run("vm", "list", "-o", "json").stdout)] == names, "-o json")
    require(re.findall(r"^- .*|^  name: (\S+)", house.run("vm", "list", "-o", "yaml").stdout, re.M).count("web-2") == 1, "-o yaml")
    table = list(csv.DictReader(io.StringIO(house.run("vm", "list", "-o", "csv").stdout)))
    require([row["NAME"] for row in table] == names and table[0]["MEMORY"] == str(1536 << 20), f"-o csv: {table}")
    require(house.run("vm", "list", "-o", "name").stdout.split() == names, "-o name")
    require(house.run("vm", "list", "--no-headers", "--columns", "name,memory", "--sort", "-name").stdout.splitlines()[0] == "web-3  1.5 GiB", "--columns --sort")
    require(house.run("vm", "list", "--filter", "name=web-2,state=running", "-o", "name").stdout == "web-2\n", "--filter")
    require(house.run("vm", "list", "--filter", "HOST=one,name!=web-1", "--sort", "-state,-name", "-o", "name").stdout.split() == ["web-3", "web-2"], "titles")
    require(house.run("vm", "list", "--filter", f"mac={table[1]['MAC']}", "--sort", "ip,repository", "-o", "name").stdout == "web-2\n", "a MAC")
    require(house.run("vm", "list", "--filter", "name=nothing").stdout.split() == rows[0].split(), "an empty list has no titles")
    for layout in ("table", "json", "yaml", "csv", "name"):
        for noun in ("vm", "host", "pool", "repository", "network", "template", "job", "event", "principal", "token", "iso"):
            require(house.run(noun, "list", "-o", layout).returncode == 0, f"{noun} list -o {layout}")
        for what in (("vm", "show", "web-1"), ("host", "show", "one"), ("system", "info")):
            require(house.run(*what, "-o", layout).stdout, f"{what} -o {layout}")
    shown = house.run("vm", "show", "web-1").stdout
    require("Repository: main" in shown and "Template: bench-boot" in shown, f"`vm show` has no names:\n{shown}")


def exit_statuses_say_what_happened(house):
    house.run("vm", "create", "web", "--template", "bench-boot")
    house.run("pool", "list", status=0)
    house.run("vm", "stop", status=2)
    house.run("nothing", status=2)
    house.run("vm", "create", "x", "--template", "bench-boot", "--memory", "lots", status=2)
    house.run("vm", "create", "x", "--template", "bench-boot", "--vcpus", 0, status=2)
    house.run("vm", "delete", "web", status=2)  # nobody can be asked
    house.run("vm", "show", "nothing", status=3)
    house.run("vm", "create", "web", "--template", "bench-boot", status=4)
    house.run("principal", "create", "eve")
    secret = house.json("token", "create", "t", "--principal", "eve")["secret"]
    (house.folder / "token").write_text(secret)
    house.run("vm", "start", "web", "--token-file", house.folder / "token", status=5)
    house.run("vm", "list", "--server", f"unix:{house.folder}/nothing.sock", status=6)
    _slow(house, 3000)
    done = house.run("vm", "start", "web", "--timeout", 1, status=7)
    require(not done.stdout and "goes on" in done.stderr and "lodge job cancel" in done.stderr, f"the time-out says {done.stderr!r}")
    house.wait_for_jobs()
    require(house.states() == {"web": "running"}, f"the job did not go on: {house.states()}")
    house.power_cut("lodge-agent", LODGE_FAKE_FAIL="start:1.0")
    wait_until("the host is connected", house.has_host)
    house.run("vm", "create", "bad", "--template", "bench-boot", "--start", status=1)


def results_and_words_go_different_ways(house):
    done = house.run("vm", "create", "web", "--template", "bench-boot", "--start", "-o", "name")
    require(done.stdout == "web\n", f"standard output has more than the result: {done.stdout!r}")
    require("\r" not in done.stderr and "\033" not in done.stderr and "%" not in done.stderr, f"a bar in a pipe: {done.stderr!r}")
    done = house.run("vm", "kill", "web")
    require(not done.stdout and "kill web: done" in done.stderr, f"kill: {done}")
    job = house.run("vm", "start", "web", "--no-wait").stdout.strip()
    require(re.fullmatch(r"[0-9a-f-]{36}", job), f"--no-wait writes {job!r}")
    wait_until("the job ends", lambda: house.json("job", "show", job[:8])["state"] == "succeeded")
    plan = house.run("vm", "delete", "web", "--force", "--dry-run", "-o", "json")
    require(json.loads(plan.stdout)["steps"] and house.states() == {"web": "running"}, "a dry run did something")
    require(house.run("api", "get", "/v1/vms/web").stdout.startswith("{"), "`lodge api` writes no JSON")
    (house.folder / "body").write_text('{"name":"made"}')
    require(json.loads(house.run("api", "POST", "/v1/pools", "--data", f"@{house.folder}/body").stdout)["name"] == "made", "--data @FILE")
    house.run("api", "DELETE", "/v1/pools/made")
    house.run("api", "GET", "/v1/nothing", status=3)
    house.run("api", "GET", "/nothing", status=3)
    done = house.run("pool", "update", "default", "--description", "the first one")
    require(not done.stdout and done.stderr == "update default: done\n", f"pool update: {done}")
    done = house.run("vm", "update", "web", "--firmware", "uefi")
    require(not done.stdout and "firmware: at the next start" in done.stderr, f"vm update: {done}")
    done = house.run("vm", "create", "more", "--template", "bench-boot", "--memory", "1G", "--dry-run")
    require("memory: 1 GiB\n" in done.stdout and "Would hold template bench-boot" in done.stdout and done.stdout.endswith("Nothing was done.\n"), f"--dry-run: {done}")


def uploads_take_lists(house):
    image = house.folder / "disk.raw"
    image.write_bytes(os.urandom(1 << 20))
    house.run("template", "import", "imp", image, "--format", "raw", "--firmware", "uefi", "--firmware", "bios", "--tag", "a", "--tag", "b")
    made = house.json("template", "show", "imp")
    require(made["firmware"] == ["uefi", "bios"] and made["tags"] == ["a", "b"], f"the template is {made}")


def names_and_ids_both_work(house):
    house.run("vm", "create", "web", "--template", "bench-boot", "--count", 2)
    identity = house.json("vm", "show", "web-1")["id"]
    require(house.json("vm", "show", identity)["name"] == "web-1", "an id does not work")
    house.run("vm", "start", identity, "web-2")
    house.wait_for_states({"web-1": "running", "web-2": "running"})
    for noun, name in (("host", "one"), ("pool", "default"), ("repository", "main"), ("network", "default"), ("template", "bench-boot")):
        shown = house.json(noun, "show", name)
        require(house.json(noun, "show", shown["id"])["name"] == name, f"{noun} by id")
    job = house.list("job")[0]
    require(house.json("job", "show", job["id"][:8])["id"] == job["id"], "a job by its short id")


def a_terminal_gets_a_bar_and_80_columns(house):
    _slow(house, 400)
    terminal = Terminal(house, "vm", "create", "web", "--template", "bench-boot", "--count", 3, "--start")
    require(terminal.end() == 0, terminal.text)
    require(re.search(r"\r\033\[K\[#*\.*\] +\d+%", terminal.text), f"there is no bar: {terminal.text!r}")
    last = terminal.text.split("\033[K")[-1]
    require("web-3" in last and "[" not in last, f"the bar is not cleared: {last!r}")
    for frame in re.findall(r"\033\[K([^\r]*)", terminal.text)[:-1]:
        require(len(frame.split("\n")[0]) <= 80, f"the bar is wider than the terminal: {frame!r}")
    house.run("vm", "create", "a-name-that-is-rather-long-for-a-machine", "--template", "bench-boot", "--description", "x" * 200)
    for arguments in (["vm", "list"], ["job", "list"], ["event", "list"], ["template", "list"], ["host", "list"], ["repository", "list"],
                      ["help"], ["vm", "--help"], ["vm", "create", "--help"], ["help", "job", "show"], ["login", "--help"]):
        terminal = Terminal(house, *arguments)
        require(terminal.end() == 0, terminal.text)
        wide = [line for line in terminal.text.splitlines() if len(line) > 80]
        require(not wide, f"{' '.join(arguments)} is wider than 80 columns: {wide[:2]}")
    # Piped output is never shortened.
    require("a-name-that-is-rather-long-for-a-machine" in house.run("job", "list").stdout, "a pipe gets a shortened name")


def ctrl_c_leaves_the_job_and_says_so(house):
    _slow(house, 2000)
    terminal = Terminal(house, "vm", "create", "web", "--template", "bench-boot", "--start")
    terminal.until("%")
    terminal.type("\x03")
    require(terminal.end() == 1, "ctrl-C: the status is not 1")
    require("goes on" in terminal.text and "lodge job cancel" in terminal.text, f"ctrl-C says {terminal.text!r}")
    house.wait_for_jobs()
    house.wait_for_states({"web": "running"})
    terminal = Terminal(house, "vm", "delete", "web", "--force")
    terminal.until("[y/N]")
    terminal.type("n\n")
    require(terminal.end() == 1 and house.states() == {"web": "running"}, "a refused question deleted the VM")
    terminal = Terminal(house, "vm", "delete", "web", "--force")
    terminal.until("[y/N]")
    terminal.type("y\n")
    require(terminal.end() == 0 and not house.states(), "a confirmed question did not delete the VM")


def typos_get_a_suggestion(house):
    for arguments, word in ((["vn", "list"], "vm"), (["vm", "lsit"], "list"), (["vm", "list", "--fitler", "x"], "--filter"), (["event", "wach"], "watch"),
                            (["vm", "create", "x", "--templat", "y"], "--template"), (["vm", "list", "--columns", "nmae"], "name"), (["logn", "x"], "login")):
        done = house.run(*arguments, status=2)
        require(f"did you mean {word}?" in done.stderr, f"{arguments}: {done.stderr!r}")
    done = house.run("xyzzy", status=2)
    require("did you mean" not in done.stderr and "lodge help" in done.stderr, f"a wild suggestion: {done.stderr!r}")


def who_leaves_before_a_console_opens_harms_nobody(house):
    """The client is gone when the host says that its console is there."""
    house.run("vm", "create", "web", "--template", "bench-boot", "--start")
    house.power_cut("lodge-agent", LODGE_FAKE_DELAY_MS="700")
    wait_until("the host is connected", house.has_host)
    manager = house.children["lodged"]
    for seconds in (0.1, 0.3, 0.5):
        with subprocess.Popen([house.programs["lodge"], "vm", "console", "web"], stdin=subprocess.PIPE, env=house.environment,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as console:
            time.sleep(seconds)  # moments before the host's answer, which takes longer
            console.kill()
    # The answer to one who stays comes behind those to the ones who left.
    with subprocess.Popen([house.programs["lodge"], "vm", "console", "web"], stdin=subprocess.PIPE, env=house.environment,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as console:
        require(b"fake console" in console.stdout.readline(), "the console of one who stays says nothing")
        console.kill()
    require(manager.poll() is None, f"lodged ended: {manager.poll()}")
    house.run("vm", "show", "web")


def bash_completes_words_and_names(house):
    house.run("vm", "create", "web", "--template", "bench-boot", "--count", 2)
    script = """set -u
PATH=$1:$PATH; shift
eval "$(lodge completion bash)"
COMP_WORDS=(lodge "$@"); COMP_CWORD=$#; COMP_LINE="lodge $*"; COMP_POINT=${#COMP_LINE}
complete -p lodge > /dev/null || exit 3
_lodge lodge "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""

    def complete(*words):
        done = subprocess.run(["bash", "--norc", "-c", script, "bash", str(pathlib.Path(house.programs["lodge"]).resolve().parent), *words],
                              capture_output=True, text=True, env=house.environment, check=False, timeout=20)
        require(done.returncode == 0 and not done.stderr, f"completion of {words}: {done}")
        return done.stdout.split()

    for words, expected in ((["v"], ["vm"]), (["vm", "cons"], ["console"]), (["vm", "show", "we"], ["web-1", "web-2"]), (["vm", "start", "web-1", "web-"], ["web-1", "web-2"]),
                            (["vm", "create", "x", "--templ"], ["--template"]), (["vm", "create", "x", "--template", "bench"], ["bench-boot"]),
                            (["vm", "list", "-o", "y"], ["yaml"]), (["vm", "create", "x", "--firmware", ""], ["bios", "uefi"]), (["host", "show", ""], ["one"]),
                            (["vm", "stop", ""], []), (["vm", "create", "x", "--guest-os", "debian12"], ["debian12"]), (["help", "vm", "cre"], ["create"]), (["job", "cancel", ""], []),
                            (["vm", "list", "--columns", "name,hos"], ["name,host"])):
        require(complete(*words) == expected, f"{words} completes to {complete(*words)}, expected {expected}")
    house.end("lodged", signal.SIGKILL)
    require(complete("vm", "show", "") == [], "without a server there are names")


def manual_pages_render_without_warnings(house):
    pages = sorted(pathlib.Path(house.programs["lodge"]).resolve().parent.glob("*.1"))
    require(len(pages) > 10, f"there are only {len(pages)} pages")
    texts = {page.name: page.read_text().replace("\\-", "-") for page in pages}
    require("Only for lodge login." in texts["lodge.1"] and "512 MiB" in texts["lodge-host.1"], "options of all commands, or sizes in bytes")
    require(".SH EXAMPLES" in texts["lodge.1"] and ".SH EXAMPLES" in texts["lodge-vm.1"], "there are no examples")
    for daemon in ("lodged", "lodge-agent"):
        page = pathlib.Path(__file__).resolve().parents[2] / "man" / f"{daemon}.8"
        text, options = page.read_text().replace("\\-", "-"), subprocess.run([house.programs[daemon], "--help"], capture_output=True, text=True, check=True).stdout
        missing = [option for option in re.findall(r"--[a-z-]+", options) if option not in text and not option.startswith("--help-")]
        require(not missing, f"{page.name} does not tell of {missing}")
        pages.append(page)
    tool = next((tool for tool in ("mandoc", "groff", "man") if shutil.which(tool)), None)
    if not tool:
        print("   neither mandoc nor groff nor man is installed: only the form is checked")
    for page in pages:
        text = page.read_text()
        require(text.startswith(".") and ".SH NAME" in text, f"{page.name} is no manual page")
        command = {"mandoc": ["mandoc", "-T", "lint", "-W", "warning"], "groff": ["groff", "-man", "-ww", "-T", "utf8", "-z"],
                   "man": ["man", "--warnings", "-E", "UTF-8", "-l"]}.get(tool)
        if command:
            done = subprocess.run([*command, str(page)], capture_output=True, text=True, check=False, env={**os.environ, "MANWIDTH": "80"})
            require(done.returncode == 0 and not done.stderr.strip(), f"{page.name}: {done.stdout[:300]}{done.stderr[:300]}")


def events_and_jobs_are_told_in_words(house):
    watch = subprocess.Popen([house.programs["lodge"], "event", "watch"], stdout=subprocess.PIPE, text=True, env=house.environment)
    try:
        time.sleep(0.3)
        house.run("vm", "create", "web", "--template", "bench-boot", "--start")
        lines, end = "", time.monotonic() + 10
        while not re.search(r"vm web  running", lines) and time.monotonic() < end:
            lines += watch.stdout.readline()
        require(re.search(r"^\d{4}-.*  created  vm web", lines, re.M) and "vm web  running" in lines, f"`event watch` wrote\n{lines}")
    finally:
        watch.terminate()
        watch.wait()
    house.power_cut("lodge-agent", LODGE_FAKE_FAIL="start:1.0")
    wait_until("the host is connected", house.has_host)
    house.run("vm", "create", "bad", "--template", "bench-boot", "--start", status=1)
    job = next(job for job in house.list("job") if job["state"] == "failed")
    shown = house.run("job", "show", job["id"]).stdout
    for word in ("failed", "Steps:", "Hint:", "Detail:", "Started:"):
        require(word in shown, f"`job show` does not tell {word}:\n{shown}")


PROMISES = [
    every_format_tells_the_same,
    exit_statuses_say_what_happened,
    results_and_words_go_different_ways,
    uploads_take_lists,
    names_and_ids_both_work,
    a_terminal_gets_a_bar_and_80_columns,
    ctrl_c_leaves_the_job_and_says_so,
    typos_get_a_suggestion,
    who_leaves_before_a_console_opens_harms_nobody,
    bash_completes_words_and_names,
    manual_pages_render_without_warnings,
    events_and_jobs_are_told_in_words,
]
