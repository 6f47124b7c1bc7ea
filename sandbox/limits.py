"""Limits and the isolation policy as data, with the list of what is not stopped."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """What one sandboxed command may use. Sizes in bytes, times in seconds."""

    wall_seconds: float = 120.0
    """Wall time; the whole process tree is killed after it."""
    cpu_seconds: int = 600
    """CPU time of each process (RLIMIT_CPU)."""
    memory_bytes: int = 4096 * MIB
    """Memory of all processes together, pages of files apart, watched by the parent; also each process's address space times four."""
    processes: int = 256
    """Processes and threads at one time (RLIMIT_NPROC of a uid or user namespace of its own)."""
    file_bytes: int = 512 * MIB
    """Largest file that a process may write (RLIMIT_FSIZE)."""
    open_files: int = 1024
    tree_bytes: int = 1024 * MIB
    """Size of the tmpfs that holds the work tree."""
    temporary_bytes: int = 512 * MIB
    """Size of the tmpfs on /tmp, the home folder included."""
    output_bytes: int = 2 * MIB
    """Output kept of each stream (first and last half); the command is killed past 64 times this."""
    report_bytes: int = 64 * MIB
    """What may come back on the report descriptor."""


NOT_STOPPED = (
    "Code that shares an interpreter with its test report can forge the report: the test process writes its own results to the "
    "report descriptor. Expected test ids, exit status and a static refusal of patches that reach for the judge narrow this; "
    "they do not close it.",
    "In other languages the report is easier to reach: node's, Vitest's, Jest's, Surefire's and Gradle's are files that the tested code, "
    "which runs as the same user, can replace, and Go's and cargo's are text that it can print. Exit status, expected test ids and the "
    "static refusal narrow this too; in JavaScript, where a name can be put together at run time, a patch that hides its names gets "
    "through all three.",
    "A test can tell a warm tier from a cold run: by process numbers and its parent, the SIGALRM handler and timer, the address-space "
    "limit, the code object of the edited function, pytest's objects and call stack, files that earlier workers left in the temporary "
    "folder, and time. No warm verdict is final, so such a test costs the search its time and never makes a fix.",
    "Memory is watched by sampling every 50 ms, not by a cgroup: a process can pass the limit for that long.",
    "Kernel memory (socket buffers, inodes of the temporary file systems) is not counted; run the bot in a container or VM with a limit.",
    "Sandboxes that run at the same time can signal each other by locks on files that both can read.",
    "CPU caches, timing and other side channels of a shared kernel are open; a kernel exploit is not stopped.",
    "Files below /usr, the interpreter's prefix and the environment are readable inside, and a unix socket that some server keeps there "
    "can be connected to; a snapshot of a checkout has no sockets.",
    "While an environment is built, data can leave through the package indexes (names and versions asked for).",
)
"""What this isolation does not stop; the README repeats it. ``tests/sandbox/test_forgery.py``, ``tests/languages/test_forgery.py`` and
``tests/sandbox/test_tiers.py`` show the first three."""

DENIED_SYSCALLS = (
    # new namespaces, mounts and roots
    "unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "fsopen", "fsconfig", "fsmount", "fspick", "move_mount",
    "open_tree", "mount_setattr", "name_to_handle_at", "open_by_handle_at", "quotactl", "swapon", "swapoff",
    # other processes' memory
    "ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd", "process_madvise",
    # memory that belongs to no mapping, so that watching the processes would not see it
    "memfd_create", "memfd_secret",
    # kernel surfaces that tests do not need
    "keyctl", "add_key", "request_key", "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter",
    "io_uring_register", "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "reboot", "acct",
    "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "syslog", "vhangup", "iopl", "ioperm", "lookup_dcookie",
    "fanotify_init",
)  # fmt: skip
"""Answered with EPERM. ``clone`` is denied only with a namespace flag, ``shmget`` only for
segments above 64 KiB, and ``clone3`` answers ENOSYS so that libc falls back to ``clone``."""
