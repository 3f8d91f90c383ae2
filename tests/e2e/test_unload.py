#!/usr/bin/env python3
"""Probed code that goes away, comes back, or may not be touched; targets that change what they may do while attached to."""
import json
import os
import shutil
import signal
import subprocess
import time

import lab

EXE = "/proc/self/exe"


class Unloads:
    """tests/victims/unloads.c"""

    def __init__(self, *arguments):
        self.process = lab.start([lab.victim("unloads"), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 text=True)
        self.pid = self.process.pid
        self.ask("")

    def ask(self, commands):
        """Where library_work is."""
        self.process.stdin.write(commands + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer.startswith("ok "), (answer, self.process.poll())
        return int(answer.split()[1], 16)

    def end(self):
        self.process.stdin.close()
        assert self.process.wait(10) == 0


def calls(out):
    return json.loads(out)["maps"]["calls"][0]["value"]


def library():
    path = os.path.join(lab.folder(), "liblibrary.so")
    shutil.copy(lab.victim("liblibrary.so"), path)
    shutil.copy(path, path + ".copy")
    return path


def a_probed_library_is_closed():
    """With live sites; the detachment finds nothing there, and the program runs on."""
    path = library()
    target = Unloads(path)
    attachment = lab.Attachment(target.pid, lab.count_program(path, "library_work"), "--json")
    target.ask("w")
    target.ask("c")
    status, out, err = attachment.finish()
    assert calls(out) == 1000, (status, out, err)
    target.ask("ow")
    assert lab.text_differences(target.pid) == []
    target.end()


def a_probed_library_is_opened_again():
    """At the same address, as a rule: its calls are not counted, its text is its own, and it can be attached to anew."""
    path = library()
    target = Unloads(path)
    obj = lab.count_program(path, "library_work")
    for _ in range(5):
        attachment = lab.Attachment(target.pid, obj, "--json")
        target.ask("wcow")
        assert lab.text_differences(target.pid) == []
        status, out, err = attachment.finish()
        assert calls(out) == 1000, (status, out, err)
        assert lab.text_differences(target.pid) == []
    target.ask("w")
    target.end()


def another_file_takes_its_place():
    """The same bytes at the same address are another file's: they are left alone, also by the next loader of the old name."""
    path = library()
    target = Unloads(path)
    obj = lab.count_program(path, "library_work")
    attachment = lab.Attachment(target.pid, obj, "--json")
    target.ask("wfw")
    status, out, err = attachment.finish()
    assert calls(out) == 1000, (status, out, err)
    target.ask("w")
    assert lab.text_differences(target.pid) == []
    attachment = lab.Attachment(target.pid, lab.count_program(path + ".copy", "library_work"), "--json")
    target.ask("w")
    status, out, err = attachment.finish()
    assert status == 0 and calls(out) == 1000, (status, out, err)
    assert lab.text_differences(target.pid) == []
    target.end()


def restartable_sequences_are_refused():
    target = Unloads()
    before = lab.snapshot(target.pid)
    result = lab.inlay("attach", "-p", target.pid, "--duration", "0.1", lab.count_program(EXE, "restartable"))
    assert result.returncode == 1 and "restartable sequence" in result.stderr, result
    # A pattern leaves them out.
    both = lab.compile_bpf(f'SEC("uprobe.multi/{EXE}:[rm]*") int hit(struct pt_regs *ctx) {{ return 0; }}')
    result = lab.inlay("attach", "-p", target.pid, "--duration", "0.1", both)
    assert result.returncode == 0 and "cannot be probed" in result.stderr, result
    lab.wait_for(lambda: lab.snapshot(target.pid)["text"] == before["text"] == [], "its text as before")
    attachment = lab.Attachment(target.pid, lab.count_program(EXE, "main"))
    assert attachment.finish()[0] == 0
    target.end()


def hostile(*arguments):
    target = lab.start([lab.victim("hostile"), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(0.2)
    return target


def through(mode):
    """The target does it at SIGUSR1, between attaching and detaching; it runs on, counted and then restored."""
    target = hostile(mode, "3")
    obj = lab.count_program(EXE, "victim_work")
    attachment = lab.Attachment(target.pid, obj, "--json")
    target.send_signal(signal.SIGUSR1)
    answer = target.stdout.readline()
    if answer.startswith("skip"):
        raise lab.Skip(answer[5:].strip())
    assert answer == "done\n", target.poll()
    time.sleep(0.3)
    status, out, err = attachment.finish()
    assert target.poll() is None, (target.poll(), target.stderr.read())
    assert status == 0 and calls(out) > 0, (status, out, err)
    lab.wait_for(lambda: lab.text_differences(target.pid) == [], "the text to be restored")
    return target, obj


def unshare_while_attached():
    target, obj = through("unshares")
    assert lab.Attachment(target.pid, obj).finish()[0] == 0
    assert target.poll() is None


def no_more_processes_while_attached():
    """RLIMIT_NPROC reached: detaching takes no thread; attaching anew works or says why."""
    target, obj = through("limits")
    result = lab.inlay("attach", "-p", target.pid, "--duration", "0.1", obj)
    assert result.returncode == 0 or result.stderr.strip(), result
    assert target.poll() is None
    assert lab.text_differences(target.pid) == []


def a_filter_for_all_threads_while_attached():
    """
    SECCOMP_FILTER_FLAG_TSYNC puts the agent's threads under it as well. One that answers errors leaves the text patched only if
    it refuses what restoring takes; here it refuses new sockets and files, and restoring needs none.
    """
    target, obj = through("filters")
    result = lab.inlay("attach", "-p", target.pid, "--duration", "0.1", obj)
    assert result.returncode == 1 and "seccomp" in result.stderr, result
    assert target.poll() is None


def a_suspended_loader_holds_nobody():
    """Ctrl-Z at any moment: no thread of the target stands still under its trace."""
    target = hostile("many", "4")
    obj = lab.count_program(EXE, "victim_work")
    for delay in range(1, 60, 3):
        loader = lab.start([lab.INLAY, "attach", "-p", str(target.pid), "--duration", "0.05", obj],
                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        time.sleep(0.003 * delay)
        loader.send_signal(signal.SIGTSTP)
        time.sleep(0.1)
        for _ in range(20):
            states = [open(f"/proc/{target.pid}/task/{tid}/stat", encoding="ascii", errors="replace").read().rsplit(")", 1)[1].split()[0]
                      for tid in os.listdir(f"/proc/{target.pid}/task") if os.path.exists(f"/proc/{target.pid}/task/{tid}/stat")]
            if "t" not in states:
                break
            time.sleep(0.05)
        assert "t" not in states, (delay, states)
        loader.send_signal(signal.SIGCONT)
        assert loader.wait(20) == 0, loader.stderr.read()
    assert target.poll() is None
    assert lab.text_differences(target.pid) == []


lab.run(a_probed_library_is_closed, a_probed_library_is_opened_again, another_file_takes_its_place,
        restartable_sequences_are_refused, unshare_while_attached, no_more_processes_while_attached,
        a_filter_for_all_threads_while_attached, a_suspended_loader_holds_nobody)
