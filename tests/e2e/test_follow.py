#!/usr/bin/env python3
"""inlay attach --follow: children that the target forks while it is attached to, and what becomes of those it had."""
import json
import os
import re
import signal
import subprocess
import time
import urllib.request

import lab

EXE = "/proc/self/exe"
# The whole is a minute of each kind of server (INLAY_STRESS_SECONDS=60); make check does the short form.
SECONDS = max(lab.STRESS, 4)


class Forks:
    """tests/victims/forks.c"""

    def __init__(self, *arguments):
        self.process = lab.start([lab.victim("forks"), *map(str, arguments)], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, text=True)
        self.pid = self.process.pid

    def begin(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def idle(self):
        """No new workers; (calls of all) when the last has ended."""
        self.process.send_signal(signal.SIGUSR1)
        line = self.process.stdout.readline()
        found = re.fullmatch(r"(\d+) calls 0 wrong (\d+) workers\n", line)
        assert found, line
        return int(found.group(1)), int(found.group(2))

    def end(self):
        self.process.stdin.close()
        assert self.process.wait(10) == 0


def calls(out):
    return json.loads(out)["maps"]["calls"][0]["value"]


def followed(err):
    return int(re.search(r"^(\d+) child(?:ren)? followed$", err, re.M).group(1))


def descendants(pid):
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                for child in map(int, file.read().split()):
                    found += [child, *descendants(child)]
        except OSError:
            pass
    return found


def has_agent(pid):
    """Threads of an agent of its own."""
    names = []
    try:
        for tid in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{tid}/comm", encoding="utf-8") as file:
                names.append(file.read().strip())
    except OSError:
        pass
    return "inlay" in names


def text_is_restored(pid):
    try:
        return lab.text_differences(pid) == []
    except (FileNotFoundError, ProcessLookupError, OSError):
        return True # it ended


def every_call_of_every_child_counts():
    """Workers that live 150 ms or 1 ms, grandchildren, raw clone: the array's sum is exact."""
    obj = lab.count_program(EXE, "forked_work")
    for arguments in ((4, 100, 1000, 3), (4, 10, 100, 2), (3, 100, 1000, 2, "raw")):
        server = Forks(*arguments)
        attachment = lab.Attachment(server.pid, obj, "--json", "--follow")
        server.begin()
        time.sleep(SECONDS)
        total, workers = server.idle()
        status, out, err = attachment.finish()
        assert status == 0, err
        assert calls(out) == total, (arguments, calls(out), total, err)
        # Of those that live 1 ms none need be seen in time.
        assert workers > 10 and (followed(err) > 0 or arguments[1] < 100), (workers, err)
        assert lab.text_differences(server.pid) == []
        server.end()


LOCKED = f"""
struct {{ __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 4096); __type(key, __u32); __type(value, __u64); }} by_pid SEC(".maps");
SEC("uprobe/{EXE}:forked_work") int count(struct pt_regs *ctx)
{{
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	__u64 one = 1, *value = bpf_map_lookup_elem(&by_pid, &pid);

	if (value)
		__sync_fetch_and_add(value, 1);
	else
		bpf_map_update_elem(&by_pid, &pid, &one, BPF_ANY);
	return 0;
}}
"""


def a_followed_child_is_a_process_of_its_own():
    """Its own agent, its own elements in hash tables, its hits in the sum; grandchildren too."""
    server = Forks(3, 1000000, 1000, 0)
    attachment = lab.Attachment(server.pid, lab.compile_bpf(LOCKED), "--json", "--follow")
    server.begin()
    workers = lab.wait_for(lambda: len(descendants(server.pid)) == 3 and descendants(server.pid), "three workers")
    lab.wait_for(lambda: all(map(has_agent, workers)), "three agents")
    time.sleep(1)
    status, out, err = attachment.finish()
    assert status == 0, err
    by_pid = {row["key"]: row["value"] for row in json.loads(out)["maps"]["by_pid"]}
    assert set(by_pid) == set(workers), (by_pid, workers)
    hits = int(re.search(r"count: (\d+) hits", err).group(1))
    assert sum(by_pid.values()) == hits > 300, (by_pid, err)
    assert followed(err) == 3, err
    assert all(map(text_is_restored, workers)), "a child is patched still"
    lab.wait_for(lambda: not any(map(has_agent, workers)), "their agents' threads to end", 3)


def a_killed_loader_restores_all():
    server = Forks(3, 1000000, 500, 0)
    attachment = lab.Attachment(server.pid, lab.count_program(EXE, "forked_work"), "--follow")
    server.begin()
    lab.wait_for(lambda: len(descendants(server.pid)) == 3, "three workers")
    workers = descendants(server.pid)
    lab.wait_for(lambda: all(map(has_agent, workers)), "three agents")
    attachment.process.kill()
    lab.wait_for(lambda: all(map(text_is_restored, [server.pid, *workers])), "the text of all to be restored")
    lab.wait_for(lambda: not any(map(has_agent, [server.pid, *workers])), "their agents' threads to end", 5)
    assert all(os.path.exists(f"/proc/{pid}") for pid in workers)


def children_before_during_and_after():
    """Loaders come and go, following and not, while workers are forked, live and end: all run right."""
    server = Forks(4, 200, 500, 2)
    obj = lab.count_program(EXE, "forked_work")
    server.begin()
    end, rounds, seen, refused = time.monotonic() + 2 * SECONDS, 0, 0, 0
    while time.monotonic() < end:
        options = ["--follow"] if rounds % 3 else []
        result = lab.inlay("attach", "-p", server.pid, "--json", "--duration", "0.3", *options, obj)
        if result.returncode == 1 and "came to a point where the agent can be loaded" in result.stderr:
            # On a busy machine its one thread may be seen in fork each time; then nothing may have changed.
            assert lab.text_differences(server.pid) == []
            refused += 1
            end += 10
            assert refused < 3, result.stderr
            continue
        assert result.returncode == 0, result.stderr
        seen += calls(result.stdout)
        assert lab.text_differences(server.pid) == []
        rounds += 1
        time.sleep(0.05)
    total, workers = server.idle()
    assert 0 < seen <= total and workers > 20, (seen, total, workers)
    server.end()
    print(f"# {rounds} attachments, {refused} refused, {workers} workers, {seen} of {total} calls seen")


def children_that_execute_others_are_left_alone():
    """system(), posix_spawn() and vfork() of a followed target: their children have its memory, or are other programs."""
    server = lab.start([lab.victim("prefork")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    attachment = lab.Attachment(server.pid, lab.count_program(EXE, "work"), "--json", "--follow")
    for _ in range(60):
        server.stdin.write("s")
        server.stdin.flush()
        assert server.stdout.readline() == "7 8 9\n"
    status, out, err = attachment.finish()
    assert status == 0, err
    assert "not followed" not in err, err
    assert calls(out) == 60, out
    assert lab.text_differences(server.pid) == []
    server.stdin.write("q")
    server.stdin.close()
    assert server.wait(10) == 0


def the_end_of_a_target_by_exec_is_said_at_once():
    """Not at --duration; with what was counted, and exit status 1."""
    server = lab.start([lab.victim("prefork")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    attachment = lab.Attachment(server.pid, lab.count_program(EXE, "work"), "--json", "--duration", "60")
    server.stdin.write("sx")
    server.stdin.flush()
    attachment.process.wait(10)
    status, out, err = attachment.finish(None)
    assert status == 1 and re.search(rf"process {server.pid} executed another program, \S*prefork", err), (status, err)
    assert calls(out) == 1, out
    server.kill()


NGINX = """
daemon off; worker_processes 2; error_log stderr crit; pid {folder}/pid; master_process on; user {user};
events {{ worker_connections 64; }}
http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; server {{ listen 127.0.0.1:{port}; location / {{ return 200 "fine"; }} }} }}
"""


def fetch(port, count):
    for _ in range(count):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
            assert answer.read() == b"fine"


def nginx_workers_are_followed_over_a_reload():
    lab.need_root()
    lab.need("nginx")
    folder, port = lab.folder(), lab.free_port()
    os.chmod(folder, 0o755)
    with open(f"{folder}/conf", "w", encoding="ascii") as file:
        file.write(NGINX.format(folder=folder, port=port, user="nobody nogroup"))
    server = lab.start(["nginx", "-p", folder, "-c", f"{folder}/conf"], stderr=subprocess.DEVNULL)
    lab.wait_for(lambda: len(descendants(server.pid)) == 2, "two workers")
    old = descendants(server.pid)
    # recv is called once or twice a request, by the workers alone.
    attachment = lab.Attachment(server.pid, lab.count_program("libc.so.6", "recv"), "--json", "--follow")
    fetch(port, 20)
    server.send_signal(signal.SIGHUP)
    lab.wait_for(lambda: len(descendants(server.pid)) == 2 and not set(old) & set(descendants(server.pid)), "new workers")
    new = descendants(server.pid)
    lab.wait_for(lambda: all(map(has_agent, new)), "agents in the new workers")
    fetch(port, 200)
    status, out, err = attachment.finish()
    assert status == 0, err
    assert calls(out) >= 200 and followed(err) == 2, (out, err)
    assert all(map(text_is_restored, [server.pid, *new]))
    fetch(port, 20)
    server.send_signal(signal.SIGTERM)
    assert server.wait(10) == 0


lab.run(every_call_of_every_child_counts, a_followed_child_is_a_process_of_its_own, a_killed_loader_restores_all,
        children_before_during_and_after, children_that_execute_others_are_left_alone,
        the_end_of_a_target_by_exec_is_said_at_once, nginx_workers_are_followed_over_a_reload)
