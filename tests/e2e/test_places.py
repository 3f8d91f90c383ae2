#!/usr/bin/env python3
"""Where targets live: an ordinary user's process, another root and namespaces, under gdb, under PR_SET_MDWE."""
import json
import os
import pwd
import re
import shutil
import subprocess
import threading
import time

import lab

EXE = "/proc/self/exe"
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1


def _count(attachment):
    status, out, err = attachment.finish()
    assert status == 0, err
    return json.loads(out)["maps"]["calls"][0]["value"]


def _nobody():
    try:
        return pwd.getpwnam("nobody").pw_uid
    except KeyError as error:
        raise lab.Skip("there is no user nobody") from error


def _readable_build():
    """A copy of what an ordinary user needs to run, where that user can read it."""
    where = lab.folder()
    os.chmod(where, 0o755)
    shutil.copy(lab.INLAY, where)
    return os.path.join(where, "inlay")


def ordinary_user_own_process():
    lab.need_root()
    lab.need("setpriv")
    uid = _nobody()
    ordinary = ["setpriv", f"--reuid={uid}", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
    copied = lab.folder()
    os.chmod(copied, 0o755)
    binary = shutil.copy(lab.victim("caller"), copied)
    target = lab.start([*ordinary, binary], stdout=subprocess.DEVNULL)
    time.sleep(0.1)
    obj = lab.count_program(EXE, "victim_work")
    os.chmod(os.path.dirname(obj), 0o755)
    inlay, lab.INLAY = lab.INLAY, _readable_build()
    try:
        attachment = lab.Attachment(target.pid, obj, "--json", wrapper=ordinary)
        time.sleep(0.3)
        assert _count(attachment) > 0
        # The same user, a process of root: one clear error.
        other = lab.start([lab.victim("caller")], stdout=subprocess.DEVNULL)
        time.sleep(0.1)
        result = subprocess.run([*ordinary, lab.INLAY, "attach", "-p", str(other.pid), "--duration", "0.1", obj],
                                capture_output=True, text=True, timeout=30, check=False)
        assert result.returncode == 1, result
        causes = [l for l in result.stderr.splitlines() if l.startswith("inlay: ")]
        assert len(causes) == 1 and "user" in causes[0], result.stderr
    finally:
        lab.INLAY = inlay


def _bare_root(program):
    """A root directory that holds the program, its libraries, and an empty /proc."""
    root = lab.folder()
    os.chmod(root, 0o755)
    os.mkdir(os.path.join(root, "proc"))
    os.mkdir(os.path.join(root, "old"))
    listing = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    libraries = set(re.findall(r"(/\S+)", listing))
    for path in {program, *libraries}:
        if not os.path.exists(path):
            continue
        target = root + (path if path != program else "/program")
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy(os.path.realpath(path), target)
    return root


def _in_own_namespaces(root, with_proc):
    """Starts /program in the root by pivot_root, in mount, pid and network namespaces of its own. Its pid out here."""
    mount = "mount -t proc proc proc && " if with_proc else ""
    script = (f"mount --bind {root} {root} && cd {root} && {mount} pivot_root . old && "
              "umount -l /old 2>/dev/null || true; exec /program")
    # umount is gone after pivot_root; a shell builtin cannot do it, so the old root stays detached by the namespace.
    outer = lab.start(["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "--propagation", "private",
                       "sh", "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def inner():
        children = open(f"/proc/{outer.pid}/task/{outer.pid}/children", encoding="ascii").read().split()
        for child in children:
            try:
                if os.readlink(f"/proc/{child}/exe").endswith("program"):
                    return int(child)
            except OSError:
                pass
        return None
    return lab.wait_for(inner, "the target in its namespaces")


def own_root_and_namespaces():
    lab.need_root()
    lab.need("unshare", "pivot_root")
    pid = _in_own_namespaces(_bare_root(lab.victim("caller")), with_proc=True)
    attachment = lab.Attachment(pid, lab.count_program(EXE, "victim_work"), "--json")
    time.sleep(0.3)
    assert _count(attachment) > 0
    assert lab.text_differences(pid) == []


def own_root_without_proc():
    """Either it works (the descriptor substituted) or it is refused with that reason and the target untouched."""
    lab.need_root()
    lab.need("unshare", "pivot_root")
    pid = _in_own_namespaces(_bare_root(lab.victim("caller")), with_proc=False)
    result = lab.inlay("attach", "-p", pid, "--duration", "0.2", "--json", lab.count_program(EXE, "victim_work"))
    if result.returncode == 0:
        assert json.loads(result.stdout)["maps"]["calls"][0]["value"] > 0
    else:
        assert result.returncode == 1 and "/proc" in result.stderr, result.stderr
    assert lab.text_differences(pid) == []


def _gdb(pid, *commands):
    words = [word for command in commands for word in ("-ex", command)]
    return subprocess.run(["gdb", "-q", "-batch", "-p", str(pid), *words], capture_output=True, text=True, timeout=120,
                          stdin=subprocess.DEVNULL, check=False).stdout


def gdb_before_and_after():
    lab.need("gdb")
    target = lab.start([lab.victim("caller")], stdout=subprocess.DEVNULL)
    time.sleep(0.1)
    assert "main" in _gdb(target.pid, "bt")
    attachment = lab.Attachment(target.pid, lab.count_program(EXE, "victim_work"), "--json")
    assert "main" in _gdb(target.pid, "thread apply all bt")
    time.sleep(0.2)
    assert _count(attachment) > 0
    assert "main" in _gdb(target.pid, "bt")
    assert target.poll() is None
    assert lab.text_differences(target.pid) == []


def never_writable_and_executable():
    """Loader and target under PR_SET_MDWE, every mapping of both sampled throughout."""
    def refuse():
        import ctypes  # in the child, before exec: the setting is inherited
        if ctypes.CDLL(None).prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0):
            os._exit(77)
    target = lab.start([lab.victim("caller")], stdout=subprocess.DEVNULL, preexec_fn=refuse)
    time.sleep(0.1)
    if target.poll() == 77:
        raise lab.Skip("the kernel lacks PR_SET_MDWE")
    seen, stop, watched, samples = [], threading.Event(), {target.pid}, [0]

    def watch():
        while not stop.is_set():
            for pid in list(watched):
                try:
                    seen.extend(row for row in lab.maps_of(pid) if "w" in row[2] and "x" in row[2])
                    samples[0] += 1
                except (OSError, ValueError):
                    pass
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        obj = lab.count_program(EXE, "victim_work")
        for _ in range(5):
            attachment = lab.Attachment(target.pid, obj, "--json", preexec_fn=refuse)
            watched.add(attachment.process.pid)
            time.sleep(0.2)
            assert _count(attachment) > 0
    finally:
        stop.set()
        watcher.join()
    assert not seen, seen[:3]
    assert samples[0] > 100, samples[0]


def started_by_command():
    result = lab.inlay("attach", "-c", lab.victim("caller") + " 200000", "--json", lab.count_program(EXE, "victim_work"))
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["maps"]["calls"][0]["value"] == 200000, result.stdout


lab.run(ordinary_user_own_process, own_root_and_namespaces, own_root_without_proc, gdb_before_and_after,
        never_writable_and_executable, started_by_command)
