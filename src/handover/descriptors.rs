//! Descriptors: passes open files to another process over a Unix socket (`unix(7)`, `SCM_RIGHTS`).

use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The most descriptors of one message: the system takes 253.
const AT_A_TIME: usize = 250;

/// The byte that goes with the descriptors of one message.
const MARK: u8 = b'D';

/// Sends descriptors in order.
///
/// # Errors
/// The system's error, as when the socket's time is over.
pub(super) fn send(socket: impl AsFd, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    for some in descriptors.chunks(AT_A_TIME) {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(AT_A_TIME))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(some)) {
            return Err(io::Error::other("no space for the descriptors of a message: this is a bug"));
        }
        let sent = retry(|| sendmsg(&socket, &[IoSlice::new(&[MARK])], &mut control, SendFlags::NOSIGNAL))?;
        if sent != 1 {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}

/// Receives as many descriptors as [`send`] has sent. No program that this process starts inherits them.
///
/// # Errors
/// The system's error, and `InvalidData` if other descriptors come.
pub(super) fn receive(socket: impl AsFd, count: usize) -> io::Result<Vec<OwnedFd>> {
    let mut received = Vec::new();
    while received.len() < count {
        let (mut mark, mut space) = ([0], [MaybeUninit::uninit(); cmsg_space!(ScmRights(AT_A_TIME))]);
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let message = retry(|| recvmsg(&socket, &mut [IoSliceMut::new(&mut mark)], &mut control, flags))?;
        // Taken out first, so that they are closed in any case.
        let before = received.len();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                received.extend(descriptors);
            }
        }
        if message.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if message.flags.contains(ReturnFlags::CTRUNC) {
            return Err(io::Error::other("this process may not open so many files: raise its limit with ulimit -n"));
        }
        if mark != [MARK] || received.len() == before || received.len() > count {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(received)
}

/// Calls the system again after a signal.
fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            done => return Ok(done?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Seek, Write};
    use std::os::unix::net::UnixStream;
    use std::thread;

    /// More than two messages take.
    const COUNT: usize = 2 * AT_A_TIME + 1;

    #[test]
    fn many_descriptors_arrive_in_order_and_open() {
        let (old, new) = UnixStream::pair().unwrap();
        let files: Vec<File> = (0..3)
            .map(|number| {
                let path = std::env::temp_dir().join(format!("roomcast-{}-passed-{number}", std::process::id()));
                let mut file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
                std::fs::remove_file(path).unwrap();
                write!(file, "file {number}").unwrap();
                file
            })
            .collect();
        let sending = thread::spawn(move || {
            let descriptors: Vec<BorrowedFd<'_>> = (0..COUNT).map(|at| files[at % 3].as_fd()).collect();
            send(&old, &descriptors).map(|()| old)
        });
        let received = receive(&new, COUNT).unwrap();
        assert_eq!(received.len(), COUNT);
        for (at, descriptor) in received.into_iter().enumerate() {
            let (mut file, mut text) = (File::from(descriptor), String::new());
            file.rewind().unwrap();
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text, format!("file {}", at % 3));
        }
        drop(sending.join().unwrap().unwrap());
    }

    #[test]
    fn other_bytes_and_an_early_end_are_errors() {
        let (mut old, new) = UnixStream::pair().unwrap();
        old.write_all(b"D").unwrap();
        assert_eq!(receive(&new, 1).unwrap_err().kind(), io::ErrorKind::InvalidData);
        drop(old);
        assert_eq!(receive(&new, 1).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let (old, new) = UnixStream::pair().unwrap();
        send(&old, &[old.as_fd(), old.as_fd()]).unwrap();
        assert_eq!(receive(&new, 1).unwrap_err().kind(), io::ErrorKind::InvalidData, "more than announced");
        assert!(receive(&new, 0).unwrap().is_empty());
    }
}
