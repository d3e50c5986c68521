//! A daemon that cannot start says why in one plain line, and changes nothing. Needs root.

#[path = "refusals/refused.rs"]
mod refused;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use privatelink_tests::{
    Daemon, ENDPOINT, Home, Lab, Topology, binary, echo_targets, example, round_trip,
};

use refused::{Paths, assert_line, refused, refused_at};

fn lab() -> Lab {
    Lab::new(&Topology::overlap().without_targets()).unwrap()
}

#[test]
fn a_second_daemon_in_the_same_place_changes_nothing() {
    let lab = lab();
    let _targets = echo_targets(&lab).unwrap();
    let config = lab.example_attached("overlap.toml", "xdp").unwrap();
    let daemon = Daemon::start(&lab, &config, &[]).unwrap();
    let (first, other) = (Paths::of(&daemon.home()), Home::new().unwrap());
    let programs = lab.programs().unwrap();
    let pid = daemon.pid().to_string();

    let cases = [
        (Paths::of(&daemon.home()), vec!["another privatelink daemon", "--state-dir"]),
        (
            Paths { socket: first.socket, ..Paths::of(&other) },
            vec!["another privatelink daemon (pid ", &pid, "--socket"],
        ),
        (Paths { pins: first.pins, ..Paths::of(&other) }, vec!["another privatelink", "--pin-dir"]),
        (
            Paths::of(&other),
            vec!["interface pl-provider already has an XDP program (id ", "name privatelink)"],
        ),
    ];
    for (at, words) in cases {
        assert_line(&refused_at(&lab, &config, &at), &words);
        assert_eq!(lab.programs().unwrap(), programs);
        assert!(!other.pins().exists() && !other.socket().exists(), "nothing of it is left");
        round_trip(lab.network("consumer-a").unwrap(), ENDPOINT).unwrap();
        daemon.cli(&["status", "-o", "json"]).unwrap();
    }
}

#[test]
fn a_foreign_program_on_the_last_interface_undoes_the_others() {
    let lab = lab();
    let config = lab.folder().join("only-b.toml");
    let only_b = r#"
        region = "us-east-1"
        [[vpc]]
        id = "vpc-b"
        account = "333333333333"
        cidrs = ["10.0.0.0/16"]
        interfaces = [{ name = "pl-consumer-b", zone = "us-east-1a", attach = "xdp" }]
    "#;
    fs::write(&config, only_b).unwrap();
    let _first = Daemon::start(&lab, &config, &[]).unwrap();
    let programs = lab.programs().unwrap();
    assert_eq!(programs.len(), 1);

    let home = Home::new().unwrap();
    let all = lab.example_attached("overlap.toml", "xdp").unwrap();
    let said = refused_at(&lab, &all, &Paths::of(&home));
    let program = format!("(id {}, name privatelink)", programs["pl-consumer-b"]);
    assert_line(&said, &["interface pl-consumer-b already has an XDP program", &program]);
    assert_eq!(lab.programs().unwrap(), programs, "the other two are free again");
    assert!(!home.pins().exists() && !home.socket().exists());
    let neighbours = lab.gateway().run(&["ip", "-d", "neigh"]).unwrap();
    assert!(!neighbours.contains("managed"), "{neighbours}");
}

#[test]
fn a_wrong_configuration_is_named_by_line_and_column() {
    let lab = lab();
    let home = Home::new().unwrap();
    let example = fs::read_to_string(example("overlap.toml")).unwrap();
    let config = lab.folder().join("wrong.toml");
    let cases = [
        ("pl-consumer-b", "pl-nowhere", "pl-nowhere"),
        ("weight = 2", "weight = 2000", "weight"),
        ("target_group = \"web\"", "target_group = \"wep\"", "wep"),
        ("region = ", "regoin = ", "regoin"),
    ];
    for (right, wrong, word) in cases {
        let text = example.replacen(right, wrong, 1);
        fs::write(&config, &text).unwrap();
        let (code, said) = refused_at(&lab, &config, &Paths::of(&home));
        assert_eq!(code, 2, "{said:?}");
        let line = text.lines().position(|line| line.contains(wrong)).unwrap() + 1;
        let place = format!("privatelink: {}:{line}:", config.display());
        let named = said.iter().find(|line| line.starts_with(&place)).unwrap_or_else(|| {
            panic!("no line starts with {place:?}: {said:?}");
        });
        let rest = &named[place.len()..];
        let (column, cause) = rest.split_once(':').unwrap();
        assert!(column.parse::<usize>().unwrap() > 0 && cause.contains(word), "{named}");
        assert!(lab.programs().unwrap().is_empty());
        assert!(!home.pins().exists() && !home.state().exists() && !home.socket().exists());
    }
}

#[test]
fn without_root_it_says_so() {
    let lab = lab();
    // Somebody else can neither look into root's folders nor run what is in them.
    let program = lab.folder().join("privatelink");
    fs::copy(binary().unwrap(), &program).unwrap();
    let config = lab.folder().join("overlap.toml");
    fs::copy(example("overlap.toml"), &config).unwrap();
    let open = lab.folder().join("open");
    fs::create_dir(&open).unwrap();
    for (path, mode) in [(lab.folder(), 0o755), (&*open, 0o777)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let home = Arc::new(Home::new().unwrap());
    let said = refused(&lab, &nobody, &program, &config, &Paths::of(&home));
    assert_line(&said, &["cannot create", "run privatelink as root"]);

    let writable = |name: &str| open.join(name).display().to_string();
    let at = Paths { socket: writable("socket"), state: writable("state"), ..Paths::of(&home) };
    let said = refused(&lab, &nobody, &program, &config, &at);
    assert_line(&said, &["no permission to load BPF programs", "as root", "CAP_BPF"]);
    assert!(lab.programs().unwrap().is_empty());
}

#[test]
fn pins_need_a_bpf_file_system() {
    let lab = lab();
    let home = Home::new().unwrap();
    let pins = lab.folder().join("pins");
    let at = Paths { pins: pins.display().to_string(), ..Paths::of(&home) };
    let said = refused_at(&lab, &example("overlap.toml"), &at);
    assert_line(&said, &[&at.pins, "is not on a bpf file system", "mount -t bpf", "--pin-dir"]);
    assert!(!pins.exists() && !home.socket().exists());
    assert!(lab.programs().unwrap().is_empty());
}
