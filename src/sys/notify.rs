//! Telling a service manager how far we are (sd_notify(3)).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Names the socket of the service manager; `@` stands for the NUL of an abstract one.
const SOCKET: &str = "NOTIFY_SOCKET";

/// Sends assignments, one a line, when there is anybody to send them to. Nobody waits for them: what cannot be sent is lost.
pub fn send(text: &str) {
    if let Some(path) = std::env::var_os(SOCKET)
        && let Err(e) = send_to(&path, text)
    {
        tracing::debug!("{SOCKET}: {e}");
    }
}

fn send_to(path: &OsStr, text: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    // a manager that does not read must not hold us up
    socket.set_nonblocking(true)?;
    match path.as_bytes().strip_prefix(b"@") {
        Some(name) => {
            socket.send_to_addr(text.as_bytes(), &SocketAddr::from_abstract_name(name)?)?
        }
        None => socket.send_to(text.as_bytes(), path)?,
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_is_told_by_a_path_and_by_an_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("{}", path.display());
        let address = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
        let mut bytes = [0; 64];
        for (manager, told) in [
            (UnixDatagram::bind(&path).unwrap(), name.clone()),
            (
                UnixDatagram::bind_addr(&address).unwrap(),
                format!("@{name}"),
            ),
        ] {
            send_to(told.as_ref(), "READY=1").unwrap();
            let length = manager.recv(&mut bytes).unwrap();
            assert_eq!(&bytes[..length], b"READY=1");
        }
        assert!(send_to(dir.path().join("nobody").as_ref(), "READY=1").is_err());
    }
}
