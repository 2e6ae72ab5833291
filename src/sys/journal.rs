//! Records of the journal with fields of their own, which programs search for (systemd.journal-fields(7)).

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use super::root::JOURNAL;

/// Sends one record to the journal of the running system.
///
/// `fields` are names, of capital letters, digits and underscores, and their values.
///
/// # Errors
/// When there is no journal, or the record does not fit into a datagram.
pub fn send(fields: &[(&str, &str)]) -> io::Result<()> {
    send_to(Path::new(JOURNAL), fields)
}

fn send_to(socket: &Path, fields: &[(&str, &str)]) -> io::Result<()> {
    let record = record(fields);
    UnixDatagram::unbound()?.send_to(&record, socket).map(drop)
}

/// A value of several lines has its length before it, in eight bytes, the lowest first.
fn record(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut record = Vec::new();
    for (name, value) in fields {
        record.extend(name.as_bytes());
        if value.contains('\n') {
            record.push(b'\n');
            record.extend((value.len() as u64).to_le_bytes());
        } else {
            record.push(b'=');
        }
        record.extend(value.as_bytes());
        record.push(b'\n');
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_each_field_on_its_line_or_with_its_length() {
        let fields = [("MESSAGE", "one\ntwo"), ("TU_CAUSE", "")];
        let expected = b"MESSAGE\n\x07\0\0\0\0\0\0\0one\ntwo\nTU_CAUSE=\n";
        assert_eq!(record(&fields), expected);
    }

    #[test]
    fn a_record_reaches_the_socket_as_one_datagram_and_without_a_socket_it_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        assert!(send_to(&path, &[("MESSAGE", "x")]).is_err());
        let socket = UnixDatagram::bind(&path).unwrap();
        send_to(&path, &[("MESSAGE", "x"), ("PRIORITY", "6")]).unwrap();
        let mut buffer = [0; 100];
        let length = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"MESSAGE=x\nPRIORITY=6\n");
    }
}
