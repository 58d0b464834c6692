//! What there is to reach on the machine of the test.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// Says back by TCP and UDP, at one port, all it is told; and of each connection that has ended.
pub(super) struct Echo {
    pub(super) at: SocketAddr,
    pub(super) ended: Receiver<()>,
}

pub(super) fn echo(ip: &str) -> Echo {
    let ip: IpAddr = ip.parse().unwrap();
    let listener = TcpListener::bind((ip, 0)).unwrap();
    let at = listener.local_addr().unwrap();
    let datagrams = UdpSocket::bind(at).unwrap();
    let (say, ended) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, say) = (stream.unwrap(), say.clone());
            thread::spawn(move || {
                say_back(&mut stream);
                let _ = say.send(());
            });
        }
    });
    thread::spawn(move || {
        let mut buffer = vec![0; 65_535];
        while let Ok((length, from)) = datagrams.recv_from(&mut buffer) {
            let _ = datagrams.send_to(&buffer[..length], from);
        }
    });
    Echo { at, ended }
}

fn say_back(stream: &mut TcpStream) {
    let mut buffer = vec![0; 65_536];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
}

/// What a sink has heard of one connection: so many bytes, and whether it ended as it should.
pub(super) type Heard = (usize, bool);

/// Reads to the end, once it is let to, and tells.
pub(super) struct Sink {
    pub(super) at: SocketAddr,
    pub(super) let_go: Sender<()>,
    pub(super) heard: Receiver<Heard>,
}

/// One that ends its own side of each connection at once.
pub(super) fn sink(ip: &str) -> Sink {
    let listener = TcpListener::bind((ip, 0)).unwrap();
    let at = listener.local_addr().unwrap();
    let ((say, heard), (let_go, may)) = (channel(), channel());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            may.recv().unwrap();
            let mut all = Vec::new();
            let clean = stream.read_to_end(&mut all).is_ok();
            say.send((all.len(), clean)).unwrap();
        }
    });
    Sink { at, let_go, heard }
}

/// Answers before it has read, and breaks off: the kernel does so for whoever closes with something unread.
pub(super) fn rude(ip: &str) -> SocketAddr {
    let listener = TcpListener::bind((ip, 0)).unwrap();
    let at = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.read_exact(&mut [0]).unwrap();
            stream.write_all(b"too much").unwrap();
        }
    });
    at
}

/// A name server to which every name is this address (RFC 1035).
pub(super) fn name_server(ip: &str, answer: [u8; 4]) {
    let socket = UdpSocket::bind((ip, 53)).unwrap();
    thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut query) {
            let question_end = query[12..length].iter().position(|byte| *byte == 0).unwrap() + 12 + 5;
            let mut reply = query[..question_end].to_vec();
            let is_a = reply[question_end - 3] == 1;
            // an answer, with what was asked for, one if it was an address of four bytes; nothing besides
            reply[2..4].copy_from_slice(&[0x81, 0x80]);
            reply[6..12].copy_from_slice(&[0, u8::from(is_a), 0, 0, 0, 0]);
            if is_a {
                reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                reply.extend(answer);
            }
            socket.send_to(&reply, from).unwrap();
        }
    });
}
