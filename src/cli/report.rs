//! Reports to the operator: what the program prints at its start, and how it shows a mistake.

use super::parse::ArgsError;
use roomcast::config::units::show_memory;
use roomcast::{BoundAddress, BoundListener};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;

/// The exit code of a mistake in the arguments or in a file that they name.
pub(super) const MISTAKE: u8 = 2;

/// Prints where the server listens, for clients and for metrics, its bounds and its trusted
/// proxies if they are given, its memory ceiling and the
/// most that one peer takes of it in bytes, how to join, and how to stop it. People join at a telnet listener, if there is
/// one, and not at a listener that only its proxy may connect to.
pub(super) fn greet(
    listeners: &[BoundListener],
    metrics: Option<&BoundAddress>,
    (bounds, trust): (Option<&str>, Option<&str>),
    (ceiling, of_one_peer): (u64, u64),
) {
    let version = env!("CARGO_PKG_VERSION");
    let urls = listeners.iter().map(ToString::to_string).chain(metrics.map(ToString::to_string));
    let listening = urls.map(|url| format!("roomcast {version} listening on {url}"));
    let way = address_for_people(listeners).and_then(way_to_connect);
    let join = way.map(|way| format!("join with: {way}, then type: JOIN <ROOMNAME> <USERNAME>"));
    let peer =
        if of_one_peer < ceiling { format!(", at most {} a peer", show_memory(of_one_peer)) } else { String::new() };
    let memory = format!("memory ceiling: {}{peer}", show_memory(ceiling));
    let trust = trust.map(|trust| format!("PROXY headers are taken from: {trust} (--trust)"));
    let rest = bounds
        .map(str::to_owned)
        .into_iter()
        .chain(trust)
        .chain([memory])
        .chain(join)
        .chain(["Ctrl-C stops it".to_owned()]);
    let lines: Vec<String> = listening.chain(rest).collect();
    // A closed stdout is no reason not to serve.
    let _ = io::stdout().write_all((lines.join("\n") + "\n").as_bytes());
}

/// Returns the first telnet listener's address, or else the first address, of those without a proxy.
fn address_for_people(listeners: &[BoundListener]) -> Option<&BoundAddress> {
    let mut addresses = listeners.iter().filter(|listener| listener.proxy.is_none()).map(|listener| &listener.address);
    let telnet = addresses.clone().find(|address| matches!(address, BoundAddress::Telnet(_)));
    telnet.or(addresses.next())
}

/// Returns a command that connects to `address` from this machine; `None` for a socket without a path.
fn way_to_connect(address: &BoundAddress) -> Option<String> {
    Some(match address {
        BoundAddress::Tcp(address) | BoundAddress::Telnet(address) => {
            format!("telnet {} {}", reachable_host(address.ip()), address.port())
        }
        BoundAddress::Tls(address) => {
            let (host, port) = (reachable_host(address.ip()), address.port());
            let bracketed = if host.contains(':') { format!("[{host}]") } else { host.clone() };
            format!("openssl s_client -quiet -connect {bracketed}:{port} (or ncat --ssl {host} {port})")
        }
        BoundAddress::Web(address) => format!("a browser at http://{}", reachable_authority(*address)),
        BoundAddress::WebTls(address) => format!("a browser at https://{}", reachable_authority(*address)),
        BoundAddress::Unix(path) => format!("nc -U {}", path.display()),
        BoundAddress::Metrics(_) => format!("curl {address}"),
        BoundAddress::Activated(_) => return None,
    })
}

/// Returns the host and the port by which a browser on this machine reaches a listener.
fn reachable_authority(address: SocketAddr) -> String {
    let host = reachable_host(address.ip());
    if host.contains(':') { format!("[{host}]:{}", address.port()) } else { format!("{host}:{}", address.port()) }
}

/// Returns the name or the address by which this machine reaches a listener on `ip`.
fn reachable_host(ip: IpAddr) -> String {
    if ip.is_unspecified() { "localhost".to_owned() } else { ip.to_string() }
}

/// Prints a mistake in the arguments as one line on stderr, or each one that a check of the file found, and returns exit
/// code 2; prints help and version on
/// stdout and returns 0.
pub(super) fn usage_error(error: &ArgsError) -> ExitCode {
    match error {
        ArgsError::Clap(error) if !error.use_stderr() => {
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ArgsError::File(errors) => {
            for error in errors {
                complain(&error.to_string());
            }
            ExitCode::from(MISTAKE)
        }
        ArgsError::Clap(_) | ArgsError::Settings(_) => {
            complain(&format!("{error}; see roomcast --help"));
            ExitCode::from(MISTAKE)
        }
    }
}

/// Returns clap's message without its usage and hints, on one line.
pub(super) fn one_line(message: &str) -> String {
    let lines: Vec<&str> =
        message.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("tip: to pass")).collect();
    let lines = lines.split(|line| line.starts_with("Usage:") || line.starts_with("For more")).next();
    let line = lines.unwrap_or_default().join("; ").replace(":; ", ": ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

/// Returns a count with its noun.
pub(super) fn format_count(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Prints a text on stdout. A closed stdout is no failure.
pub(super) fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// Prints a line on stderr. Without a stderr there is nothing to do.
pub(super) fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "roomcast: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use roomcast::config::ProxyVersions;

    fn listener(address: BoundAddress, proxy: Option<ProxyVersions>) -> BoundListener {
        BoundListener { address, proxy }
    }

    #[test]
    fn people_are_sent_to_the_telnet_listener() {
        let tcp = listener(BoundAddress::Tcp("127.0.0.1:4000".parse().unwrap()), None);
        let telnet = listener(BoundAddress::Telnet("127.0.0.1:23".parse().unwrap()), None);
        let unix = listener(BoundAddress::Unix("/run/rc".into()), None);
        assert_eq!(address_for_people(&[unix.clone(), tcp.clone(), telnet.clone()]), Some(&telnet.address));
        assert_eq!(address_for_people(&[unix.clone(), tcp]), Some(&unix.address));
        assert_eq!(address_for_people(&[]), None);
    }

    #[test]
    fn people_are_not_sent_to_the_listener_of_a_proxy() {
        let proxied = listener(BoundAddress::Telnet("127.0.0.1:23".parse().unwrap()), Some(ProxyVersions::Both));
        let tcp = listener(BoundAddress::Tcp("127.0.0.1:4000".parse().unwrap()), None);
        assert_eq!(address_for_people(&[proxied.clone(), tcp.clone()]), Some(&tcp.address));
        assert_eq!(proxied.to_string(), "telnet://127.0.0.1:23?proxy=v1v2");
        assert_eq!(address_for_people(&[proxied]), None);
    }

    #[test]
    fn the_way_to_connect_is_an_address_that_is_listened_on() {
        let tcp = |address: &str| way_to_connect(&BoundAddress::Tcp(address.parse().unwrap())).unwrap();
        assert_eq!(tcp("0.0.0.0:4000"), "telnet localhost 4000");
        assert_eq!(tcp("[::]:4000"), "telnet localhost 4000");
        assert_eq!(tcp("127.0.0.2:4000"), "telnet 127.0.0.2 4000");
        assert_eq!(tcp("[::1]:4000"), "telnet ::1 4000");
        let telnet = BoundAddress::Telnet("[::]:2323".parse().unwrap());
        assert_eq!(way_to_connect(&telnet).unwrap(), "telnet localhost 2323");
        assert_eq!(way_to_connect(&BoundAddress::Unix("/run/rc".into())).unwrap(), "nc -U /run/rc");
        let tls = |address: &str| way_to_connect(&BoundAddress::Tls(address.parse().unwrap())).unwrap();
        assert_eq!(tls("[::]:6697"), "openssl s_client -quiet -connect localhost:6697 (or ncat --ssl localhost 6697)");
        assert_eq!(tls("[::1]:6697"), "openssl s_client -quiet -connect [::1]:6697 (or ncat --ssl ::1 6697)");
        assert_eq!(way_to_connect(&BoundAddress::Activated("unix".to_owned())), None);
    }
}
