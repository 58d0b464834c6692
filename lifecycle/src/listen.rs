//! Binding a listener, with errors that say which key to change.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

/// Why an address could not be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else listens there.
    #[error("port {} on {} is taken by another program; choose another with --{key}", addr.port(), addr.ip())]
    Taken {
        /// The address asked for.
        addr: SocketAddr,
        /// The configuration key it came from.
        key: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// Low ports need a privilege.
    #[error("not allowed to listen on {addr}; choose a port above 1023 with --{key}")]
    Forbidden {
        /// The address asked for.
        addr: SocketAddr,
        /// The configuration key it came from.
        key: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The address is not one of this machine.
    #[error("{} is no address of this machine; choose another with --{key}", addr.ip())]
    NotHere {
        /// The address asked for.
        addr: SocketAddr,
        /// The configuration key it came from.
        key: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// Anything else.
    #[error("cannot listen on {addr} (--{key})")]
    Other {
        /// The address asked for.
        addr: SocketAddr,
        /// The configuration key it came from.
        key: String,
        /// What the operating system said.
        source: io::Error,
    },
}

/// Listens on `addr`, which the configuration key `key` gave. Port 0 picks a free one.
pub async fn bind(addr: SocketAddr, key: &str) -> Result<TcpListener, BindError> {
    TcpListener::bind(addr).await.map_err(|source| explain(addr, key, source))
}

/// The same without a runtime.
pub(crate) fn bind_blocking(addr: SocketAddr, key: &str) -> Result<std::net::TcpListener, BindError> {
    let bound = std::net::TcpListener::bind(addr).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    bound.map_err(|source| explain(addr, key, source))
}

fn explain(addr: SocketAddr, key: &str, source: io::Error) -> BindError {
    let key = key.to_owned();
    match source.kind() {
        io::ErrorKind::AddrInUse => BindError::Taken { addr, key, source },
        io::ErrorKind::PermissionDenied => BindError::Forbidden { addr, key, source },
        io::ErrorKind::AddrNotAvailable => BindError::NotHere { addr, key, source },
        _ => BindError::Other { addr, key, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_names_itself_and_the_key() {
        let first = bind("127.0.0.1:0".parse().unwrap(), "listen").await.unwrap();
        let addr = first.local_addr().unwrap();
        let error = bind(addr, "listen").await.unwrap_err().to_string();
        let port = addr.port();
        assert_eq!(
            error,
            format!("port {port} on 127.0.0.1 is taken by another program; choose another with --listen")
        );
    }

    #[tokio::test]
    async fn an_address_of_nobody_is_named() {
        let error = bind("192.0.2.1:0".parse().unwrap(), "listen").await.unwrap_err().to_string();
        assert!(error.starts_with("192.0.2.1 is no address of this machine"), "{error}");
    }
}
