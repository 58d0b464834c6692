//! The network `internet` of scripts with a network of their own: what of the world they reach, and what
//! beside us they do not. On a machine of the test's own, so that it has addresses of the world.

mod services;

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use proto::Language::Python3;
use sandbox::{Level, Network};
use serde_json::{Value, json};
use worker::execute::{Config, Executor, Isolation, Place, Surrounding};

use crate::bench::{BOUND, Bench, config, host, invocation, open_folder};
use services::{Echo, echo, name_server, rude, sink};

const NOBODY: u32 = 65534;

/// Addresses of the machine: of the world, of the world but our own, private, a service's.
const WORLD: &str = "203.0.113.7";
const WORLD_V6: &str = "2001:db8::7";
const OURS: &str = "203.0.113.8";
const PRIVATE: &str = "10.9.0.7";
const SERVICE: &str = "203.0.113.9";
/// Of one network, which is allowed: the second is not found by the way that packets take.
const CARD: [&str; 2] = ["198.51.100.5", "198.51.100.6"];

#[test]
fn as_whoever_runs_this() {
    on_a_machine(None);
}

#[test]
fn as_an_ordinary_user() {
    // whoever is not root is one already
    if rustix::process::geteuid().is_root() {
        on_a_machine(Some(NOBODY));
    }
}

fn on_a_machine(user: Option<u32>) {
    let addresses = [WORLD, WORLD_V6, OURS, PRIVATE, SERVICE].join(",");
    let mut command = Command::new("python3");
    command.args(["-c", include_str!("uplink/machine.py"), &addresses, &CARD.join(",")]);
    command.arg(std::env::current_exe().unwrap());
    command.args(["uplink::inside", "--exact", "--ignored", "--nocapture"]).stdin(Stdio::null());
    if let Some(id) = user {
        command.uid(id).gid(id).env("HOME", "/nonexistent");
    }
    let output = command.output().unwrap();
    let text =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

struct Machine {
    bench: Bench,
    world: Echo,
    world_v6: Echo,
    api: Echo,
    sidecar: Echo,
    rude: [SocketAddr; 2],
    beside: Vec<Echo>,
}

async fn machine() -> Machine {
    let [world, world_v6, api, sidecar] = [WORLD, WORLD_V6, "127.0.0.1", "127.0.0.1"].map(echo);
    let beside = [OURS, PRIVATE, SERVICE, CARD[0], CARD[1], "127.0.0.1"].map(echo).into();
    let (rude, rude_api) = (rude(WORLD), rude("127.0.0.1"));
    name_server(WORLD, [203, 0, 113, 7]);
    let place = |at: &Echo| Place { host: at.at.ip().to_string(), port: at.at.port() };
    let surrounding = Surrounding {
        // none of them would be reached by Landlock's leave
        ports: Vec::new(),
        allowed: ["203.0.113.7/32", "2001:db8::7/128", "203.0.113.9/32", "198.51.100.0/24"]
            .map(|net| net.parse().unwrap())
            .into(),
        api: Some(place(&api)),
        loopback: vec![sidecar.at.port(), rude_api.port()],
        services: vec![Place { host: SERVICE.to_owned(), port: 4222 }],
        resolvers: vec![WORLD.parse().unwrap()],
    };
    let work = open_folder();
    let isolation = Isolation { level: Some(Level::Namespaces), ..Isolation::default() };
    let config = Config { surrounding, isolation, ..config(work.path()) };
    let executor = Executor::new(&config, host()).await.unwrap();
    assert_eq!(executor.shortfall(), None);
    Machine { bench: Bench { executor, work }, world, world_v6, api, sidecar, rude: [rude, rude_api], beside }
}

impl Machine {
    async fn run(&self, network: Network, script: &str, args: &Value) -> Value {
        let mut call = invocation(Python3, &format!("{PRELUDE}{script}"), &args.to_string());
        call.limits.network = network;
        serde_json::from_str(self.bench.invoke(call).await.result()).unwrap()
    }

    async fn internet(&self, script: &str, args: Value) -> Value {
        self.run(Network::Internet, script, &args).await
    }
}

const PRELUDE: &str = r"
import errno, hashlib, os, socket, threading
def said(do):
    try: return do()
    except OSError as e: return errno.errorcode.get(e.errno, str(e))
def by_tcp(host, port, data=b'hello', timeout=20):
    with socket.create_connection((host, port), timeout=timeout) as s:
        t = threading.Thread(target=lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR)))
        t.start()
        back = bytearray()
        while chunk := s.recv(1 << 20): back += chunk
        t.join()
        return 'same' if back == data else f'{len(back)} of {len(data)} bytes'
def by_udp(host, port, data=b'hello', timeout=20):
    with socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(timeout)
        s.connect((host, port))
        s.send(data)
        return 'same' if s.recv(65535) == data else 'other'
";

#[tokio::test]
#[ignore = "started by the tests above, on a machine of its own"]
async fn inside() {
    let machine = machine().await;
    the_world_is_reached(&machine).await;
    what_is_not_there_is_said_as_ever(&machine).await;
    what_lies_beside_us_is_not(&machine).await;
    the_loopback_is_ones_own_but_for_its_doors(&machine).await;
    names_are_found(&machine).await;
    many_connections_are_bounded(&machine).await;
    connections_end_with_their_job(&machine).await;
    what_was_said_last_arrives(&machine).await;
    an_answer_that_comes_early_arrives(&machine).await;
    datagrams_stay_apart(&machine).await;
    the_other_networks_are_what_they_were(&machine).await;
}

async fn the_world_is_reached(machine: &Machine) {
    let script = r"
def main(at, port, at6, port6):
    out = {}
    for name, host, port in [('v4', at, port), ('v6', at6, port6)]:
        for size in [0, 1, 100_000, 20_000_000]:
            data = hashlib.shake_128(b'x').digest(size)
            out[f'tcp {name} {size}'] = said(lambda: by_tcp(host, port, data))
        for size in [1, 1400, 60_000]:
            out[f'udp {name} {size}'] = said(lambda: by_udp(host, port, os.urandom(size)))
    return out
";
    let (v4, v6) = (machine.world.at, machine.world_v6.at);
    let args = json!({"at": v4.ip(), "port": v4.port(), "at6": v6.ip(), "port6": v6.port()});
    let out = machine.internet(script, args).await;
    let all = out.as_object().unwrap();
    assert!(all.len() == 14 && all.values().all(|said| said == "same"), "{out:#}");
}

async fn what_is_not_there_is_said_as_ever(machine: &Machine) {
    let script = r"
def main(at):
    return [said(lambda: by_tcp(at, 9)), said(lambda: by_udp(at, 9)), said(lambda: by_tcp('192.0.2.1', 9))]
";
    let out = machine.internet(script, json!({"at": WORLD})).await;
    // the machine of the test has no way to the last one
    assert_eq!(out, json!(["ECONNREFUSED", "ECONNREFUSED", "EHOSTUNREACH"]));
}

async fn what_lies_beside_us_is_not(machine: &Machine) {
    let script = r"
def main(places):
    places = [tuple(place) for place in places]
    return {f'{how.__name__} {host}': said(lambda: how(host, port)) for host, port in places for how in (by_tcp, by_udp)}
";
    let beside = machine.beside.iter().filter(|echo| !echo.at.ip().is_loopback());
    let mut places: Vec<Value> = beside.map(|echo| json!([echo.at.ip(), echo.at.port()])).collect();
    places.extend([json!(["169.254.169.254", 80]), json!(["192.168.0.1", 80]), json!(["198.18.0.2", 80])]);
    let out = machine.internet(script, json!({"places": places})).await;
    let all = out.as_object().unwrap();
    assert!(all.len() == 16 && all.values().all(|said| said == "EHOSTUNREACH"), "{out:#}");
}

async fn the_loopback_is_ones_own_but_for_its_doors(machine: &Machine) {
    let script = r"
def main(api, sidecar, other):
    with socket.create_server(('127.0.0.1', 0)) as own:
        back = []
        def serve():
            s, _ = own.accept()
            s.sendall(s.recv(100)); s.close()
        t = threading.Thread(target=serve); t.start()
        mine = said(lambda: by_tcp(*own.getsockname()))
        t.join()
    data = os.urandom(3_000_000)
    return [mine, said(lambda: by_tcp('127.0.0.1', api, data)), said(lambda: by_tcp('localhost', api)),
            said(lambda: by_tcp('localhost', sidecar)),
            said(lambda: by_tcp('127.0.0.1', other)), said(lambda: by_udp('127.0.0.1', api))]
";
    let other = machine.beside.iter().find(|echo| echo.at.ip().is_loopback()).unwrap().at.port();
    let (api, sidecar) = (machine.api.at.port(), machine.sidecar.at.port());
    let out = machine.internet(script, json!({"api": api, "sidecar": sidecar, "other": other})).await;
    assert_eq!(out, json!(["same", "same", "same", "same", "ECONNREFUSED", "ECONNREFUSED"]));
}

async fn names_are_found(machine: &Machine) {
    let script = r"
def main(port):
    return [open('/etc/resolv.conf').read().count('nameserver'), said(lambda: by_tcp('some.name.example', port))]
";
    let out = machine.internet(script, json!({"port": machine.world.at.port()})).await;
    assert_eq!(out, json!([1, "same"]));
}

async fn many_connections_are_bounded(machine: &Machine) {
    let script = r"
def main(at, port):
    held, refused = [], set()
    for _ in range(300):
        s = socket.socket(); s.settimeout(20)
        e = s.connect_ex((at, port))
        held.append(s) if e == 0 else refused.add(errno.errorcode[e])
    held[0].close()
    for s in held[1:]: s.send(b'x')
    back = b''.join(s.recv(1) for s in held[1:])
    return [len(held), sorted(refused), len(back)]
";
    let args = json!({"at": WORLD, "port": machine.world.at.port()});
    assert_eq!(machine.internet(script, args).await, json!([256, ["EHOSTUNREACH"], 255]));
}

async fn connections_end_with_their_job(machine: &Machine) {
    let script = r"
def main(at, port):
    s = socket.create_connection((at, port)); s.send(b'x'); s.recv(1)
    os.kill(os.getpid(), 9)
";
    let world = echo(WORLD);
    let args = json!({"at": WORLD, "port": world.at.port()});
    let call = invocation(Python3, &format!("{PRELUDE}{script}"), &args.to_string());
    machine.bench.invoke(call).await.error();
    world.ended.recv_timeout(BOUND).unwrap();
}

/// By a script that is gone before anybody has read it.
async fn what_was_said_last_arrives(machine: &Machine) {
    let script = r"
def main(at, port, size):
    s = socket.create_connection((at, port))
    assert s.recv(1) == b''
    s.sendall(bytes(size))
    s.close()
";
    let sink = sink(WORLD);
    for size in [1, 100_000, 1_500_000] {
        let args = json!({"at": WORLD, "port": sink.at.port(), "size": size});
        assert_eq!(machine.internet(script, args).await, Value::Null);
        sink.let_go.send(()).unwrap();
        assert_eq!(sink.heard.recv_timeout(BOUND).unwrap(), (size, true));
    }
}

async fn an_answer_that_comes_early_arrives(machine: &Machine) {
    let script = r"
def main(at, port):
    s = socket.create_connection((at, port))
    try: s.sendall(bytes(20_000_000))
    except OSError as e: broke = type(e).__name__
    return [broke in ('ConnectionResetError', 'BrokenPipeError'), s.recv(100).decode()]
";
    for rude in machine.rude {
        let args = json!({"at": rude.ip(), "port": rude.port()});
        assert_eq!(machine.internet(script, args).await, json!([true, "too much"]), "{rude}");
    }
}

/// Though the kernel takes many at a time of a program that asks for it (UDP_SEGMENT, udp(7)).
async fn datagrams_stay_apart(machine: &Machine) {
    let script = r"
def main(at, port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(20)
    s.connect((at, port))
    s.setsockopt(17, 103, 1200)
    s.send(bytes(12_000))
    return [len(s.recv(65535)) for _ in range(10)]
";
    let args = json!({"at": WORLD, "port": machine.world.at.port()});
    assert_eq!(machine.internet(script, args).await, json!(vec![1200; 10]));
}

async fn the_other_networks_are_what_they_were(machine: &Machine) {
    let script = r"
def main(at, port):
    return said(lambda: by_tcp(at, port))
";
    let own = machine.beside[0].at;
    let args = json!({"at": own.ip(), "port": own.port()});
    assert_eq!(machine.run(Network::Host, script, &args).await, json!("same"));
    assert_eq!(machine.run(Network::None, script, &args).await, json!("EPERM"));
    assert_eq!(machine.run(Network::Internet, script, &args).await, json!("EHOSTUNREACH"));
}
