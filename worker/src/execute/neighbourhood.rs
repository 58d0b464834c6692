//! What lies around a worker: the API, which scripts call back, and the services that they must not reach.
//! Names are looked up again from time to time, so that a script that starts knows where the API is now.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use sandbox::Link;
use uplink::{FIRST_RESOLVER, MAX_RESOLVERS, Rules};

/// What was looked up is looked up again by the first job after this long, which does not wait for it.
const FRESH: Duration = Duration::from_secs(30);

/// What is older than this is waited for.
const STALE: Duration = Duration::from_mins(5);

/// A name server that takes longer than this does not hold a job up.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the machine asks for names.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// A host, by name or address, and a port of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// A name or an address, IPv6 without brackets.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
}

/// What is known of it beforehand.
#[derive(Clone, Debug, Default)]
pub struct Surrounding {
    /// TCP ports that scripts with the network `internet` may connect to where Landlock guards it.
    pub ports: Vec<u16>,
    /// Private networks that they reach all the same, where they have a network of their own.
    pub allowed: Vec<IpNet>,
    /// The API, which they reach wherever it is.
    pub api: Option<Place>,
    /// Ports of the worker's loopback that they reach on their own.
    pub loopback: Vec<u16>,
    /// Services whose hosts they do not reach, even if they are in a network that is allowed.
    pub services: Vec<Place>,
    /// Name servers that scripts with a network of their own ask; the machine's if there are none.
    pub resolvers: Vec<IpAddr>,
}

/// Knows whom a script may reach. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Neighbourhood(Arc<Known>);

#[derive(Debug)]
struct Known {
    surrounding: Surrounding,
    /// Where each service was found last.
    services: Mutex<HashMap<String, Vec<IpAddr>>>,
    rules: Mutex<(Rules, Instant)>,
}

impl Neighbourhood {
    /// Looks it up.
    pub(super) async fn explore(surrounding: Surrounding) -> Self {
        let rules = Mutex::new((Rules::default(), Instant::now()));
        let known = Arc::new(Known { surrounding, services: Mutex::default(), rules });
        known.look().await;
        Self(known)
    }

    pub(super) fn ports(&self) -> &[u16] {
        &self.0.surrounding.ports
    }

    /// Whom the next script may reach.
    pub(super) async fn rules(&self) -> Rules {
        let age = self.0.rules.lock().unwrap_or_else(PoisonError::into_inner).1.elapsed();
        if age > STALE {
            // whoever is slow is heard by the next
            let _ = tokio::time::timeout(PATIENCE, self.look_once()).await;
        } else if age > FRESH {
            drop(self.look_once());
        }
        self.0.rules.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Others who ask meanwhile have what is known.
    fn look_once(&self) -> tokio::task::JoinHandle<()> {
        self.0.rules.lock().unwrap_or_else(PoisonError::into_inner).1 = Instant::now();
        let known = Arc::clone(&self.0);
        tokio::spawn(async move { known.look().await })
    }

    /// What a network of a script's own needs: a file for its name servers is written to `folder`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn link(&self, folder: &Path) -> std::io::Result<Link> {
        let resolver = folder.join("resolv.conf");
        let text = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
        std::fs::write(&resolver, seen_resolvers(&text, self.0.resolvers().len()))?;
        // for everybody, whatever our mask is
        std::fs::set_permissions(&resolver, std::fs::Permissions::from_mode(0o644))?;
        let ipv6 = std::net::UdpSocket::bind("[::]:0").and_then(|socket| socket.connect("[2001:db8::1]:9"));
        Ok(Link { doors: self.doors(), resolver: Some(resolver), ipv6: ipv6.is_ok() })
    }

    /// Where something open is on the loopback, that of a script leads to it.
    fn doors(&self) -> Vec<u16> {
        let rules = self.0.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let loopback = rules.0.open.iter().filter(|open| open.ip().is_loopback());
        let mut doors: Vec<u16> = loopback.map(SocketAddr::port).collect();
        doors.sort_unstable();
        doors.dedup();
        doors
    }
}

impl Known {
    /// As they are now: a machine that moves asks others.
    fn resolvers(&self) -> Vec<IpAddr> {
        let mut resolvers = self.surrounding.resolvers.clone();
        if resolvers.is_empty() {
            resolvers = name_servers(&std::fs::read_to_string(RESOLV_CONF).unwrap_or_default());
        }
        resolvers.truncate(MAX_RESOLVERS);
        resolvers
    }

    async fn look(&self) {
        let refused = self.find_services().await;
        let mut open = match &self.surrounding.api {
            Some(api) => addresses(api).await,
            None => Vec::new(),
        };
        let mut known = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        if open.is_empty() {
            // a name server that is away moves nobody
            open.clone_from(&known.0.open);
        }
        let loopback = self.surrounding.loopback.iter();
        open.extend(loopback.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, *port))));
        // as long as a service may be anywhere, private networks are not allowed
        let allowed = refused.as_ref().map(|_| self.surrounding.allowed.clone()).unwrap_or_default();
        let refused = refused.unwrap_or_default();
        *known = (Rules { allowed, refused, open, resolvers: self.resolvers() }, Instant::now());
    }

    /// Where the services are, or were when their names were found last; `None` if one never was.
    async fn find_services(&self) -> Option<Vec<IpAddr>> {
        let mut all = Vec::new();
        for service in &self.surrounding.services {
            let found: Vec<IpAddr> = addresses(service).await.iter().map(SocketAddr::ip).collect();
            let mut known = self.services.lock().unwrap_or_else(PoisonError::into_inner);
            let known = known.entry(service.host.clone()).or_default();
            if !found.is_empty() {
                *known = found;
            }
            all.push(known.clone());
        }
        all.iter().all(|found| !found.is_empty()).then(|| all.concat())
    }
}

async fn addresses(place: &Place) -> Vec<SocketAddr> {
    match tokio::net::lookup_host((place.host.as_str(), place.port)).await {
        Ok(found) => found.collect(),
        Err(error) => {
            tracing::warn!(host = place.host, %error, "a service beside this worker was not found by its name");
            Vec::new()
        }
    }
}

fn name_servers(text: &str) -> Vec<IpAddr> {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    // one with a zone can be asked through one interface only, and is left out
    let servers = lines.filter_map(|server| server.trim().parse().ok());
    let servers: Vec<IpAddr> = servers.collect();
    // what the C library asks without one (resolv.conf(5))
    if servers.is_empty() { vec![IpAddr::from([127, 0, 0, 1])] } else { servers }
}

/// The same file with the servers where a script sees them.
fn seen_resolvers(text: &str, count: usize) -> String {
    let others = text.lines().filter(|line| !line.trim().starts_with("nameserver"));
    let seen = (0..).take(count).map(|at| Ipv4Addr::from_bits(FIRST_RESOLVER.to_bits() + at));
    let seen = seen.map(|server| format!("nameserver {server}"));
    others.map(str::to_owned).chain(seen).map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_asks_the_machines_name_servers_where_it_sees_them() {
        let text = "# by hand\nsearch a.example\n nameserver 127.0.0.53\nnameserver fe80::1%eth0\nnameserver ::2\noptions edns0\n";
        let servers = name_servers(text);
        assert_eq!(servers, ["127.0.0.53", "::2"].map(|server| server.parse::<IpAddr>().unwrap()));
        let seen =
            "# by hand\nsearch a.example\noptions edns0\nnameserver 198.18.0.2\nnameserver 198.18.0.3\n";
        assert_eq!(seen_resolvers(text, servers.len()), seen);
        assert_eq!(name_servers(""), [IpAddr::from([127, 0, 0, 1])]);
        assert_eq!(seen_resolvers("", 1), "nameserver 198.18.0.2\n");
    }

    #[tokio::test]
    async fn what_is_open_on_the_loopback_has_a_door() {
        let place = |host: &str, port| Place { host: host.to_owned(), port };
        let private: IpNet = "10.0.0.0/8".parse().unwrap();
        let surrounding = Surrounding {
            api: Some(place("127.0.0.1", 8000)),
            loopback: vec![5432],
            allowed: vec![private],
            services: vec![place("10.0.0.7", 4222), place("::1", 6379)],
            ..Surrounding::default()
        };
        let lost = Surrounding { services: vec![place("nowhere.invalid", 1)], ..surrounding.clone() };
        let neighbourhood = Neighbourhood::explore(surrounding).await;
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(neighbourhood.link(folder.path()).unwrap().doors, [5432, 8000]);
        let rules = neighbourhood.rules().await;
        assert_eq!(rules.refused, ["10.0.0.7", "::1"].map(|host| host.parse::<IpAddr>().unwrap()));
        assert_eq!(rules.allowed, [private]);
        let open = ["127.0.0.1:8000", "127.0.0.1:5432"].map(|open| open.parse::<SocketAddr>().unwrap());
        assert_eq!(rules.open, open);
        // it may be anywhere, in the private network as well
        let lost = Neighbourhood::explore(lost).await.rules().await;
        assert_eq!((lost.allowed, lost.open), (vec![], rules.open));
    }
}
