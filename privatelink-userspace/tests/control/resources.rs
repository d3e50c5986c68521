//! The commands that make resources: their help, their mistakes, and what they print.

use std::process::{Output, Stdio};

use insta::assert_snapshot;
use privatelink_userspace::api::{ErrorBody, ErrorCode};

use crate::cli::{on, printed, privatelink, text};
use crate::fake::{Fake, Running};

fn help(words: &str) -> String {
    let words: Vec<&str> = words.split(' ').chain(["-h"]).collect();
    let output = privatelink(&words).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{words:?}");
    text(&output.stdout).to_owned()
}

#[test]
fn the_nouns() {
    assert_snapshot!(help("service"), @r"
    Make, change and delete endpoint services, and decide who may connect to them

    Usage: privatelink service [OPTIONS] <COMMAND>

    Commands:
      create    Make one, from the keys and values that its table in the configuration file would have
      describe  Show one, also of the configuration file
      modify    Change keys of one that was made here; null takes a key out
      delete    Delete one that was made here
      allow     Put principals on the list of those who may connect
      revoke    Take principals off the list of those who may connect
      help      Print this message or the help of the given subcommand(s)

    Options:
          --log <LEVEL>  Log this and more severe to standard error [default: info for run, warn
                         otherwise] [possible values: off, error, warn, info, debug, trace]
      -h, --help         Print help (see more with '--help')
    ");
    assert_snapshot!(help("load-balancer"), @r"
    Make, change and delete load balancers

    Usage: privatelink load-balancer [OPTIONS] <COMMAND>

    Commands:
      list      List all of them
      create    Make one, from the keys and values that its table in the configuration file would have
      describe  Show one, also of the configuration file
      modify    Change keys of one that was made here; null takes a key out
      delete    Delete one that was made here
      help      Print this message or the help of the given subcommand(s)

    Options:
          --log <LEVEL>  Log this and more severe to standard error [default: info for run, warn
                         otherwise] [possible values: off, error, warn, info, debug, trace]
      -h, --help         Print help (see more with '--help')
    ");
    assert_snapshot!(help("target"), @r"
    Register targets and deregister them

    Usage: privatelink target [OPTIONS] <COMMAND>

    Commands:
      register    Register a target with a target group, also of the configuration file
      deregister  Deregister a target from a target group, also of the configuration file; it drains
      help        Print this message or the help of the given subcommand(s)

    Options:
          --log <LEVEL>  Log this and more severe to standard error [default: info for run, warn
                         otherwise] [possible values: off, error, warn, info, debug, trace]
      -h, --help         Print help (see more with '--help')
    ");
}

#[test]
fn the_verbs() {
    assert_snapshot!(help("service create"), @r"
    Make one, from the keys and values that its table in the configuration file would have

    Usage: privatelink service create [OPTIONS] <JSON>

    Arguments:
      <JSON>  A JSON object in the words of the configuration file; @FILE reads it from a file, - from
              standard input

    Options:
          --client-token <TOKEN>  Make it once, however often this command is repeated with this token
          --log <LEVEL>           Log this and more severe to standard error [default: info for run,
                                  warn otherwise] [possible values: off, error, warn, info, debug,
                                  trace]
          --socket <PATH>         Control socket of the daemon [default: /run/privatelink/control.sock]
      -o, --output <FORMAT>       Form of the output [default: table] [possible values: table, json,
                                  csv]
      -h, --help                  Print help (see more with '--help')
    ");
    assert_snapshot!(help("service describe"), @r"
    Show one, also of the configuration file

    Usage: privatelink service describe [OPTIONS] <ID>

    Arguments:
      <ID>  Its id or name

    Options:
          --log <LEVEL>      Log this and more severe to standard error [default: info for run, warn
                             otherwise] [possible values: off, error, warn, info, debug, trace]
          --socket <PATH>    Control socket of the daemon [default: /run/privatelink/control.sock]
      -o, --output <FORMAT>  Form of the output [default: table] [possible values: table, json, csv]
      -h, --help             Print help (see more with '--help')
    ");
    assert_snapshot!(help("service modify"), @r"
    Change keys of one that was made here; null takes a key out

    Usage: privatelink service modify [OPTIONS] <ID> <JSON>

    Arguments:
      <ID>    Its id or name
      <JSON>  A JSON object in the words of the configuration file; @FILE reads it from a file, - from
              standard input

    Options:
          --log <LEVEL>      Log this and more severe to standard error [default: info for run, warn
                             otherwise] [possible values: off, error, warn, info, debug, trace]
          --socket <PATH>    Control socket of the daemon [default: /run/privatelink/control.sock]
      -o, --output <FORMAT>  Form of the output [default: table] [possible values: table, json, csv]
      -h, --help             Print help (see more with '--help')
    ");
    assert_snapshot!(help("service delete"), @r"
    Delete one that was made here

    Usage: privatelink service delete [OPTIONS] <ID>

    Arguments:
      <ID>  Its id or name

    Options:
          --cascade          Delete also what refers to it, e.g. the endpoints of a service
          --log <LEVEL>      Log this and more severe to standard error [default: info for run, warn
                             otherwise] [possible values: off, error, warn, info, debug, trace]
          --dry-run          Only say what would be deleted
          --socket <PATH>    Control socket of the daemon [default: /run/privatelink/control.sock]
      -o, --output <FORMAT>  Form of the output [default: table] [possible values: table, json, csv]
      -h, --help             Print help (see more with '--help')
    ");
    assert_snapshot!(help("load-balancer list"), @r"
    List all of them

    Usage: privatelink load-balancer list [OPTIONS]

    Options:
          --log <LEVEL>      Log this and more severe to standard error [default: info for run, warn
                             otherwise] [possible values: off, error, warn, info, debug, trace]
          --socket <PATH>    Control socket of the daemon [default: /run/privatelink/control.sock]
      -o, --output <FORMAT>  Form of the output [default: table] [possible values: table, json, csv]
      -h, --help             Print help (see more with '--help')
    ");
    assert_snapshot!(help("target register"), @r"
    Register a target with a target group, also of the configuration file

    Usage: privatelink target register [OPTIONS] <GROUP> <ADDRESS[:PORT]>

    Arguments:
      <GROUP>           Target group
      <ADDRESS[:PORT]>  Address, and port if it is not the group's

    Options:
          --log <LEVEL>      Log this and more severe to standard error [default: info for run, warn
                             otherwise] [possible values: off, error, warn, info, debug, trace]
          --weight <WEIGHT>  Share of new flows, 0 to 999 [default: 1]
          --zone <ZONE>      Availability zone it stands in [default: any]
          --socket <PATH>    Control socket of the daemon [default: /run/privatelink/control.sock]
      -o, --output <FORMAT>  Form of the output [default: table] [possible values: table, json, csv]
      -h, --help             Print help (see more with '--help')
    ");
    assert_snapshot!(help("target deregister"), @r"
    Deregister a target from a target group, also of the configuration file; it drains

    Usage: privatelink target deregister [OPTIONS] <GROUP> <ADDRESS[:PORT]>

    Arguments:
      <GROUP>           Target group
      <ADDRESS[:PORT]>  Address, and port if it is not the group's

    Options:
          --log <LEVEL>      Log this and more severe to standard error [default: info for run, warn
                             otherwise] [possible values: off, error, warn, info, debug, trace]
          --socket <PATH>    Control socket of the daemon [default: /run/privatelink/control.sock]
      -o, --output <FORMAT>  Form of the output [default: table] [possible values: table, json, csv]
      -h, --help             Print help (see more with '--help')
    ");
}

#[test]
fn all_nouns_have_the_same_verbs() {
    for verb in ["create", "describe", "modify", "delete"] {
        for noun in ["endpoint", "load-balancer", "target-group", "security-group"] {
            let of_service =
                help(&format!("service {verb}")).replace(" service ", &format!(" {noun} "));
            assert_eq!(help(&format!("{noun} {verb}")), of_service);
        }
    }
    let listed = |noun: &str| help(noun).lines().skip(3).map(str::to_owned).collect::<Vec<_>>();
    for noun in ["target-group", "security-group"] {
        assert_eq!(listed(noun), listed("load-balancer"));
    }
}

#[test]
fn a_resource_in_each_form() {
    let running = Running::start(Fake::full());
    let made = ["security-group", "create", r#"{"id":"sg-b","vpc":"vpc-a"}"#];
    assert_snapshot!(printed(&running, &made), @r#"
    security_group made, of the api, failed
    it does not go with the file
    {
      "id": "sg-b",
      "vpc": "vpc-a"
    }
    "#);
    assert_snapshot!(printed(&running, &[&made[..], &["-o", "json"]].concat()), @r#"
    [
    {"kind":"security_group","id":"made","origin":"api","state":"failed","reason":"it does not go with the file","settings":{"id":"sg-b","vpc":"vpc-a"}}
    ]
    "#);
    assert_snapshot!(printed(&running, &[&made[..], &["-o", "csv"]].concat()), @r#"
    kind,id,origin,state,reason,settings
    security_group,made,api,failed,it does not go with the file,"{""id"":""sg-b"",""vpc"":""vpc-a""}"
    "#);
    assert_snapshot!(printed(&running, &["endpoint", "describe", "vpce-a"]), @r#"
    endpoint vpce-a, of the api, failed
    it does not go with the file
    {
      "name": "made"
    }
    "#);
    assert_snapshot!(printed(&running, &["service", "modify", "vpce-svc-a", r#"{"mss_clamp":null}"#, "-o", "csv"]), @r#"
    kind,id,origin,state,reason,settings
    endpoint_service,vpce-svc-a,api,failed,it does not go with the file,"{""mss_clamp"":null}"
    "#);
}

#[test]
fn a_listing_in_each_form() {
    let running = Running::start(Fake::full());
    assert_snapshot!(printed(&running, &["target-group", "list"]), @r"
    id    origin  state   reason
    made  api     failed  it does not go with the file
    ");
    assert_snapshot!(printed(&running, &["target-group", "list", "-o", "json"]), @r#"
    [
    {"kind":"target_group","id":"made","origin":"api","state":"failed","reason":"it does not go with the file","settings":{"name":"made"}}
    ]
    "#);
    assert_snapshot!(printed(&running, &["target-group", "list", "-o", "csv"]), @r#"
    kind,id,origin,state,reason,settings
    target_group,made,api,failed,it does not go with the file,"{""name"":""made""}"
    "#);
}

#[test]
fn what_was_deleted_in_each_form() {
    let running = Running::start(Fake::full());
    let delete = ["service", "delete", "vpce-svc-a", "--cascade"];
    assert_snapshot!(printed(&running, &delete), @r"
    endpoint service vpce-svc-a deleted
    4 flows ended
    ");
    assert_snapshot!(printed(&running, &[&delete[..], &["--dry-run"]].concat()), @r"
    endpoint service vpce-svc-a would be deleted
    4 flows would end; nothing has changed
    ");
    assert_snapshot!(printed(&running, &[&delete[..], &["-o", "json"]].concat()), @r#"
    [
    {"deleted":["endpoint service vpce-svc-a"],"flows_cut":4,"dry_run":false}
    ]
    "#);
    assert_snapshot!(printed(&running, &[&delete[..], &["-o", "csv"]].concat()), @r"
    deleted
    endpoint service vpce-svc-a
    ");
}

#[test]
fn registered_targets_in_each_form() {
    let running = Running::start(Fake::full());
    let register = ["target", "register", "web", "10.0.1.12:8080", "--weight", "2"];
    assert_snapshot!(printed(&running, &register), @"targets of web: 10.0.1.12");
    assert_snapshot!(printed(&running, &[&register[..], &["-o", "json"]].concat()), @r#"
    [
    {"target_group":"web","targets":["10.0.1.12"]}
    ]
    "#);
    assert_snapshot!(printed(&running, &[&register[..], &["-o", "csv"]].concat()), @r"
    target
    10.0.1.12
    ");
    assert_snapshot!(printed(&running, &["target", "deregister", "web", "10.0.1.12"]), @"targets of web: none");
}

/// The lines a failure prints, and its exit code.
fn failure(output: &Output) -> (Option<i32>, String) {
    assert_eq!(text(&output.stdout), "");
    (output.status.code(), text(&output.stderr).to_owned())
}

#[test]
fn what_is_no_json_object_is_a_mistake() {
    let running = Running::start(Fake::full());
    let said = |body: &str| {
        let output =
            on(&running.socket, &["endpoint", "create", body]).stdin(Stdio::null()).output();
        let (code, line) = failure(&output.unwrap());
        assert_eq!((code, line.lines().count()), (Some(2), 1), "{line}");
        line
    };
    assert_snapshot!(said("{"), @r#"privatelink: not a JSON object (EOF while parsing an object at line 1 column 1): write one, e.g. '{"name": "web"}'"#);
    assert_snapshot!(said("[]"), @r#"privatelink: not a JSON object (invalid type: sequence, expected a map at line 1 column 0): write one, e.g. '{"name": "web"}'"#);
    assert_snapshot!(said(r#"{"id":"a"} b"#), @r#"privatelink: not a JSON object (trailing characters at line 1 column 12): write one, e.g. '{"name": "web"}'"#);
    assert_snapshot!(said(""), @r#"privatelink: not a JSON object (EOF while parsing a value at line 1 column 0): write one, e.g. '{"name": "web"}'"#);
    assert_snapshot!(said("-"), @r#"privatelink: not a JSON object (EOF while parsing a value at line 1 column 0): write one, e.g. '{"name": "web"}'"#);
    assert_snapshot!(said("@/no/such/file.json"), @"privatelink: /no/such/file.json cannot be read (No such file or directory (os error 2)): name another file");
    assert_eq!(*running.ordered.lock().unwrap(), 0, "the daemon was not asked");
}

#[test]
fn a_body_comes_from_a_file_or_from_standard_input() {
    let running = Running::start(Fake::full());
    let path = running.socket.with_file_name("body.json");
    std::fs::write(&path, r#"{"id":"vpce-f"}"#).unwrap();
    let from_file = format!("@{}", path.display());
    for body in [from_file.as_str(), "-"] {
        let stdin = std::fs::File::open(&path).unwrap();
        let words = ["endpoint", "create", body, "--client-token", "once", "-o", "csv"];
        let output = on(&running.socket, &words).stdin(stdin).output().unwrap();
        let settings = r#""{""client_token"":""once"",""id"":""vpce-f""}""#;
        assert!(text(&output.stdout).ends_with(&format!("{settings}\n")), "{output:?}");
    }
}

#[test]
fn what_the_daemon_refuses_is_one_line() {
    for (code, error) in [
        (
            ErrorCode::TargetGroupNotFound,
            "no target group web: `privatelink target-group list` lists them",
        ),
        (ErrorCode::DuplicateTargetGroup, "target group web is there already: choose another name"),
        (
            ErrorCode::ResourceInUse,
            "target group web is used by load balancer web-nlb: delete that first, or use --cascade",
        ),
        (
            ErrorCode::DeclaredInFile,
            "target group web is declared in the configuration file: change it there, then `privatelink reload`",
        ),
    ] {
        let running = Running::start(Fake {
            fault: Some(ErrorBody::new(code, error).into()),
            ..Fake::full()
        });
        for words in [
            &["target-group", "create", "{}"][..],
            &["target-group", "describe", "web"],
            &["target-group", "modify", "web", "{}"],
            &["target-group", "delete", "web"],
            &["target-group", "list"],
            &["target", "register", "web", "10.0.1.12"],
            &["target", "deregister", "web", "10.0.1.12"],
        ] {
            let said = failure(&on(&running.socket, words).output().unwrap());
            assert_eq!(said, (Some(1), format!("privatelink: {error}\n")), "{words:?}");
        }
    }
}
