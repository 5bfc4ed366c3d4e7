//! The server as a part of another program: the example that shows it really runs.
#![allow(clippy::unwrap_used)]

use inglenook::service::serve::Order;
use std::io::Write;
use std::net::TcpStream;

#[path = "../examples/embed.rs"]
#[allow(dead_code)]
mod embed;

#[test]
fn a_program_serves_stops_and_serves_again() {
    let folder = std::env::temp_dir().join(format!("inglenook-embedded-{}", std::process::id()));
    for _ in 0..2 {
        let server = embed::open(&folder).unwrap();
        let (_, address) = server.addresses()[0];
        let orders = server.orders();
        let thread = std::thread::spawn(move || server.run());
        let mut socket = TcpStream::connect(address).unwrap();
        let header = "<stream:stream to='house.test' version='1.0' xmlns='jabber:client' \
                      xmlns:stream='http://etherx.jabber.org/streams'></stream:stream>";
        socket.write_all(header.as_bytes()).unwrap();
        let said = std::io::read_to_string(&socket).unwrap();
        assert!(said.contains("<starttls") && said.ends_with("</stream:stream>"), "{said}");
        orders.try_send(Order::Stop).unwrap();
        thread.join().unwrap().unwrap();
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
