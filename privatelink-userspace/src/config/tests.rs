#[test]
fn generate() {
    let cases: Vec<(String, String, String)> =
        serde_json::from_str(&std::fs::read_to_string("/tmp/w/cases.json").unwrap()).unwrap();
    let overlap = include_str!("../../../examples/overlap.toml");
    let mut out = Vec::new();
    for (name, old, new) in cases {
        assert!(overlap.contains(&old), "{name}");
        let text = if old.is_empty() { new } else { overlap.replacen(&old, &new, 1) };
        let lines = match super::parse("overlap.toml", &text) {
            Ok(_) => "OK".to_owned(),
            Err(e) => e.to_string(),
        };
        out.push(lines);
    }
    std::fs::write("/tmp/w/out.json", serde_json::to_string(&out).unwrap()).unwrap();
}
