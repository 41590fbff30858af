//! The channel between the two processes of a handover: frames of a kind, a length and a content.

use super::{FORMAT, descriptors};
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The first bytes of each frame.
const MAGIC: [u8; 4] = *b"RCHO";

/// The longest content of a frame but the state's, in bytes.
const MAX_CONTENT: u64 = 4 << 10;

/// The longest state, in bytes. Its parts are bounded by `--memory` and by the number of connections; this keeps a wrong length
/// from taking all memory.
const MAX_STATE: u64 = 64 << 30;

/// The most descriptors: more than a process may open.
const MAX_DESCRIPTORS: u64 = 1 << 24;

/// The bytes by which a buffer grows at least while a content is read: a wrong length takes no memory before its bytes come.
const READ_AT_A_TIME: u64 = 1 << 20;

/// Why a handover fails. Shown, it is one line for the operator and the log.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The other process has ended, or does not answer in time.
    #[error("the other process {}", explain(.0))]
    Io(#[from] io::Error),
    /// The other process says something that has no place here.
    #[error("the other process does not speak the protocol of a handover: is it roomcast?")]
    Protocol,
    /// The new process reads another format of the state.
    #[error(
        "version {version} takes over a state of format {format}, and this version has format {FORMAT}: restart the server"
    )]
    Format {
        /// The version of the new process.
        version: String,
        /// The format that it reads.
        format: u32,
    },
    /// The new process can't take the server over, and says why.
    #[error("{0}")]
    Refused(String),
}

/// The report of a new process that has taken over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// The version of the new process.
    pub version: String,
    /// The number of its process.
    pub process: u32,
    /// The connections that it serves.
    pub connections: usize,
    /// The rooms.
    pub rooms: usize,
}

/// The first message of a new process.
#[derive(Debug, Serialize, Deserialize)]
struct Hello {
    format: u32,
    version: String,
}

/// The kinds of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Hello = b'H',
    State = b'S',
    Ready = b'R',
    Failed = b'F',
    Commit = b'C',
    Committed = b'c',
}

/// The channel as the old process has it.
#[derive(Debug)]
pub struct OldProcess(UnixStream);

/// The channel as the new process has it.
#[derive(Debug)]
pub struct NewProcess(UnixStream);

impl OldProcess {
    /// Returns the channel of a socket whose other end a new process has. Each call waits for at most `patience`.
    ///
    /// # Errors
    /// The system's error.
    pub fn new(socket: UnixStream, patience: Duration) -> io::Result<Self> {
        set_patience(&socket, patience)?;
        Ok(Self(socket))
    }

    /// Waits for the new process, which has read its configuration by then.
    ///
    /// # Errors
    /// [`HandoverError`], also for a process that reads another format.
    pub fn expect_hello(&mut self) -> Result<(), HandoverError> {
        let Hello { format, version } = expect(&mut self.0, Kind::Hello)?;
        if format == FORMAT { Ok(()) } else { Err(HandoverError::Format { version, format }) }
    }

    /// Sends the state and the descriptors, and waits until the new process has rebuilt the server.
    ///
    /// # Errors
    /// [`HandoverError`]; the new process serves nobody then.
    pub fn send_state(&mut self, state: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<Taken, HandoverError> {
        let mut head = frame_head(Kind::State, state.len() as u64).to_vec();
        head.extend((descriptors.len() as u64).to_le_bytes());
        self.0.write_all(&head)?;
        self.0.write_all(state)?;
        descriptors::send(&self.0, descriptors)?;
        expect(&mut self.0, Kind::Ready)
    }

    /// Lets the new process serve.
    ///
    /// # Errors
    /// [`HandoverError`] if the new process has ended before: it serves nobody.
    pub fn commit(&mut self) -> Result<(), HandoverError> {
        send(&mut self.0, Kind::Commit, &())?;
        match expect(&mut self.0, Kind::Committed) {
            // The new process was told to serve, and its answer is late: its word that it is ready counts.
            Err(HandoverError::Io(error)) if is_timeout(&error) => Ok(()),
            answered => answered,
        }
    }
}

impl NewProcess {
    /// Returns the channel of a socket whose other end the old process has. Each call waits for at most `patience`.
    ///
    /// # Errors
    /// The system's error.
    pub fn new(socket: UnixStream, patience: Duration) -> io::Result<Self> {
        set_patience(&socket, patience)?;
        Ok(Self(socket))
    }

    /// Tells the format and the version of this process, and waits for the state and the descriptors.
    ///
    /// # Errors
    /// [`HandoverError`].
    pub fn receive_state(&mut self) -> Result<(Vec<u8>, Vec<OwnedFd>), HandoverError> {
        send(&mut self.0, Kind::Hello, &Hello { format: FORMAT, version: env!("CARGO_PKG_VERSION").to_owned() })?;
        let length = read_head(&mut self.0, Kind::State, MAX_STATE)?;
        let mut count = [0; 8];
        self.0.read_exact(&mut count)?;
        let count = u64::from_le_bytes(count);
        if count > MAX_DESCRIPTORS {
            return Err(HandoverError::Protocol);
        }
        let state = read_content(&mut self.0, length)?;
        // At most `MAX_DESCRIPTORS`, so it is a length in memory.
        let descriptors = descriptors::receive(&self.0, usize::try_from(count).unwrap_or_default())?;
        Ok((state, descriptors))
    }

    /// Tells what this process has taken over, and waits until it may serve.
    ///
    /// # Errors
    /// [`HandoverError`] if the old process goes on itself: this one must end.
    pub fn report_ready(&mut self, taken: &Taken) -> Result<(), HandoverError> {
        send(&mut self.0, Kind::Ready, taken)?;
        expect(&mut self.0, Kind::Commit)
    }

    /// Tells that this process serves. An old process that is gone needs no answer.
    pub fn report_committed(&mut self) {
        let _ = send(&mut self.0, Kind::Committed, &());
    }

    /// Tells why this process can't take the server over.
    pub fn report_failure(&mut self, reason: &str) {
        let reason: String = reason.chars().take(1_000).collect();
        let _ = send(&mut self.0, Kind::Failed, &reason);
    }
}

fn set_patience(socket: &UnixStream, patience: Duration) -> io::Result<()> {
    socket.set_read_timeout(Some(patience))?;
    socket.set_write_timeout(Some(patience))
}

fn frame_head(kind: Kind, length: u64) -> [u8; 13] {
    let mut head = [0; 13];
    head[..4].copy_from_slice(&MAGIC);
    head[4] = kind as u8;
    head[5..].copy_from_slice(&length.to_le_bytes());
    head
}

fn send(socket: &mut UnixStream, kind: Kind, content: &impl Serialize) -> Result<(), HandoverError> {
    let content = postcard::to_stdvec(content).map_err(|_| HandoverError::Protocol)?;
    let mut frame = frame_head(kind, content.len() as u64).to_vec();
    frame.extend(content);
    Ok(socket.write_all(&frame)?)
}

fn expect<T: for<'de> Deserialize<'de>>(socket: &mut UnixStream, kind: Kind) -> Result<T, HandoverError> {
    let length = read_head(socket, kind, MAX_CONTENT)?;
    decode(&read_content(socket, length)?)
}

fn decode<T: for<'de> Deserialize<'de>>(content: &[u8]) -> Result<T, HandoverError> {
    postcard::from_bytes(content).map_err(|_| HandoverError::Protocol)
}

/// Reads the head of a frame of this kind; returns the length of its content.
fn read_head(socket: &mut UnixStream, kind: Kind, most: u64) -> Result<u64, HandoverError> {
    let mut head = [0; 13];
    socket.read_exact(&mut head)?;
    let [a, b, c, d, found, length @ ..] = head;
    let length = u64::from_le_bytes(length);
    if [a, b, c, d] != MAGIC {
        return Err(HandoverError::Protocol);
    }
    if found == Kind::Failed as u8 && length <= MAX_CONTENT {
        return Err(HandoverError::Refused(decode(&read_content(socket, length)?)?));
    }
    if found == kind as u8 && length <= most { Ok(length) } else { Err(HandoverError::Protocol) }
}

fn read_content(socket: &mut UnixStream, length: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    while (content.len() as u64) < length {
        let before = content.len();
        let next = READ_AT_A_TIME.max(before as u64).min(length - before as u64);
        // At most twice what is there and a megabyte, so it is a length in memory.
        content.resize(before + usize::try_from(next).unwrap_or_default(), 0);
        socket.read_exact(&mut content[before..])?;
    }
    Ok(content)
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
            "has ended: its own messages say why".to_owned()
        }
        _ if is_timeout(error) => "does not answer in time".to_owned(),
        _ => format!("can't be talked to: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::thread;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn taken() -> Taken {
        Taken { version: "1.2.3".to_owned(), process: 7, connections: 3, rooms: 2 }
    }

    fn pair() -> (OldProcess, NewProcess) {
        let (old, new) = UnixStream::pair().unwrap();
        (OldProcess::new(old, PATIENCE).unwrap(), NewProcess::new(new, PATIENCE).unwrap())
    }

    #[test]
    fn state_and_descriptors_are_handed_over_and_committed() {
        let (mut old, mut new) = pair();
        let state: Vec<u8> = (0..5_000_000_u32).map(|at| at.to_le_bytes()[1]).collect();
        let expected = state.clone();
        let taking = thread::spawn(move || {
            let (state, descriptors) = new.receive_state().unwrap();
            new.report_ready(&taken()).unwrap();
            new.report_committed();
            (state, descriptors.len())
        });
        old.expect_hello().unwrap();
        let (one, _other) = UnixStream::pair().unwrap();
        let descriptors = vec![one.as_fd(); 300];
        assert_eq!(old.send_state(&state, &descriptors).unwrap(), taken());
        old.commit().unwrap();
        let (received, count) = taking.join().unwrap();
        assert!(received == expected && count == 300);
    }

    #[test]
    fn refusal_of_the_new_process_is_told_at_each_place() {
        let (mut old, mut new) = pair();
        new.report_failure("roomcast.toml:3:1: unknown key 'rat'");
        assert_eq!(old.expect_hello().unwrap_err().to_string(), "roomcast.toml:3:1: unknown key 'rat'");
        let (mut old, mut new) = pair();
        new.report_failure("no");
        assert_eq!(old.send_state(b"state", &[]).unwrap_err().to_string(), "no");
    }

    #[test]
    fn other_format_is_named() {
        let (mut old, new) = pair();
        let mut raw = new.0.try_clone().unwrap();
        send(&mut raw, Kind::Hello, &Hello { format: FORMAT + 1, version: "9.9.9".to_owned() }).unwrap();
        let told = old.expect_hello().unwrap_err().to_string();
        assert!(told.starts_with("version 9.9.9 takes over a state of format"), "{told}");
    }

    /// A new process that ends, or says anything else, at each byte of what it says.
    #[test]
    fn frames_that_are_cut_or_changed_are_errors() {
        let content = postcard::to_stdvec(&taken()).unwrap();
        let frame = [&frame_head(Kind::Ready, content.len() as u64)[..], &content].concat();
        for cut in 0..frame.len() {
            let (mut old, mut new) = pair();
            new.0.write_all(&frame[..cut]).unwrap();
            drop(new);
            assert!(expect::<Taken>(&mut old.0, Kind::Ready).is_err(), "cut after {cut} bytes");
        }
        for (at, wrong) in (0..13).flat_map(|at| [(at, 0xFF), (at, frame[at] ^ 1)]) {
            let (mut old, mut new) = pair();
            let mut changed = frame.clone();
            changed[at] = wrong;
            new.0.write_all(&changed).unwrap();
            drop(new);
            assert!(expect::<Taken>(&mut old.0, Kind::Ready).is_err(), "byte {at} is {wrong:#x}");
        }
    }

    #[test]
    fn process_that_says_nothing_is_not_waited_for_for_ever() {
        let (old, _new) = UnixStream::pair().unwrap();
        let mut old = OldProcess::new(old, Duration::from_millis(1)).unwrap();
        assert_eq!(old.expect_hello().unwrap_err().to_string(), "the other process does not answer in time");
    }

    #[test]
    fn old_process_that_goes_on_ends_the_new_one() {
        let (old, mut new) = pair();
        drop(old);
        assert!(new.receive_state().is_err() && new.report_ready(&taken()).is_err());
    }
}
