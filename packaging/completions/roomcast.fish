# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_roomcast_global_optspecs
    string join \n config= check-config show-config bind= listen= socket-mode= workers= max-connections= max-per-address= connect-rate= connect-burst= exempt= memory= tls-cert= tls-key= allow-origin= trust= max-line= login-timeout= rate= burst= byte-rate= byte-burst= backlog= slow-reader= stall-timeout= idle-timeout= dead-timeout= plain= drain= max-rooms= inbox= history= replay= allow-duplicate-names= motd= bell= cluster= cluster-name= node= cluster-order= cluster-replicas= cluster-credentials= cluster-ca= cluster-required= history-for= history-size= metrics= admin= bans= v/verbose log-level= log-format= h/help V/version
end

function __fish_roomcast_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_roomcast_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_roomcast_using_subcommand
    set -l cmd (__fish_roomcast_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c roomcast -n "__fish_roomcast_needs_command" -l config -d 'A TOML file with a key for each flag, as max-line = 20000; flags and variables come before it. SIGHUP reads it again [default: none]' -r -F
complete -c roomcast -n "__fish_roomcast_needs_command" -l bind -d 'An address to serve the port on, repeatable [default: every interface, IPv4 and IPv6]' -r
complete -c roomcast -n "__fish_roomcast_needs_command" -l listen -d 'A listener, repeatable, in place of the port and --bind: tcp://ADDR:PORT, or tcp://:PORT for every interface; telnet://ADDR:PORT for people with telnet or PuTTY: the input line is on at once; ws://ADDR:PORT for browsers: a page, and the chat over WebSocket; tls://ADDR:PORT and wss://ADDR:PORT with --tls-cert and --tls-key; unix:PATH; fd:NAME for sockets that systemd passes. With ?proxy=v1v2 (or v1, v2) each connection has to begin with a PROXY header' -r
complete -c roomcast -n "__fish_roomcast_needs_command" -l socket-mode -d 'The permission bits of the files of Unix listeners, as 0660 [default: what the umask gives]' -r
complete -c roomcast -n "__fish_roomcast_needs_command" -l workers -d 'Threads that serve connections [default: one for each core]' -r
complete -c roomcast -n "__fish_roomcast_needs_command" -l max-connections -d 'The most connections; more are told that the server is full. The last tenth is for addresses that have none [default, and 0: what the limit of open files allows, less 64; less 128 with a listener that takes PROXY headers]' -r
complete -c roomcast -n "__fish_roomcast_needs_command" -l max-per-address -d 'The most connections of one address, or of one IPv6 network of 64 bits; 0 = no limit [default: 50]' -r
complete -c roomcast -n "__fish_roomcast_needs_command" -l connect-rate -d 'Connections a second that one address may open; more are told why and closed; 0 = no limit [default: 20]' -r
complete -c roomcast -n "__fish_roomcast_needs_command" -l connect-burst -d 'Connections that one address may open at once before --connect-rate refuses more [default: 100]' -r
complete -c roomcast -n "__fish_roomcast_needs_command" -l exempt -d 'Networks that --max-per-address and --connect-rate do not apply to, repeatable: as 10.0.0.0/8, ::1, or unix for Unix sockets; none for no peer [default: 127.0.0.0/8,::1/128,unix]' -r
complete -c roomcast -n "__fish_roomcast_needs_command" -l memory -d 'The most memory for all queues, histories, unfinished lines and kernel buffers together, as 512MiB; 0 = no limit [default: a quarter of the memory of the machine or the cgroup, whichever is smaller]' -r
complete -c roomcast -n "__fish_roomcast_needs_command" -l tls-cert -d 'A PEM file with the certificate chain of tls:// and wss:// listeners, the server\'s own certificate first' -r -F
complete -c roomcast -n "__fish_roomcast_needs_command" -l tls-key -d 'A PEM file with the private key of --tls-cert, without a passphrase' -r -F
complete -c roomcast -n "__fish_roomcast_needs_command" -l allow-origin -d 'Web pages that may open WebSocket connections beside the server\'s own, repeatable: as https://chat.example, or any for all pages' -r
complete -c roomcast -n "__fish_roomcast_needs_command" -l trust -d 'Networks of the proxies before listeners with ?proxy, repeatable: as 10.0.0.0/8, ::1, or unix for Unix sockets; none for no peer. A peer outside of them is told so and closed there [default: 127.0.0.0/8,::1/128,unix]' -r
complete -c roomcast -n "__fish_roomcast_needs_command" -l max-line -d 'The longest line that may be sent, in bytes; a longer one closes its sender [default: 20000]' -r
complete -c roomcast -n "__fish_roomcast_needs_command" -l login-timeout -d 'How long a connection may take for its JOIN line, all tries together; 0 = no limit [default: 30s]' -r
complete -c roomcast -n "__fish_roomcast_needs_command" -l rate -d 'Lines a second that a connection may send; more are delayed, none is lost; 0 = no limit, also of what the commands, joins and leaves of an address may make the server do [default: 100]' -r
complete -c roomcast -n "__fish_roomcast_needs_command" -l burst -d 'Lines that a connection may send at once before --rate delays it [default: 1000]' -r
complete -c roomcast -n "__fish_roomcast_needs_command" -l byte-rate -d 'Bytes a second that a connection may send, as 128KiB/s; more are delayed, none is lost; 0 = no limit [default: 128KiB/s]' -r
complete -c roomcast -n "__fish_roomcast_needs_command" -l byte-burst -d 'Bytes that a connection may send at once before --byte-rate delays it; more than --max-line [default: 1MiB]' -r
complete -c roomcast -n "__fish_roomcast_needs_command" -l backlog -d 'Bytes of lines that are kept for a peer that reads too slowly; 0 = no limit but --memory [default: 1MiB]' -r
complete -c roomcast -n "__fish_roomcast_needs_command" -l slow-reader -d 'The treatment of a peer whose backlog is full: skip drops new lines and tells it how many, kick closes it [default: skip]' -r -f -a "skip\t''
kick\t''"
complete -c roomcast -n "__fish_roomcast_needs_command" -l stall-timeout -d 'How long a peer with a backlog may take no byte of it before it is closed; at most --dead-timeout; 0 = no limit [default: 1m]' -r
complete -c roomcast -n "__fish_roomcast_needs_command" -l idle-timeout -d 'How long a member may send nothing before it is closed; 0 = no limit [default: never]' -r
complete -c roomcast -n "__fish_roomcast_needs_command" -l dead-timeout -d 'How long a peer\'s machine may leave sent bytes and TCP keepalive probes unanswered before the peer is closed; 0 = no limit [default: 1m]' -r
complete -c roomcast -n "__fish_roomcast_needs_command" -l plain -d 'Deliver every line as chat; commands are off' -r -f -a "true\t''
false\t''"
complete -c roomcast -n "__fish_roomcast_needs_command" -l drain -d 'How long a shutdown may take: at most half for lines that were received, the rest for what peers have not read; 0s = at once [default: 5s]' -r
complete -c roomcast -n "__fish_roomcast_needs_command" -l max-rooms -d 'The most rooms; a JOIN line that would open one more is refused; 0 = no limit [default: 0]' -r
complete -c roomcast -n "__fish_roomcast_needs_command" -l inbox -d 'Bytes of lines that a room has not delivered yet; beyond that its senders are read more slowly; 0 = no limit but --memory [default: 1MiB]' -r
complete -c roomcast -n "__fish_roomcast_needs_command" -l history -d 'The last lines that a room keeps for /last, at most 64KiB of them; 0 = none [default: 100]' -r
complete -c roomcast -n "__fish_roomcast_needs_command" -l replay -d 'Lines of the history that each new member is shown; at most --history [default: 0]' -r
complete -c roomcast -n "__fish_roomcast_needs_command" -l allow-duplicate-names -d 'Let a room have several members of one name' -r -f -a "true\t''
false\t''"
complete -c roomcast -n "__fish_roomcast_needs_command" -l motd -d 'A file of at most 4KiB whose lines each new member sees, each beginning with `*** `; UTF-8 text, read at the start [default: no lines]' -r -F
complete -c roomcast -n "__fish_roomcast_needs_command" -l bell -d 'Whether the input line rings the terminal\'s bell for its member\'s own name and for whispers [default: on]' -r -f -a "off\t''
on\t''"
complete -c roomcast -n "__fish_roomcast_needs_command" -l cluster -d 'Share the rooms with other servers over NATS, repeatable: nats://HOST:PORT, tls://HOST:PORT, with nats://USER:PASSWORD@HOST:PORT for a user [default: a server of its own]' -r
complete -c roomcast -n "__fish_roomcast_needs_command" -l cluster-name -d 'The name of the cluster: servers of one name share their rooms; letters, digits, _ and -' -r
complete -c roomcast -n "__fish_roomcast_needs_command" -l node -d 'The name of this server in the cluster, which no other server has; letters, digits, _ and -' -r
complete -c roomcast -n "__fish_roomcast_needs_command" -l cluster-order -d 'The order of lines: sender keeps the order of each sender, total gives all members of a room one order, through JetStream; the same for all servers of a cluster [default: sender]' -r -f -a "sender\t''
total\t''"
complete -c roomcast -n "__fish_roomcast_needs_command" -l cluster-replicas -d 'The NATS servers that keep each entry of JetStream: 1, 3 or 5 [default: 1]' -r
complete -c roomcast -n "__fish_roomcast_needs_command" -l cluster-credentials -d 'A file of credentials for NATS (.creds)' -r -F
complete -c roomcast -n "__fish_roomcast_needs_command" -l cluster-ca -d 'A file with the certificates (PEM) of the authorities that NATS servers are checked with [default: those of the system]' -r -F
complete -c roomcast -n "__fish_roomcast_needs_command" -l cluster-required -d 'End with exit code 1 if no NATS server answers at the start; without it the server serves its own members meanwhile' -r -f -a "true\t''
false\t''"
complete -c roomcast -n "__fish_roomcast_needs_command" -l history-for -d 'How long NATS keeps the last lines of rooms, for rooms that were closed and for a start of all servers; at least 1m, as 7d; NATS needs its flag -js for it; 0s = lines end with their rooms [default: 0s]' -r
complete -c roomcast -n "__fish_roomcast_needs_command" -l history-size -d 'Bytes of all rooms\' lines that NATS keeps, beyond which it drops the oldest; 0 = no limit [default: 1GiB]' -r
complete -c roomcast -n "__fish_roomcast_needs_command" -l metrics -d 'Answer HTTP requests for /metrics (as Prometheus reads it), /healthz and /readyz at this address, which users should not reach; port 0 picks a free one and prints it [default: no metrics]' -r
complete -c roomcast -n "__fish_roomcast_needs_command" -l admin -d 'A Unix socket for `roomcast ctl`, which only the server\'s user and root can connect to [default: none]' -r -F
complete -c roomcast -n "__fish_roomcast_needs_command" -l bans -d 'A file that keeps the bans; the first ban makes it [default: the bans end with the server]' -r -F
complete -c roomcast -n "__fish_roomcast_needs_command" -l log-level -d 'The records that are logged, to stderr unless -v is given: warn is what an operator has to know, info adds connections, debug joins, trace every delivery pass [default: warn]' -r -f -a "off\t''
error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c roomcast -n "__fish_roomcast_needs_command" -l log-format -d 'The form of the log: lines for people, or a JSON object a line [default: text]' -r -f -a "text\t''
json\t''"
complete -c roomcast -n "__fish_roomcast_needs_command" -l check-config -d 'Check the configuration file with the other flags and variables, list its mistakes, and exit'
complete -c roomcast -n "__fish_roomcast_needs_command" -l show-config -d 'Print every setting with its origin, as a configuration file, and exit'
complete -c roomcast -n "__fish_roomcast_needs_command" -s v -l verbose -d 'Log to stdout: -v connections, -vv joins, too, -vvv every delivery pass; also prints the bounds in force. The flag --log-level sets another level for the log on stdout'
complete -c roomcast -n "__fish_roomcast_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c roomcast -n "__fish_roomcast_needs_command" -s V -l version -d 'Print version'
complete -c roomcast -n "__fish_roomcast_needs_command" -a "ctl" -d 'Moderate a running server through its operators\' socket'
complete -c roomcast -n "__fish_roomcast_using_subcommand ctl" -l socket -d 'The server\'s operators\' socket' -r -F
complete -c roomcast -n "__fish_roomcast_using_subcommand ctl" -l json -d 'Print the server\'s reply as it is: one JSON object'
complete -c roomcast -n "__fish_roomcast_using_subcommand ctl" -s h -l help -d 'Print help (see more with \'--help\')'
