//! How scripts are confined, and what each may use.

mod workspace;

use std::net::IpAddr;
use std::num::NonZeroU64;

use catalog::SandboxSettings;
use ipnet::IpNet;
use lifecycle::Values;
use sandbox::{Level, Limits, Network};
use uplink::MAX_RESOLVERS;

use self::workspace::network_of;
use crate::execute::Isolation;

/// Ports of the services that scripts of the world talk to. Where Landlock alone guards the network it can
/// only let ports through, so this is what it lets through.
const INTERNET_PORTS: &str = "20,21,22,25,53,80,110,143,389,443,465,563,587,636,853,873,989,990,993,995,\
    1433,1521,1883,2525,2775,3000,3306,3389,4317,4318,4443,4444,4566,5000,5061,5222,5223,5269,5432,5433,\
    5671,5672,5985,5986,6432,6443,6543,7000,7473,7474,7687,8080,8081,8083,8086,8123,8125,8200,8243,8333,\
    8443,8447,8500,8529,8728,8883,8888,9000,9042,9092,9093,9094,9096,9098,9142,9200,9243,9300,9418,\
    9440,9443,10000,10255,10350,11211,15671,15672,19530,25060,25061,26257,27015,27016,27017,27018,27019,\
    28015,29015,33060,50000,50051,61613,61614";

/// An interpreter and its launcher need this much memory, in bytes.
const MIN_MEMORY: u64 = 32 << 20;

/// Each is a socket, or two, of every launcher.
const MAX_DOORS: usize = 16;

/// A limit on ports: each is a rule of its own in the kernel, for every script.
const MAX_PORTS: usize = 1000;

/// What is configured of the sandbox.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// How strongly.
    pub isolation: Isolation,
    /// What a script may use when it does not say.
    pub limits: Limits,
    /// The most that a script may ask for.
    pub limits_max: Limits,
    /// Whom a script reaches when neither it nor its workspace says.
    pub network: Network,
    /// The widest that a script or a workspace may ask for.
    pub network_max: Network,
    /// TCP ports of the network `internet`, without the API's own.
    pub internet_ports: Vec<u16>,
    /// Private networks that belong to the network `internet`, where scripts have a network of their own.
    pub internet_allow: Vec<IpNet>,
    /// Ports of the worker's own loopback that scripts reach, at theirs if they have a network of their own.
    pub loopback_ports: Vec<u16>,
    /// Name servers that scripts with a network of their own ask; the machine's if there are none.
    pub resolvers: Vec<IpAddr>,
}

impl Sandbox {
    pub(super) fn from_values(v: &mut Values) -> Self {
        let level: String =
            v.or("sandbox-level", "auto", "process, landlock, namespaces, or auto: the strongest there is");
        let strongest = level == "auto";
        let parsed = level.parse::<Level>().ok();
        v.check(
            strongest || parsed.is_some(),
            "sandbox-level is none of auto, process, landlock and namespaces",
        );
        let minimum = v.or("sandbox-minimum", "landlock", "the level below which the worker does not start");
        v.check(
            parsed.is_none_or(|level| level >= minimum),
            "sandbox-level is weaker than sandbox-minimum: the worker would never start",
        );
        let (limits, limits_max) = limits(v);
        let network =
            v.or("network", "internet", "whom scripts reach that do not say: none, internet or host");
        let isolation = Isolation::new(parsed, minimum, network);
        let network_max = v.or("network-max", "internet", "the widest network a script may ask for");
        v.check(network <= network_max, "network is wider than network-max");
        let ports_help = "TCP ports of the network internet, where Landlock guards it";
        let internet_ports: Vec<u16> = v.list("internet-ports", INTERNET_PORTS, ports_help);
        v.check(internet_ports.len() <= MAX_PORTS, "internet-ports has more than 1000 ports");
        let allow_help = "private networks, as 10.1.0.0/16, that belong to the network internet";
        let internet_allow = v.list("internet-allow", "", allow_help);
        let resolvers_help = "name servers that scripts ask instead of the machine's, three at most";
        let resolvers: Vec<IpAddr> = v.list("internet-resolvers", "", resolvers_help);
        v.check(resolvers.len() <= MAX_RESOLVERS, "internet-resolvers names more than three");
        let loopback_help = "ports of this machine's loopback that scripts reach on their own";
        let loopback_ports: Vec<u16> = v.list("loopback-ports", "", loopback_help);
        v.check(loopback_ports.len() <= MAX_DOORS, "loopback-ports names more than 16");
        v.check(!loopback_ports.contains(&0), "loopback-ports names the port 0");
        Self {
            isolation,
            limits,
            limits_max,
            network,
            network_max,
            internet_ports,
            internet_allow,
            loopback_ports,
            resolvers,
        }
    }
}

impl Sandbox {
    /// What this worker grants to whoever asks for this; or why not.
    fn granted(&self, asked: &SandboxSettings) -> Result<(Limits, Network), String> {
        let network = asked.network.map_or(self.network, network_of);
        if network > self.network_max {
            let most = self.network_max;
            return Err(format!(
                "asks for the network {network}, this worker gives {most} at most (network-max)"
            ));
        }
        let (own, most) = (&self.limits, &self.limits_max);
        if let Some(asked) = asked.memory.filter(|asked| asked.get() < MIN_MEMORY) {
            return Err(format!("asks for memory {asked}, nothing starts with less than {MIN_MEMORY}"));
        }
        let limits = Limits {
            memory: within("memory", asked.memory, own.memory, most.memory)?,
            cpu_seconds: within("cpu_seconds", asked.cpu_seconds, own.cpu_seconds, most.cpu_seconds)?,
            processes: within("processes", asked.processes, own.processes, most.processes)?,
            open_files: within("open_files", asked.open_files, own.open_files, most.open_files)?,
            file_bytes: within("file_bytes", asked.file_bytes, own.file_bytes, most.file_bytes)?,
            disk_bytes: within("disk_bytes", asked.disk_bytes, own.disk_bytes, most.disk_bytes)?,
        };
        Ok((limits, network))
    }
}

fn within(name: &str, asked: Option<NonZeroU64>, own: u64, most: u64) -> Result<u64, String> {
    match asked.map(NonZeroU64::get) {
        None => Ok(own),
        Some(asked) if asked <= most => Ok(asked),
        Some(asked) => Err(format!("asks for {name} {asked}, this worker gives {most} at most")),
    }
}

fn limits(v: &mut Values) -> (Limits, Limits) {
    let limits = Limits {
        memory: size(v, "memory-limit", "2GiB", "memory of all processes of a script"),
        cpu_seconds: v.or("cpu-limit", "900", "CPU seconds of all processes of a script"),
        processes: v.or("processes-limit", "512", "processes and threads of a script"),
        open_files: v.or("open-files-limit", "4096", "open files of each process of a script"),
        file_bytes: size(v, "file-limit", "1GiB", "the largest file of a script"),
        disk_bytes: size(v, "disk-limit", "2GiB", "all files of a script"),
    };
    let most = Limits {
        memory: size(v, "memory-limit-max", "8GiB", "the most memory a script may ask for"),
        cpu_seconds: v.or("cpu-limit-max", "86400", "the most CPU seconds a script may ask for"),
        processes: v.or("processes-limit-max", "4096", "the most processes a script may ask for"),
        open_files: v.or("open-files-limit-max", "65536", "the most open files a script may ask for"),
        file_bytes: size(v, "file-limit-max", "8GiB", "the largest file a script may ask for"),
        disk_bytes: size(v, "disk-limit-max", "16GiB", "the most disk a script may ask for"),
    };
    let pairs = [
        ("memory-limit", limits.memory, most.memory),
        ("cpu-limit", limits.cpu_seconds, most.cpu_seconds),
        ("processes-limit", limits.processes, most.processes),
        ("open-files-limit", limits.open_files, most.open_files),
        ("file-limit", limits.file_bytes, most.file_bytes),
        ("disk-limit", limits.disk_bytes, most.disk_bytes),
    ];
    for (name, own, most) in pairs {
        v.check(own > 0 && own <= most, &format!("{name} is 0 or more than {name}-max"));
    }
    (limits, most)
}

fn size(v: &mut Values, key: &str, default: &str, help: &str) -> u64 {
    v.size(key, default, help) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_gets_what_it_asks_for_up_to_the_most() {
        let sandbox = Sandbox {
            isolation: Isolation::default(),
            limits: Limits::default(),
            limits_max: Limits { memory: 4 << 30, ..Limits::default() },
            network: Network::Internet,
            network_max: Network::Internet,
            internet_ports: Vec::new(),
            internet_allow: Vec::new(),
            loopback_ports: Vec::new(),
            resolvers: Vec::new(),
        };
        let granted = |text: &str| sandbox.granted(&serde_json::from_str(text).unwrap());
        assert_eq!(granted("{}").unwrap(), (Limits::default(), Network::Internet));
        let (limits, network) = granted(r#"{"memory":4294967296,"network":"none","open_files":7}"#).unwrap();
        assert_eq!((limits.memory, limits.open_files, network), (4 << 30, 7, Network::None));
        let (memory, network) = (r#"{"memory":4294967297}"#, r#"{"network":"host"}"#);
        assert!(granted(memory).unwrap_err().contains("memory 4294967297, this worker gives 4294967296"));
        assert!(granted(network).unwrap_err().contains("network host, this worker gives internet"));
    }
}
