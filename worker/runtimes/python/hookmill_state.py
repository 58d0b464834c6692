"""What one job may change of its process, and how it is put back for the next.

Globals of modules stay: that is what a warm process is for. All else is as it was before, or the process is given up.
"""

import os
import posix
import resource
import sys

import _signal
from _contextvars import copy_context

# where our own descriptors are put: out of the way of the lowest ones, which a script gets
_HIGH = 200
_STREAMS = ("stdin", "stdout", "stderr")
_HOOKS = ("excepthook", "displayhook", "unraisablehook", "breakpointhook")
_LISTS = ("path", "argv", "meta_path", "path_hooks")
_TIMERS = (0, 1, 2)
# threads that are ending take so long at most to be gone
_THREADS_END = 0.05


class State:
    """The process as a job finds it."""

    def __init__(self):
        self._kept = 0
        self._log = self.keep(1)
        self._environ, self._put = os.environ, set()
        self._putenv = os.putenv
        os.putenv = self._put_aside
        self._umask = posix.umask(0o022)
        self._zone = os.environ.get("TZ")
        self._nice = os.getpriority(os.PRIO_PROCESS, 0)
        self._cores = os.sched_getaffinity(0)
        self._limits = _limits()

    def keep(self, descriptor):
        """A copy that is ours: closed on exec."""
        self._kept += 1
        try:
            return posix.dup2(descriptor, _HIGH + self._kept, inheritable=False)
        except OSError:
            # it may have so few
            return posix.dup(descriptor)

    def pipe(self):
        """Of which a read does not wait."""
        ends = posix.pipe()
        kept = [self.keep(end) for end in ends]
        for end in ends:
            posix.close(end)
        posix.set_blocking(kept[0], False)
        return kept

    def has_come(self, reader):
        try:
            return posix.read(reader, 1) != b""
        except BlockingIOError:
            return False

    def loaded(self):
        """What a script makes while it is loaded stays."""
        self._streams = [getattr(sys, name) for name in _STREAMS]
        self._hooks = [getattr(sys, name) for name in _HOOKS]
        self._signals = [(number, _signal.getsignal(number)) for number in range(1, _signal.NSIG)]
        self._context = copy_context()
        self._recursion, self._switch = sys.getrecursionlimit(), sys.getswitchinterval()
        self._lists = [list(getattr(sys, name)) for name in _LISTS]
        self._descriptors, self._threads = _names("/proc/self/fd"), len(_names("/proc/self/task"))
        self._locale = _locale()

    # before a job

    def enter(self, head):
        posix.dup2(self._log, 1)
        posix.dup2(self._log, 2)
        posix.chdir(head["cwd"])
        posix.umask(self._umask)
        self._set_environment(head["env"])

    def _set_environment(self, env):
        for name in self._put:
            posix.unsetenv(name)
        self._put.clear()
        environ = os.environ = self._environ
        for name in [name for name in environ if name not in env]:
            del environ[name]
        for name, value in env.items():
            if environ.get(name) != value:
                environ[name] = value
        zone = env.get("TZ")
        if zone != self._zone:
            self._zone = zone
            import time

            time.tzset()

    def _put_aside(self, name, value):
        self._put.add(name)
        self._putenv(name, value)

    def apart(self, function, *args):
        """In a context of its own: no variable of it is seen by the next job."""
        return self._context.copy().run(function, *args)

    # after a job

    def leave(self):
        """What a process would wait for before it ends: its threads, but for daemons."""
        threading = sys.modules.get("threading")
        if threading is None:
            return
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()

    def restore(self):
        """None, or what cannot be put back."""
        try:
            return self._restore()
        except Exception as error:
            return f"putting back: {error!r}"

    def _restore(self):
        self._restore_sys()
        self._restore_signals()
        return (
            self._left_streams()
            or self._left_children()
            or self._left_threads()
            or self._left_descriptors()
            or self._left_limits()
            or self.left_elsewhere()
        )

    def _restore_sys(self):
        for name, stream in zip(_STREAMS, self._streams):
            setattr(sys, name, stream)
        for name, hook in zip(_HOOKS, self._hooks):
            setattr(sys, name, hook)
        for name, kept in zip(_LISTS, self._lists):
            at = getattr(sys, name)
            if at != kept:
                setattr(sys, name, list(kept))
        sys.settrace(None)
        sys.setprofile(None)
        sys.set_asyncgen_hooks(None, None)
        sys.setrecursionlimit(self._recursion)
        sys.setswitchinterval(self._switch)
        sys.set_int_max_str_digits(0)
        if (gc := sys.modules.get("gc")) is not None:
            gc.enable()
        if (socket := sys.modules.get("_socket")) is not None:
            socket.setdefaulttimeout(None)
        if (threading := sys.modules.get("threading")) is not None:
            threading.settrace(None)
            threading.setprofile(None)
            threading.excepthook = threading.__excepthook__

    def _restore_signals(self):
        for timer in _TIMERS:
            _signal.setitimer(timer, 0)
        _signal.set_wakeup_fd(-1)
        for number, handler in self._signals:
            if handler is not None and _signal.getsignal(number) is not handler:
                _signal.signal(number, handler)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())

    def _left_streams(self):
        closed = [stream for stream in self._streams if stream is None or stream.closed]
        return "a standard stream is closed" if closed else None

    def _left_children(self):
        try:
            while posix.waitpid(-1, posix.WNOHANG)[0] != 0:
                pass
        except ChildProcessError:
            return None
        return "a process of its own still runs"

    def _left_threads(self):
        if len(_names("/proc/self/task")) <= self._threads:
            return None
        import time

        # one that has been joined may still be on its way out of the kernel
        until = time.monotonic() + _THREADS_END
        while time.monotonic() < until:
            if len(_names("/proc/self/task")) <= self._threads:
                return None
            time.sleep(0.0005)
        return "threads still run"

    def _left_descriptors(self):
        if _names("/proc/self/fd") <= self._descriptors:
            return None
        import gc

        gc.collect()
        more = _names("/proc/self/fd") - self._descriptors
        return f"open files: {', '.join(map(_target, sorted(more)))}" if more else None

    def _left_limits(self):
        if os.getpriority(os.PRIO_PROCESS, 0) != self._nice:
            return "its priority is another"
        if os.sched_getaffinity(0) != self._cores:
            os.sched_setaffinity(0, self._cores)
        return None if _limits() == self._limits else "its limits are others"

    def left_elsewhere(self):
        """What a fork of this process may have left, too."""
        if _locale() != self._locale:
            return "its locale is another"
        if _names("/dev/shm"):
            return "there are files in /dev/shm"
        for kind in ("shm", "sem", "msg"):
            if _lines(f"/proc/sysvipc/{kind}") > 1:
                return f"there is shared memory or the like (sysvipc/{kind})"
        return None

    # what the worker is told

    def peak_kib(self):
        """The largest resident set since the supervisor last had the kernel count anew."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def end_as(self, status):
        """Ends as that child has ended."""
        if posix.WIFSIGNALED(status):
            number = posix.WTERMSIG(status)
            _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
            if number not in (_signal.SIGKILL, _signal.SIGSTOP):
                _signal.signal(number, _signal.SIG_DFL)
            posix.kill(posix.getpid(), number)
        posix._exit(posix.WEXITSTATUS(status))


def _names(folder):
    try:
        return set(posix.listdir(folder))
    except OSError:
        return set()


def _limits():
    return [resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")]


def _lines(path):
    try:
        with open(path, "rb") as file:
            return len(file.readlines())
    except OSError:
        return 0


def _target(descriptor):
    try:
        return posix.readlink("/proc/self/fd/" + descriptor)
    except OSError:
        return descriptor


def _locale():
    module = sys.modules.get("_locale")
    return module.setlocale(module.LC_ALL) if module else None
