//! A gateway of IPv4 only gets IPv6 while it runs. Needs root.

use std::fs;
use std::io::{Read as _, Write as _};
use std::time::Duration;

use aya::programs::loaded_programs;

use privatelink_tests::{
    Daemon, DualStack, Family, MIXES, WITHOUT_SIX, connect, http_get, http_target, wait_until,
};

const PATIENCE: Duration = Duration::from_secs(30);
/// The names of the daemon's programs for the wide table.
fn wide_programs(daemon: &Daemon) -> Vec<String> {
    let name = |id: u32| {
        let mut programs = loaded_programs().filter_map(Result::ok);
        programs.find(|program| program.id() == id)?.name_as_str().map(str::to_owned)
    };
    let files = fs::read_dir(format!("/proc/{}/fdinfo", daemon.pid())).unwrap();
    let told = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap_or_default());
    let id = |told: String| {
        told.lines().find_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok())
    };
    let mut names: Vec<String> = told.filter_map(id).filter_map(name).collect();
    names.retain(|name| name.contains("wide"));
    names.sort();
    names
}

#[test]
fn its_programs_are_loaded_then_and_connections_go_on() {
    let site = DualStack::new(&WITHOUT_SIX).unwrap();
    let _targets = [(Family::Four, "web-four"), (Family::Six, "web-six")]
        .map(|(family, name)| http_target(site.provider(), family.target(), name).unwrap());
    assert_eq!(wide_programs(&site.daemon), Vec::<String>::new(), "nobody needs them");
    let four = Family::Four.endpoint(Family::Four);
    let mut stream = connect(site.consumer(), None, four).unwrap();

    site.reload(&[]).unwrap();
    assert_eq!(wide_programs(&site.daemon), ["tcx_wide", "tcx_wide_new", "tcx_wide_other"]);
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("web-four"), "{answer}");
    for (client, target) in MIXES {
        let url = format!("http://{}/", client.endpoint(target));
        let name = if target == Family::Four { "web-four" } else { "web-six" };
        let served =
            || http_get(site.consumer(), &url).is_ok_and(|answer| answer.starts_with(name));
        wait_until(PATIENCE, "the target is found", served).unwrap();
    }
}
