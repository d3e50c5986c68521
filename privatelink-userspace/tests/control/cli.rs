//! The built binary: what it prints in each form, how it ends, and what it says of mistakes.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use insta::assert_snapshot;

use crate::fake::{Fake, Running, flow};

/// Takes away what would change the log level or the width of the help.
fn plain(command: &mut Command) -> &mut Command {
    command.env_remove("PRIVATELINK_LOG").env_remove("RUST_LOG").env_remove("COLUMNS")
}

pub(crate) fn privatelink(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_privatelink"));
    command.args(args);
    plain(&mut command);
    command
}

pub(crate) fn on(socket: &Path, args: &[&str]) -> Command {
    let mut command = privatelink(args);
    command.arg("--socket").arg(socket);
    command
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// What a query prints on success.
pub(crate) fn printed(running: &Running, args: &[&str]) -> String {
    let output = on(&running.socket, args).output().unwrap();
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    text(&output.stdout).to_owned()
}

/// The one line a failure prints, and its exit code.
fn failed(output: &Output) -> (i32, &str) {
    assert_eq!(text(&output.stdout), "");
    let line = text(&output.stderr);
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.starts_with("privatelink: ") && line.ends_with('\n'), "{line}");
    (output.status.code().unwrap(), line.trim_end())
}

#[test]
fn status_in_each_form() {
    let running = Running::start(Fake::full());
    assert_snapshot!(printed(&running, &["status"]), @r"
    version  0.1.0
    pid      4711
    uptime   1m 23s
    config   /etc/privatelink/overlap.toml
    flows    3 of 1048576

    interface      ifindex  vpc             zone        mode  link  drops  reason
    pl-provider          3  vpc-provider    us-east-1a  tcx   up        0  veth: XDP would take its offloads
    pl-consumer-a       12  vpc-consumer-a  us-east-1a  tcx   up       42  veth: XDP would take its offloads
    ");
    assert_snapshot!(printed(&running, &["status", "-o", "json"]), @r#"
    [
    {"version":"0.1.0","pid":4711,"uptime_ms":83456,"config":"/etc/privatelink/overlap.toml","flows":3,"flows_max":1048576,"interfaces":[{"interface":"pl-provider","ifindex":3,"vpc":"vpc-provider","zone":"us-east-1a","mode":"tcx","link":"up","drops":0,"reason":"veth: XDP would take its offloads"},{"interface":"pl-consumer-a","ifindex":12,"vpc":"vpc-consumer-a","zone":"us-east-1a","mode":"tcx","link":"up","drops":42,"reason":"veth: XDP would take its offloads"}]}
    ]
    "#);
    assert_snapshot!(printed(&running, &["status", "-o", "csv"]), @r"
    version,pid,uptime_ms,config,flows,flows_max,interface,ifindex,vpc,zone,mode,link,drops,reason
    0.1.0,4711,83456,/etc/privatelink/overlap.toml,3,1048576,pl-provider,3,vpc-provider,us-east-1a,tcx,up,0,veth: XDP would take its offloads
    0.1.0,4711,83456,/etc/privatelink/overlap.toml,3,1048576,pl-consumer-a,12,vpc-consumer-a,us-east-1a,tcx,up,42,veth: XDP would take its offloads
    ");
}

#[test]
fn services_in_each_form() {
    let running = Running::start(Fake::full());
    assert_snapshot!(printed(&running, &["services"]), @r"
    service                     name                                                     state      load_balancers   listeners       acceptance_required  endpoints  flows
    vpce-svc-0e123abc123198abc  com.amazonaws.vpce.us-east-1.vpce-svc-0e123abc123198abc  Available  web-nlb,api-nlb  tcp/80,tcp/443  yes                          2      3
    ");
    assert_snapshot!(printed(&running, &["services", "-o", "json"]), @r#"
    [
    {"service":"vpce-svc-0e123abc123198abc","name":"com.amazonaws.vpce.us-east-1.vpce-svc-0e123abc123198abc","state":"Available","load_balancers":"web-nlb,api-nlb","listeners":"tcp/80,tcp/443","acceptance_required":true,"endpoints":2,"flows":3}
    ]
    "#);
    assert_snapshot!(printed(&running, &["services", "-o", "csv"]), @r#"
    service,name,state,load_balancers,listeners,acceptance_required,endpoints,flows
    vpce-svc-0e123abc123198abc,com.amazonaws.vpce.us-east-1.vpce-svc-0e123abc123198abc,Available,"web-nlb,api-nlb","tcp/80,tcp/443",true,2,3
    "#);
}

#[test]
fn services_that_a_principal_sees() {
    let running = Running::start(Fake::full());
    let listed =
        |arn: &str| printed(&running, &["services", "--as", arn, "-o", "csv"]).lines().count();
    assert_eq!(listed("arn:aws:iam::222222222222:root"), 2);
    assert_eq!(listed("arn:aws:iam::999999999999:root"), 1);
}

#[test]
fn endpoints_in_each_form() {
    let running = Running::start(Fake::full());
    assert_snapshot!(printed(&running, &["endpoints"]), @r"
    endpoint                vpc             service                     addresses  state              flows
    vpce-0a11111111111111a  vpc-consumer-a  vpce-svc-0e123abc123198abc  10.0.1.10  available              3
    vpce-0b22222222222222b  vpc-consumer-b  vpce-svc-0e123abc123198abc  10.0.1.10  pendingAcceptance      0
    ");
    assert_snapshot!(printed(&running, &["endpoints", "-o", "json"]), @r#"
    [
    {"endpoint":"vpce-0a11111111111111a","vpc":"vpc-consumer-a","service":"vpce-svc-0e123abc123198abc","addresses":"10.0.1.10","state":"available","flows":3},
    {"endpoint":"vpce-0b22222222222222b","vpc":"vpc-consumer-b","service":"vpce-svc-0e123abc123198abc","addresses":"10.0.1.10","state":"pendingAcceptance","flows":0}
    ]
    "#);
    assert_snapshot!(printed(&running, &["endpoints", "-o", "csv"]), @r"
    endpoint,vpc,service,addresses,state,flows
    vpce-0a11111111111111a,vpc-consumer-a,vpce-svc-0e123abc123198abc,10.0.1.10,available,3
    vpce-0b22222222222222b,vpc-consumer-b,vpce-svc-0e123abc123198abc,10.0.1.10,pendingAcceptance,0
    ");
}

#[test]
fn targets_in_each_form() {
    let running = Running::start(Fake::full());
    assert_snapshot!(printed(&running, &["targets"]), @r"
    target_group  vpc           target          weight  health     reason          description                     next_hop           interface    flows
    web           vpc-provider  10.0.1.10:8080       1  healthy    -               -                               02:00:00:00:00:01  pl-provider      3
    web           vpc-provider  10.0.1.11:8081     100  unhealthy  Target.Timeout  no answer to the SYN within 2s  no answer          -                0
    ");
    assert_snapshot!(printed(&running, &["targets", "-o", "json"]), @r#"
    [
    {"target_group":"web","vpc":"vpc-provider","target":"10.0.1.10:8080","weight":1,"health":"healthy","reason":"","description":"","next_hop":"02:00:00:00:00:01","interface":"pl-provider","flows":3},
    {"target_group":"web","vpc":"vpc-provider","target":"10.0.1.11:8081","weight":100,"health":"unhealthy","reason":"Target.Timeout","description":"no answer to the SYN within 2s","next_hop":"no answer","interface":"","flows":0}
    ]
    "#);
    assert_snapshot!(printed(&running, &["targets", "-o", "csv"]), @r"
    target_group,vpc,target,weight,health,reason,description,next_hop,interface,flows
    web,vpc-provider,10.0.1.10:8080,1,healthy,,,02:00:00:00:00:01,pl-provider,3
    web,vpc-provider,10.0.1.11:8081,100,unhealthy,Target.Timeout,no answer to the SYN within 2s,no answer,,0
    ");
}

#[test]
fn flows_in_each_form() {
    let running = Running::start(Fake::full());
    assert_snapshot!(printed(&running, &["flows"]), @r"
    protocol  state        endpoint                client              endpoint_address  nat              target           packets_      bytes_   packets_     bytes_     age   idle
                                                                                                                          to_target   to_target  to_client  to_client
    tcp       established  vpce-0a11111111111111a  10.0.7.7:40000      10.0.1.10:80      10.0.0.10:10240  10.0.1.10:8080          3         180          2       1000  1m 23s  350ms
    tcp       established  vpce-0a11111111111111a  10.0.7.8:40001      10.0.1.10:80      10.0.0.10:10240  10.0.1.10:8080    1234567  9876543210          2       1000   2h 5m    12s
    tcp       syn_sent     vpce-0a11111111111111a  10.0.200.200:65535  10.0.1.10:80      10.0.0.10:10240  10.0.1.10:8080          3         180          2       1000    20ms   20ms
    ");
    assert_snapshot!(printed(&running, &["flows", "-o", "json"]), @r#"
    [
    {"protocol":"tcp","state":"established","vpc":"vpc-consumer-a","endpoint":"vpce-0a11111111111111a","service":"vpce-svc-0e123abc123198abc","client":"10.0.7.7:40000","endpoint_address":"10.0.1.10:80","nat":"10.0.0.10:10240","target":"10.0.1.10:8080","packets_to_target":3,"bytes_to_target":180,"packets_to_client":2,"bytes_to_client":1000,"retransmissions_to_target":1,"retransmissions_to_client":0,"consumer_rtt_us":152,"provider_rtt_us":30720,"age_ms":83000,"idle_ms":350},
    {"protocol":"tcp","state":"established","vpc":"vpc-consumer-a","endpoint":"vpce-0a11111111111111a","service":"vpce-svc-0e123abc123198abc","client":"10.0.7.8:40001","endpoint_address":"10.0.1.10:80","nat":"10.0.0.10:10240","target":"10.0.1.10:8080","packets_to_target":1234567,"bytes_to_target":9876543210,"packets_to_client":2,"bytes_to_client":1000,"retransmissions_to_target":1,"retransmissions_to_client":0,"consumer_rtt_us":152,"provider_rtt_us":30720,"age_ms":7512000,"idle_ms":12000},
    {"protocol":"tcp","state":"syn_sent","vpc":"vpc-consumer-a","endpoint":"vpce-0a11111111111111a","service":"vpce-svc-0e123abc123198abc","client":"10.0.200.200:65535","endpoint_address":"10.0.1.10:80","nat":"10.0.0.10:10240","target":"10.0.1.10:8080","packets_to_target":3,"bytes_to_target":180,"packets_to_client":2,"bytes_to_client":1000,"retransmissions_to_target":1,"retransmissions_to_client":0,"consumer_rtt_us":152,"provider_rtt_us":30720,"age_ms":20,"idle_ms":20}
    ]
    "#);
    assert_snapshot!(printed(&running, &["flows", "-o", "csv"]), @r"
    protocol,state,vpc,endpoint,service,client,endpoint_address,nat,target,packets_to_target,bytes_to_target,packets_to_client,bytes_to_client,retransmissions_to_target,retransmissions_to_client,consumer_rtt_us,provider_rtt_us,age_ms,idle_ms
    tcp,established,vpc-consumer-a,vpce-0a11111111111111a,vpce-svc-0e123abc123198abc,10.0.7.7:40000,10.0.1.10:80,10.0.0.10:10240,10.0.1.10:8080,3,180,2,1000,1,0,152,30720,83000,350
    tcp,established,vpc-consumer-a,vpce-0a11111111111111a,vpce-svc-0e123abc123198abc,10.0.7.8:40001,10.0.1.10:80,10.0.0.10:10240,10.0.1.10:8080,1234567,9876543210,2,1000,1,0,152,30720,7512000,12000
    tcp,syn_sent,vpc-consumer-a,vpce-0a11111111111111a,vpce-svc-0e123abc123198abc,10.0.200.200:65535,10.0.1.10:80,10.0.0.10:10240,10.0.1.10:8080,3,180,2,1000,1,0,152,30720,20,20
    ");
}

#[test]
fn flows_with_rates_in_each_form() {
    let running = Running::start(Fake::full());
    let rates = |form| printed(&running, &["flows", "--rate", "100ms", "--limit", "2", "-o", form]);
    assert_snapshot!(rates("table"), @r"
    protocol  state        endpoint                client          endpoint_address  nat              target             age   idle   packets_to_     bytes_to_   packets_to_     bytes_to_
                                                                                                                                     target_per_s  target_per_s  client_per_s  client_per_s
    tcp       established  vpce-0a11111111111111a  10.0.7.7:40000  10.0.1.10:80      10.0.0.10:10240  10.0.1.10:8080  1m 23s  350ms            30          1800            20         10000
    tcp       established  vpce-0a11111111111111a  10.0.7.8:40001  10.0.1.10:80      10.0.0.10:10240  10.0.1.10:8080   2h 5m    12s      12345670   98765432100            20         10000
    ");
    assert_snapshot!(rates("json"), @r#"
    [
    {"protocol":"tcp","state":"established","vpc":"vpc-consumer-a","endpoint":"vpce-0a11111111111111a","service":"vpce-svc-0e123abc123198abc","client":"10.0.7.7:40000","endpoint_address":"10.0.1.10:80","nat":"10.0.0.10:10240","target":"10.0.1.10:8080","packets_to_target":3,"bytes_to_target":180,"packets_to_client":2,"bytes_to_client":1000,"retransmissions_to_target":1,"retransmissions_to_client":0,"consumer_rtt_us":152,"provider_rtt_us":30720,"age_ms":83000,"idle_ms":350,"packets_to_target_per_s":30,"bytes_to_target_per_s":1800,"packets_to_client_per_s":20,"bytes_to_client_per_s":10000},
    {"protocol":"tcp","state":"established","vpc":"vpc-consumer-a","endpoint":"vpce-0a11111111111111a","service":"vpce-svc-0e123abc123198abc","client":"10.0.7.8:40001","endpoint_address":"10.0.1.10:80","nat":"10.0.0.10:10240","target":"10.0.1.10:8080","packets_to_target":1234567,"bytes_to_target":9876543210,"packets_to_client":2,"bytes_to_client":1000,"retransmissions_to_target":1,"retransmissions_to_client":0,"consumer_rtt_us":152,"provider_rtt_us":30720,"age_ms":7512000,"idle_ms":12000,"packets_to_target_per_s":12345670,"bytes_to_target_per_s":98765432100,"packets_to_client_per_s":20,"bytes_to_client_per_s":10000}
    ]
    "#);
    assert_snapshot!(rates("csv"), @r"
    protocol,state,vpc,endpoint,service,client,endpoint_address,nat,target,packets_to_target,bytes_to_target,packets_to_client,bytes_to_client,retransmissions_to_target,retransmissions_to_client,consumer_rtt_us,provider_rtt_us,age_ms,idle_ms,packets_to_target_per_s,bytes_to_target_per_s,packets_to_client_per_s,bytes_to_client_per_s
    tcp,established,vpc-consumer-a,vpce-0a11111111111111a,vpce-svc-0e123abc123198abc,10.0.7.7:40000,10.0.1.10:80,10.0.0.10:10240,10.0.1.10:8080,3,180,2,1000,1,0,152,30720,83000,350,30,1800,20,10000
    tcp,established,vpc-consumer-a,vpce-0a11111111111111a,vpce-svc-0e123abc123198abc,10.0.7.8:40001,10.0.1.10:80,10.0.0.10:10240,10.0.1.10:8080,1234567,9876543210,2,1000,1,0,152,30720,7512000,12000,12345670,98765432100,20,10000
    ");
}

#[test]
fn flows_with_chosen_columns_in_each_form() {
    let running = Running::start(Fake::full());
    let chosen = "target,client,age_ms,bytes_to_target,client";
    let columns = |form| printed(&running, &["flows", "--columns", chosen, "-o", form]);
    assert_snapshot!(columns("table"), @r"
    target          client                 age      bytes_
                                                 to_target
    10.0.1.10:8080  10.0.7.7:40000      1m 23s         180
    10.0.1.10:8080  10.0.7.8:40001       2h 5m  9876543210
    10.0.1.10:8080  10.0.200.200:65535    20ms         180
    ");
    assert_snapshot!(columns("json"), @r#"
    [
    {"target":"10.0.1.10:8080","client":"10.0.7.7:40000","age_ms":83000,"bytes_to_target":180},
    {"target":"10.0.1.10:8080","client":"10.0.7.8:40001","age_ms":7512000,"bytes_to_target":9876543210},
    {"target":"10.0.1.10:8080","client":"10.0.200.200:65535","age_ms":20,"bytes_to_target":180}
    ]
    "#);
    assert_snapshot!(columns("csv"), @r"
    target,client,age_ms,bytes_to_target
    10.0.1.10:8080,10.0.7.7:40000,83000,180
    10.0.1.10:8080,10.0.7.8:40001,7512000,9876543210
    10.0.1.10:8080,10.0.200.200:65535,20,180
    ");
}

#[test]
fn who_chooses_a_rate_or_sorts_by_it_has_it_measured() {
    let running = Running::start(Fake::full());
    let rates = |args: &[&str]| printed(&running, &[&["flows", "-o", "csv"], args].concat());
    let column = ["--columns", "bytes_to_client_per_s"];
    assert_eq!(rates(&column), "bytes_to_client_per_s\n10000\n10000\n10000\n");
    assert_eq!(
        rates(&["--sort", "rate", "--limit", "1", "--columns", "bytes_to_target_per_s"]),
        "bytes_to_target_per_s\n98765432100\n"
    );
    assert!(rates(&["--sort", "rate"]).starts_with(&rates(&["--rate", "--limit", "0"])));
    assert!(!rates(&["--limit", "0"]).contains("per_s"));
}

#[test]
fn drops_in_each_form() {
    let running = Running::start(Fake::full());
    assert_snapshot!(printed(&running, &["drops"]), @r#"
    interface      vpc             code  reason          packets  meaning
    pl-consumer-a  vpc-consumer-a     7  security_group       42  no rule of the endpoint's security groups, "sg-a" say, allows it
    "#);
    assert_snapshot!(printed(&running, &["drops", "-o", "json"]), @r#"
    [
    {"interface":"pl-consumer-a","vpc":"vpc-consumer-a","code":7,"reason":"security_group","packets":42,"meaning":"no rule of the endpoint's security groups, \"sg-a\" say, allows it"}
    ]
    "#);
    assert_snapshot!(printed(&running, &["drops", "-o", "csv"]), @r#"
    interface,vpc,code,reason,packets,meaning
    pl-consumer-a,vpc-consumer-a,7,security_group,42,"no rule of the endpoint's security groups, ""sg-a"" say, allows it"
    "#);
}

#[test]
fn empty_listings_still_have_their_header() {
    let running = Running::start(Fake::default());
    for command in ["services", "endpoints", "targets", "flows", "drops"] {
        let json = printed(&running, &[command, "-o", "json"]);
        assert_eq!(json, "[]\n", "{command}");
        let table = printed(&running, &[command]);
        assert_eq!(table.lines().count(), if command == "flows" { 2 } else { 1 }, "{table}");
    }
    let commands = ["status", "services", "endpoints", "targets", "flows", "drops"];
    let headers = commands.map(|command| printed(&running, &[command, "-o", "csv"]));
    assert_snapshot!(headers.concat(), @r"
    version,pid,uptime_ms,config,flows,flows_max,interface,ifindex,vpc,zone,mode,link,drops,reason
    service,name,state,load_balancers,listeners,acceptance_required,endpoints,flows
    endpoint,vpc,service,addresses,state,flows
    target_group,vpc,target,weight,health,reason,description,next_hop,interface,flows
    protocol,state,vpc,endpoint,service,client,endpoint_address,nat,target,packets_to_target,bytes_to_target,packets_to_client,bytes_to_client,retransmissions_to_target,retransmissions_to_client,consumer_rtt_us,provider_rtt_us,age_ms,idle_ms
    interface,vpc,code,reason,packets,meaning
    ");
}

#[test]
fn flow_options_reach_the_daemon() {
    let running = Running::start(Fake::full());
    let clients = |args: &[&str]| {
        let args = [&["flows", "-o", "csv"], args].concat();
        let text = printed(&running, &args);
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let at = reader.headers().unwrap().iter().position(|name| name == "client").unwrap();
        reader.records().map(|row| row.unwrap()[at].to_owned()).collect::<Vec<_>>()
    };
    let (a, b, c) = ("10.0.7.7:40000", "10.0.7.8:40001", "10.0.200.200:65535");
    assert_eq!(clients(&[]), [a, b, c]);
    assert_eq!(clients(&["--state", "syn_sent"]), [c]);
    assert_eq!(clients(&["--vpc", "vpc-consumer-a"]), [a, b, c]);
    assert_eq!(clients(&["--vpc", "vpc-consumer-b"]), [""; 0]);
    assert_eq!(clients(&["--client", "10.0.7.8"]), [b]);
    assert_eq!(clients(&["--client", "10.0.0.0/20"]), [a, b]);
    assert_eq!(clients(&["--target", "10.0.1.10"]), [a, b, c]);
    assert_eq!(clients(&["--target", "10.0.1.10:8081"]), [""; 0]);
    assert_eq!(clients(&["--min-bytes", "2k"]), [b]);
    assert_eq!(clients(&["--min-bytes", "1180"]), [a, b, c]);
    assert_eq!(clients(&["--sort", "bytes", "--limit", "1"]), [b]);
    assert_eq!(clients(&["--sort", "packets"]), [b, a, c]);
    assert_eq!(clients(&["--sort", "age"]), [b, a, c]);
    assert_eq!(clients(&["--sort", "idle"]), [b, a, c]);
    assert_eq!(clients(&["--sort", "idle", "--reverse"]), [c, a, b]);
    assert_eq!(clients(&["--sort", "rate", "--limit", "1"]), [b]);
    assert_eq!(clients(&["--endpoint", "vpce-0a11111111111111a", "--limit", "2"]), [a, b]);
    assert_eq!(clients(&["--endpoint", "vpce-none"]), [""; 0]);
    assert_eq!(clients(&["--service", "vpce-svc-none"]), [""; 0]);
}

#[test]
fn a_closed_pipe_ends_the_listing_quietly() {
    // More than a pipe holds.
    let flows = (0..5000).map(|n| flow(&format!("10.0.0.1:{n}"), "established", n, n)).collect();
    let running = Running::start(Fake { flows, ..Fake::default() });
    for form in ["table", "json", "csv"] {
        let mut child = on(&running.socket, &["flows", "-o", form])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert!(!first.is_empty());
        let output = child.wait_with_output().unwrap();
        assert_eq!(text(&output.stderr), "", "{form}");
        assert_eq!(output.status.code(), Some(0), "{form}");
    }
}

#[test]
fn a_full_disk_is_a_failure() {
    let running = Running::start(Fake::full());
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = on(&running.socket, &["drops"]).stdout(full).output().unwrap();
    let (code, line) = failed(&output);
    assert_eq!(code, 1);
    assert!(line.contains("cannot write to standard output (No space left on device"), "{line}");
}

#[test]
fn without_a_daemon_one_line_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("none");
    for command in ["status", "services", "endpoints", "targets", "flows", "drops"] {
        let output = on(&socket, &[command]).output().unwrap();
        let expected = format!(
            "privatelink: no privatelink daemon answers at {}: start it with `privatelink run --config FILE`, or name its socket with --socket",
            socket.display()
        );
        assert_eq!(failed(&output), (1, expected.as_str()));
    }
}

#[test]
fn top_needs_a_terminal() {
    let running = Running::start(Fake::full());
    let output = on(&running.socket, &["top"]).output().unwrap();
    let expected = "privatelink: standard output is not a terminal, which top needs: use `privatelink flows --watch`, or the metrics";
    assert_eq!(failed(&output), (2, expected));
}

#[test]
fn causes_are_shown_when_debugging() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("none");
    let lines = |command: &mut Command| {
        let output = command.output().unwrap();
        // At trace, libraries speak too.
        text(&output.stderr).lines().filter(|line| line.starts_with("privatelink: ")).count()
    };
    assert_eq!(lines(&mut on(&socket, &["drops"])), 1);
    assert_eq!(lines(on(&socket, &["drops"]).env("RUST_LOG", "info")), 1);
    assert_eq!(lines(&mut on(&socket, &["drops", "--log", "debug"])), 2);
    assert_eq!(lines(&mut on(&socket, &["--log", "trace", "drops"])), 2);
    assert_eq!(lines(on(&socket, &["drops"]).env("PRIVATELINK_LOG", "debug")), 2);
    assert_eq!(lines(on(&socket, &["drops", "--log", "warn"]).env("RUST_LOG", "debug")), 1);
    let both = |command: &mut Command| {
        lines(command.env("PRIVATELINK_LOG", "warn").env("RUST_LOG", "debug"))
    };
    assert_eq!(both(&mut on(&socket, &["drops"])), 1, "PRIVATELINK_LOG wins");
    let output = on(&socket, &["drops", "--log", "debug"]).output().unwrap();
    assert!(text(&output.stderr).ends_with("caused by: No such file or directory (os error 2)\n"));
}

#[test]
fn a_socket_without_permission_is_named() {
    use std::os::unix::fs::{PermissionsExt, chown};
    use std::os::unix::process::CommandExt;

    let running = Running::start(Fake::full());
    let directory = running.socket.parent().unwrap();
    if chown(directory, Some(65534), None).is_err() {
        eprintln!("skipped: only root can become someone else");
        return;
    }
    // The binary must be reachable for someone who is not root. `cp` makes the copy, because a file
    // this process has open for writing, or a child it forks meanwhile, cannot be executed.
    let binary = directory.join("privatelink");
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_privatelink")).arg(&binary).status();
    assert!(copied.unwrap().success());
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(&binary);
    command.args(["drops", "--socket"]).arg(&running.socket).uid(65534).gid(65534);
    let output = plain(&mut command).output().unwrap();
    let expected = format!(
        "privatelink: permission denied on {}: run as root, or as a member of the socket's group",
        running.socket.display()
    );
    assert_eq!(failed(&output), (1, expected.as_str()));
}

#[test]
fn a_mistake_in_the_usage_is_one_line_and_exit_code_2() {
    for (args, expected) in [
        (
            &["flows", "--sort", "size"][..],
            "privatelink: invalid value 'size' for '--sort <MEASURE>' [possible values: bytes, packets, age, idle, rate]: see `privatelink --help`",
        ),
        (
            &["flows", "--limit", "many"],
            "privatelink: invalid value 'many' for '--limit <N>': invalid digit found in string: see `privatelink --help`",
        ),
        (
            &["flows", "--state", "half_open"],
            "privatelink: invalid value 'half_open' for '--state <STATE>' [possible values: syn_sent, syn_received, established, fin_wait, time_wait, closed, unreplied, replied]: see `privatelink --help`",
        ),
        (
            &["flows", "--client", "10.0.0.0/33"],
            "privatelink: invalid value '10.0.0.0/33' for '--client <ADDRESS[:PORT|/LENGTH]>': neither an address nor a CIDR: write e.g. 10.0.2.20, 10.0.0.0/16 or fd00::/64: see `privatelink --help`",
        ),
        (
            &["flows", "--target", "web:80"],
            "privatelink: invalid value 'web:80' for '--target <ADDRESS[:PORT]>': not an address with or without a port: write e.g. 10.0.1.10:8080 or [fd00::1]:8080: see `privatelink --help`",
        ),
        (
            &["flows", "--min-bytes", "2KiB"],
            "privatelink: invalid value '2KiB' for '--min-bytes <BYTES>': not a number of bytes: write e.g. 5000 or 5k: see `privatelink --help`",
        ),
        (
            &["flows", "--rate", "99ms"],
            "privatelink: invalid value '99ms' for '--rate [<TIME>]': not a time from 100ms to 60s: write e.g. 2s: see `privatelink --help`",
        ),
        (
            &["flows", "--reverse"],
            "privatelink: the following required arguments were not provided: --sort <MEASURE>: see `privatelink flows --help`",
        ),
        (
            &["flows", "--columns", "client,colour"],
            "privatelink: invalid value 'colour' for '--columns <COLUMN>' [possible values: protocol, state, vpc, endpoint, service, client, endpoint_address, nat, target, packets_to_target, bytes_to_target, packets_to_client, bytes_to_client, retransmissions_to_target, retransmissions_to_client, consumer_rtt_us, provider_rtt_us, age_ms, idle_ms, packets_to_target_per_s, bytes_to_target_per_s, packets_to_client_per_s, bytes_to_client_per_s]: see `privatelink --help`",
        ),
        (
            &["run"],
            "privatelink: the following required arguments were not provided: --config <FILE>: see `privatelink run --help`",
        ),
        (
            &["connection", "accept", "vpce-svc-a"],
            "privatelink: the following required arguments were not provided: <ENDPOINT>...: see `privatelink connection accept --help`",
        ),
        (
            &["service", "allow", "vpce-svc-a"],
            "privatelink: the following required arguments were not provided: <PRINCIPAL>...: see `privatelink service allow --help`",
        ),
        (
            &["flow"],
            "privatelink: unrecognized subcommand 'flow'; a similar subcommand exists: 'flows': see `privatelink --help`",
        ),
        (
            &["drops", "--sort", "bytes"],
            "privatelink: unexpected argument '--sort' found; a similar argument exists: '--socket': see `privatelink drops --help`",
        ),
        (
            &["top", "--interval", "2m"],
            "privatelink: invalid value '2m' for '--interval <TIME>': write a time from 200ms to 60s: see `privatelink --help`",
        ),
        (
            &["drops", "--log", "loud"],
            "privatelink: invalid value 'loud' for '--log <LEVEL>' [possible values: off, error, warn, info, debug, trace]: see `privatelink --help`",
        ),
    ] {
        let output = privatelink(args).output().unwrap();
        assert_eq!(failed(&output), (2, expected), "{args:?}");
    }
}

#[test]
fn help_names_the_exit_codes() {
    let output = privatelink(&["--help"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let lines = text(&output.stdout).lines().map(str::trim_end);
    assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @r"
    Self-hosted PrivateLink: publishes services to networks with overlapping addresses

    Usage: privatelink [OPTIONS] <COMMAND>

    Commands:
      run             Run the daemon in the foreground
      check           Check a configuration file against this host, without touching anything
      status          Show the daemon and its interfaces
      services        List the endpoint services
      endpoints       List the endpoints
      targets         List the targets, their health and their next hops
      flows           List the flows
      drops           List the packets dropped, by interface and reason
      usage           List what endpoints have used, by hour, account, endpoint, service and zone
      events          List what has happened, and follow what happens
      capture         Capture packets as they arrive and as they leave, as a pcapng file
      trace           Show packets as they arrive and as they leave, a line each
      top             Show what goes on, live: rates by endpoint, service, target and flow, and drops
      service         Make, change and delete endpoint services, and decide who may connect to them
      endpoint        Make, change and delete endpoints
      load-balancer   Make, change and delete load balancers
      target-group    Make, change and delete target groups
      target          Register targets and deregister them
      security-group  Make, change and delete security groups
      connection      List, accept and reject the connections of endpoints to their services
      plan            Show what a reload of the configuration file would change
      reload          Put the configuration file in force anew; nothing changes if it is wrong
      detach          Detach the data path from every interface and remove its pinned maps
      help            Print this message or the help of the given subcommand(s)

    Options:
          --log <LEVEL>
              Log this and more severe to standard error [default: info for run, warn otherwise]

              With debug or trace, a failure names its causes too.

              [possible values: off, error, warn, info, debug, trace]

      -h, --help
              Print help (see a summary with '-h')

      -V, --version
              Print version

    Exit codes:
      0  success
      1  failure, e.g. no daemon answers
      2  usage or configuration error

    Environment:
      PRIVATELINK_LOG, RUST_LOG  log level, or a filter such as `warn,privatelink_userspace=debug`, if
                                 --log is not given
    ");
    let output = privatelink(&[]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("Usage: privatelink"));
    let output = privatelink(&["--version"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), concat!("privatelink ", env!("CARGO_PKG_VERSION"), "\n"));
}
