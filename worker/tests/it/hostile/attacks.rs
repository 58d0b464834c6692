//! The attacks. Each gets the facts of its world as arguments, and wins if it returns the worker's secret
//! or `broke`, or has left its mark on the world.

use std::io::Read;
use std::time::Duration;

use proto::IsolationMode;
use proto::Language::{self, Bash, Deno, Python3};
use sandbox::{Level, Network};
use worker::execute::Verdict;

use super::world::{Victim, World};
use crate::bench::invocation;

/// The first level that stops an attack, by who the worker is.
#[derive(Clone, Copy)]
pub(super) struct Stopped {
    pub(super) root: Level,
    pub(super) user: Level,
}

/// What the attacker wants.
#[derive(Clone, Copy)]
enum Goal {
    /// The secret, or `broke`, in its result.
    Answer,
    /// A process of the worker's user ends.
    Victim,
    /// The neighbour's job ends.
    Neighbour,
    /// This file, in the folder `outside`.
    File(&'static str),
    /// A changed dependency.
    Dependency,
    /// Something said by UDP.
    Udp,
    /// The same, though it may reach nobody.
    UdpWithoutNetwork,
    /// A port of the machine at which it answers: the one it says.
    Port,
}

pub(super) struct Attack {
    pub(super) name: &'static str,
    language: Language,
    code: &'static str,
    goal: Goal,
    pub(super) stopped: Stopped,
    /// Nobody else could do it even unconfined.
    pub(super) needs_root: bool,
    /// A supervisor stops it, whatever is confined: what happens without is seen by starting it by hand.
    needs_no_supervisor: bool,
}

const PROCESS: Stopped = Stopped { root: Level::Process, user: Level::Process };
/// A user of its own stops it; where the worker has none to give, Landlock or seccomp does.
const OWN_USER: Stopped = Stopped { root: Level::Process, user: Level::Landlock };
const OWN_USER_OR_VIEW: Stopped = Stopped { root: Level::Process, user: Level::Namespaces };
const LANDLOCK: Stopped = Stopped { root: Level::Landlock, user: Level::Landlock };
const NAMESPACES: Stopped = Stopped { root: Level::Namespaces, user: Level::Namespaces };

const fn python(name: &'static str, stopped: Stopped, code: &'static str) -> Attack {
    Attack {
        name,
        language: Python3,
        code,
        goal: Goal::Answer,
        stopped,
        needs_root: false,
        needs_no_supervisor: false,
    }
}

const fn deno(name: &'static str, stopped: Stopped, code: &'static str) -> Attack {
    Attack { language: Deno, ..python(name, stopped, code) }
}

const fn bash(name: &'static str, stopped: Stopped, code: &'static str) -> Attack {
    Attack { language: Bash, ..python(name, stopped, code) }
}

impl Attack {
    const fn wants(self, goal: Goal) -> Self {
        Self { goal, ..self }
    }

    const fn needs_root(self) -> Self {
        Self { needs_root: true, ..self }
    }

    const fn needs_no_supervisor(self) -> Self {
        Self { needs_no_supervisor: true, ..self }
    }

    /// How its language runs scripts.
    pub(super) fn modes(&self) -> &'static [IsolationMode] {
        match self.language {
            Python3 => &[IsolationMode::Fresh, IsolationMode::Warm, IsolationMode::Fork],
            _ => &[IsolationMode::Fresh],
        }
    }

    /// Whether it got what it wants, and what it got.
    pub(super) async fn succeeds(&self, world: &World, mode: IsolationMode) -> (bool, String) {
        let mut victim = Victim::new(&world.secret);
        let source = match self.language {
            Python3 => format!("{PYTHON_PRELUDE}{}", self.code),
            Deno => format!("export async function main({{...w}}) {{\n{}\n}}", self.code),
            _ => self.code.to_owned(),
        };
        if self.needs_no_supervisor && world.bench.executor.level().is_none() {
            let said = World::by_hand(&source, &world.arguments(&victim));
            return (said.contains(&world.secret) || said.contains("broke"), said);
        }
        let mut call = invocation(self.language, &source, &world.arguments(&victim)).of("u/attacker", mode);
        if matches!(self.goal, Goal::UdpWithoutNetwork) {
            call.limits.network = Network::None;
        }
        let _ = world.heard();
        let mut live = world.bench.live(call);
        let visited = match self.goal {
            Goal::Port => live.said_at_all("port").await.is_some_and(|said| visit(&said)),
            _ => false,
        };
        let outcome = live.end().await.outcome;
        let text = match outcome.verdict {
            Verdict::Success { result } => String::from_utf8(result.to_vec()).unwrap(),
            Verdict::Failure { error } => format!("failed: {}", String::from_utf8_lossy(&error)),
            Verdict::Fault { error } => format!("not started: {}", error.message),
            Verdict::Killed(reason) => format!("killed: {reason:?}"),
        };
        let file = |name: &str| std::fs::remove_file(world.outside.join(name)).is_ok();
        let won = match self.goal {
            Goal::Answer => {
                !text.starts_with("failed") && (text.contains(&world.secret) || text.contains("broke"))
            }
            Goal::Victim => !victim.lives(),
            Goal::Neighbour => !world.neighbour_lives(),
            Goal::File(name) => file(name),
            Goal::Dependency => {
                std::fs::read_to_string(world.packages.join("dependency.py")).unwrap().contains("evil")
            }
            Goal::Udp | Goal::UdpWithoutNetwork => world.heard(),
            Goal::Port => visited,
        };
        (won, text)
    }

    /// Its row in the document.
    pub(super) fn row(&self) -> String {
        let user = if self.needs_root { "(only root can)" } else { self.stopped.user.as_str() };
        format!("| {} | {} | {} | {user} |", self.name, self.language, self.stopped.root)
    }
}

/// Whether the script answers there, and not somebody else who has that port outside: `<port>/<its word>`.
fn visit(said: &str) -> bool {
    let (port, word) = said.split_once('/').unwrap();
    let mut heard = vec![0; word.len()];
    let stream = std::net::TcpStream::connect(("127.0.0.1", port.parse().unwrap()));
    stream.is_ok_and(|mut stream| {
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.read_exact(&mut heard).is_ok() && heard == word.as_bytes()
    })
}

const PYTHON_PRELUDE: &str = r"
import ctypes, os, signal, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    # each in a whole register: the kernel looks at all of it
    result = libc.syscall(*(ctypes.c_long(one) if isinstance(one, int) else one for one in arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
def greeting(sock):
    with sock:
        sock.settimeout(5)
        return sock.recv(200).decode()
def answer_one(sock):
    sock.listen()
    sock.settimeout(3)
    word = os.urandom(16).hex()
    print('port', f'{sock.getsockname()[1]}/{word}', flush=True)
    sock.accept()[0].send(word.encode())
def read(path):
    with open(path) as file:
        return file.read()
";

pub(super) const ATTACKS: &[Attack] = &[
    // the worker's secrets
    python("reads the worker's environment", PROCESS, "def main(**w): return read(f\"/proc/{w['worker']}/environ\")"),
    python(
        "reads the worker's memory",
        PROCESS,
        r#"
def main(**w):
    import re
    step = 1 << 24
    with open(f"/proc/{w['worker']}/maps") as maps, open(f"/proc/{w['worker']}/mem", "rb", 0) as memory:
        for line in maps:
            first, last = (int(part, 16) for part in line.split()[0].split("-"))
            for start in range(first, last, step) if " rw" in line else ():
                memory.seek(start)
                try: data = memory.read(min(step, last - start))
                except OSError: break
                found = re.search(rb"(secret-[0-9a-f-]{36})-in-memory", data)
                if found: return found[1].decode()
"#,
    ),
    python("looks at the worker's open files", PROCESS, "def main(**w): return 'broke' if os.listdir(f\"/proc/{w['worker']}/fd\") else ''"),
    deno("reads the worker's environment", PROCESS, "return Deno.readTextFileSync(`/proc/${w.worker}/environ`)"),
    bash("reads the worker's environment", PROCESS, "worker=\"$1\"\ntr '\\0' ' ' < /proc/$worker/environ"),
    python("reads the worker's configuration", OWN_USER, "def main(**w): return read(w['config'])"),
    deno("reads the worker's configuration", OWN_USER, "return Deno.readTextFileSync(w.config)"),
    bash("reads the worker's configuration", OWN_USER, "config=\"$1\"\ncat \"$config\"; echo"),
    bash("reads a command line with a secret in it", LANDLOCK, "victim=\"$1\"\ntr '\\0' ' ' < /proc/$victim/cmdline; echo"),
    // ways around paths
    python("gets out through a symbolic link", OWN_USER, "def main(**w):\n    os.symlink(w['config'], 'link')\n    return read('link')"),
    python("gets out through a hard link", OWN_USER, "def main(**w):\n    os.link(w['config'], os.environ['HOME'] + '/link')\n    return read('link')"),
    deno("gets out through a hard link", OWN_USER, "Deno.linkSync(w.config, 'link'); return Deno.readTextFileSync('link')"),
    python("gets out through its own root in /proc", OWN_USER, "def main(**w): return read('/proc/self/root' + w['config'])"),
    bash("gets out through its own working folder", OWN_USER, "config=\"$1\"\ncat \"/proc/self/cwd/../../../../../../../..$config\"; echo"),
    bash("gets out through a neighbour's root in /proc", OWN_USER, "neighbour=\"$1\"\nconfig=\"$2\"\ncat \"/proc/$neighbour/root$config\" || cat \"/proc/$neighbour/root/job/neighbour\""),
    python("reads an inherited descriptor", PROCESS, "def main(**w): return os.pread(w['descriptor'], 200, 0).decode()").needs_no_supervisor(),
    python("writes a core file", PROCESS, r"
def main(**w):
    import resource
    most = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))
    child = os.fork()
    if child == 0: os.abort()
    return 'broke' if os.WCOREDUMP(os.waitpid(child, 0)[1]) else 'none'
").needs_no_supervisor(),
    bash("runs a setuid program", PROCESS, "setuid=\"$1\"\nroots=\"$2\"\n\"$setuid\" \"$roots\"; echo"),
    // another job
    python("reads a file of another job", OWN_USER, "def main(**w): return read(w['neighbour_folder'] + '/neighbour')"),
    deno("reads another workspace's script", OWN_USER, "return Deno.readTextFileSync(w.neighbour_folder + '/main.sh').includes('NEIGHBOUR') && 'broke'"),
    bash("lists the folders of jobs", OWN_USER, "jobs=\"$1\"\nls -A \"$jobs\" | grep -q job && echo broke"),
    python("reads the environment of another job", OWN_USER, "def main(**w): return read(f\"/proc/{w['neighbour']}/environ\")"),
    python("reads another job's folder through /proc", OWN_USER, "def main(**w): return read(f\"/proc/{w['neighbour']}/cwd/neighbour\")"),
    // what stays
    python("writes outside its folder", LANDLOCK, "def main(**w): open(w['outside'] + '/python', 'w').close()").wants(Goal::File("python")),
    deno("writes outside its folder", LANDLOCK, "Deno.writeTextFileSync(w.outside + '/deno', '')").wants(Goal::File("deno")),
    bash("writes outside its folder", LANDLOCK, "outside=\"$1\"\n: > \"$outside/bash\"").wants(Goal::File("bash")),
    python("moves a file out of its folder", LANDLOCK, "def main(**w):\n    open('x', 'w').close()\n    os.rename(os.environ['HOME'] + '/x', w['outside'] + '/moved')").wants(Goal::File("moved")),
    bash("changes a dependency of every script", LANDLOCK, "packages=\"$1\"\necho 'value = \"evil\"' > \"$packages/dependency.py\"").wants(Goal::Dependency),
    python("changes the wrapper of every script", OWN_USER, "def main(**w):\n    open(w['runtime'] + '/python/hookmill_main.pyc', 'r+b').close()\n    return 'broke'"),
    deno("leaves a file in shared memory", LANDLOCK, "const file = '/dev/shm/hostile-' + crypto.randomUUID(); Deno.writeTextFileSync(file, ''); Deno.removeSync(file); return Deno.statSync('/dev/shm').dev && !Deno.readTextFileSync('/proc/self/mounts').includes('/dev/shm tmpfs rw,nosuid,nodev,noexec') && 'broke'"),
    python("leaves a System V shared memory segment", LANDLOCK, r"
def main(**w):
    segment = libc.shmget(0x7e570000 + os.getpid() % 65536, 4096, 0o1666)
    if segment < 0: raise OSError(ctypes.get_errno(), 'shmget')
    libc.shmctl(segment, 0, 0)
    return '' if os.getpid() < 10 else 'broke'
"),
    // processes
    python("kills a process of the worker", OWN_USER, "def main(**w): os.kill(w['victim'], signal.SIGKILL)").wants(Goal::Victim),
    deno("kills a process of the worker", OWN_USER, "Deno.kill(w.victim, 'SIGKILL')").wants(Goal::Victim),
    bash("kills a process of the worker", OWN_USER, "victim=\"$1\"\nkill -9 $victim").wants(Goal::Victim),
    python("attaches to a process of the worker", OWN_USER, "def main(**w):\n    call(101, 16, w['victim'], 0, 0)\n    os.waitpid(w['victim'], 0x40000000)\n    call(101, 17, w['victim'], 0, 0)\n    return 'broke'"),
    python("reads the memory of a process of the worker", OWN_USER, r#"
def main(**w):
    class Part(ctypes.Structure):
        _fields_ = [('base', ctypes.c_void_p), ('length', ctypes.c_size_t)]
    own = ctypes.create_string_buffer(1)
    first = int(read(f"/proc/{w['victim']}/maps").split('-')[0], 16)
    call(310, w['victim'], ctypes.byref(Part(ctypes.addressof(own), 1)), 1, ctypes.byref(Part(first, 1)), 1, 0)
    return 'broke'
"#),
    python("takes a descriptor of a process of the worker", OWN_USER, "def main(**w):\n    pidfd = os.pidfd_open(w['victim'])\n    call(438, pidfd, 0, 0)\n    return 'broke'"),
    python("lowers the limits of a process of the worker", OWN_USER, "def main(**w):\n    import resource\n    resource.prlimit(w['victim'], resource.RLIMIT_NOFILE, (3, 3))\n    return 'broke'"),
    python("slows a process of the worker down", OWN_USER_OR_VIEW, "def main(**w):\n    os.setpriority(os.PRIO_PROCESS, w['victim'], 19)\n    return 'broke'"),
    bash("moves a process of the worker to one core", OWN_USER_OR_VIEW, "victim=\"$1\"\ntaskset -p 1 $victim > /dev/null && echo broke"),
    // services
    python("reaches NATS", LANDLOCK, "def main(**w): return greeting(socket.create_connection(('127.0.0.1', w['nats'])))"),
    deno("reaches Redis", LANDLOCK, "const c = await Deno.connect({port: w.redis}); const b = new Uint8Array(99); const n = await c.read(b); return new TextDecoder().decode(b.subarray(0, n))"),
    bash("reaches auth-service", LANDLOCK, "auth=\"$1\"\nexec 3<>/dev/tcp/127.0.0.1/$auth; read -r line <&3; echo \"$line\""),
    deno("reaches the admin port", LANDLOCK, "return await (await fetch(`http://127.0.0.1:${w.admin}/`)).text()"),
    python("reaches a service by IPv6", LANDLOCK, "def main(**w): return greeting(socket.create_connection(('::1', w['six'])))"),
    python("reaches a service without connecting first", LANDLOCK, "def main(**w):\n    sock = socket.socket()\n    sock.sendto(b'x', 0x20000000, ('127.0.0.1', w['nats']))\n    return greeting(sock)"),
    python("reaches a service by multipath TCP", LANDLOCK, "def main(**w):\n    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)\n    sock.connect(('127.0.0.1', w['nats']))\n    return greeting(sock)"),
    python("listens on a port of the machine", LANDLOCK, "def main(**w):\n    sock = socket.socket()\n    sock.bind(('127.0.0.1', 0))\n    answer_one(sock)").wants(Goal::Port),
    python("listens on a port that the kernel chooses", NAMESPACES, "def main(**w): answer_one(socket.socket())").wants(Goal::Port),
    python("reaches a service at a port of the internet", NAMESPACES, "def main(**w): return greeting(socket.create_connection(('127.0.0.1', w['listed'])))"),
    python("says something by UDP to a service", NAMESPACES, "def main(**w): socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', w['udp']))").wants(Goal::Udp),
    python("reaches an abstract socket", LANDLOCK, "def main(**w):\n    sock = socket.socket(socket.AF_UNIX)\n    sock.connect('\\0' + w['abstract'])\n    return greeting(sock)"),
    python("reaches a socket outside its folder", NAMESPACES, "def main(**w):\n    sock = socket.socket(socket.AF_UNIX)\n    sock.connect(w['socket'])\n    return greeting(sock)"),
    python("says something by UDP, without a network", PROCESS, "def main(**w): socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', w['udp']))").wants(Goal::UdpWithoutNetwork),
    // the kernel
    bash("makes a user namespace", LANDLOCK, "unshare --user --map-root-user true && echo broke"),
    python("makes a user namespace with clone3", LANDLOCK, r"
def main(**w):
    arguments = struct.pack('11Q', 0x10000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0)
    child = call(435, ctypes.c_char_p(arguments), 88)
    if child == 0: os._exit(0)
    os.waitpid(child, 0)
    return 'broke'
"),
    python("uses io_uring", LANDLOCK, "def main(**w):\n    call(425, 1, ctypes.create_string_buffer(120))\n    return 'broke'"),
    python("handles page faults of the kernel", LANDLOCK, "def main(**w):\n    call(323, 1)\n    return 'broke'"),
    python("keeps a key in the kernel", LANDLOCK, "def main(**w):\n    call(248, ctypes.c_char_p(b'user'), ctypes.c_char_p(b'hostile'), ctypes.c_char_p(b'x'), 1, -2)\n    return 'broke'"),
    python("mounts a file system", PROCESS, "def main(**w):\n    os.mkdir('m')\n    if libc.mount(b'none', b'm', b'tmpfs', 0, 0): raise OSError(ctypes.get_errno(), 'mount')\n    libc.umount2(b'm', 2)\n    return 'broke'").needs_root(),
    python("makes a device", PROCESS, "def main(**w):\n    os.mknod('disk', 0o60600, os.makedev(7, 0))\n    return 'broke'").needs_root(),
    python("loads a program into the kernel", PROCESS, "def main(**w):\n    call(321, 0, ctypes.create_string_buffer(struct.pack('5I', 2, 4, 4, 1, 0), 72), 72)\n    return 'broke'").needs_root(),
    bash("leaves its control group", PROCESS, "for group in /sys/fs/cgroup/*/cgroup.procs /sys/fs/cgroup/cgroup.procs; do echo $$ 2>/dev/null > $group && echo broke; done; true").needs_root(),
    deno("learns the name of the machine", NAMESPACES, "return Deno.hostname() !== 'job' && 'broke'"),
    python("kills another job", OWN_USER, "def main(**w): os.kill(w['neighbour'], signal.SIGKILL)").wants(Goal::Neighbour),
];
