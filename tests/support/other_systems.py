"""The command on a system that lacks what only POSIX has, as far as a POSIX system can show that."""

import subprocess
import sys
from pathlib import Path

WITHOUT = """
import os, runpy, signal, sys, tempfile, threading, subprocess, multiprocessing
for name in ("fcntl", "termios", "pwd", "grp"):
    sys.modules[name] = None  # importing it fails
for name in ("fork", "pread", "preadv", "pwrite", "pwritev", "posix_fadvise", "O_NOFOLLOW", "getuid",
             "sched_getaffinity", "mkfifo", "chown"):
    delattr(os, name)
for name in ("SIGHUP", "SIGQUIT", "SIGXCPU", "SIGALRM", "setitimer", "pthread_sigmask"):
    delattr(signal, name)
sys.argv = ["tfdump", *sys.argv[1:]]
runpy.run_module("tfdump", run_name="__main__")
"""
"""Runs the command on a system that has nothing but files."""


def run_without(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT, *map(str, words)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
