"""The seccomp filter of the sandbox, built once by libseccomp and handed to bubblewrap as BPF bytes."""

from __future__ import annotations

import errno
import functools
import os

from sandbox import IsolationUnavailable
from sandbox.limits import DENIED_SYSCALLS

_CLONE_NAMESPACES = 0x00000080 | 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
"""CLONE_NEWTIME, NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET (linux/sched.h)."""
_TIOCSTI = 0x5412
_LARGEST_SEGMENT = 64 * 1024
"""System V segments live without a process; databases under test want one of a few bytes."""


@functools.cache
def bpf_program() -> bytes:
    """The filter as BPF instructions. Raises IsolationUnavailable where libseccomp cannot be loaded."""
    try:
        import pyseccomp as seccomp
    except (ImportError, OSError, RuntimeError) as error:
        raise IsolationUnavailable(f"libseccomp could not be loaded ({error}): apt-get install libseccomp2") from error
    program = seccomp.SyscallFilter(seccomp.ALLOW)
    for name in DENIED_SYSCALLS:
        try:
            program.add_rule(seccomp.ERRNO(errno.EPERM), name)
        except (OSError, ValueError):  # a call that this libseccomp or processor does not know cannot be made either
            continue
    # One rule a flag: a masked comparison of several bits would need all of them set.
    for bit in range(32):
        flag = 1 << bit
        if flag & _CLONE_NAMESPACES:
            program.add_rule(seccomp.ERRNO(errno.EPERM), "clone", seccomp.Arg(0, seccomp.MASKED_EQ, flag, flag))
    program.add_rule(seccomp.ERRNO(errno.ENOSYS), "clone3")
    program.add_rule(seccomp.ERRNO(errno.EPERM), "shmget", seccomp.Arg(1, seccomp.GT, _LARGEST_SEGMENT))
    program.add_rule(seccomp.ERRNO(errno.EPERM), "ioctl", seccomp.Arg(1, seccomp.MASKED_EQ, 0xFFFFFFFF, _TIOCSTI))
    descriptor = os.memfd_create("seccomp")
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            program.export_bpf(file)
        os.lseek(descriptor, 0, os.SEEK_SET)
        return os.read(descriptor, 1 << 20)
    finally:
        os.close(descriptor)
