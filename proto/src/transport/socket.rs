//! What both ends of a connection ask of the system.

use std::io;

use tokio::net::TcpStream;

/// Sets a connection up for small messages that must not wait.
///
/// Where a fifth of all packets is lost, TCP's retransmissions double their distance until a stream
/// that says little, such as one of heartbeats, is silent for many seconds. Linux can keep the
/// distance for the first six of them (`TCP_THIN_LINEAR_TIMEOUTS`, see `tcp(7)` and
/// Documentation/networking/tcp-thin.rst).
pub fn tune(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    // Not every kernel that calls itself Linux has it, and all works without.
    drop(socket2::SockRef::from(tcp).set_tcp_thin_linear_timeouts(true));
    Ok(())
}
