//! The bodies of the fuzz targets, over their corpus and some thousands of mutations of it, the same ones each time.
//!
//! `PRIVATELINK_MUTATIONS=100000` makes more of them. `fuzz/` runs the same bodies under libFuzzer.

mod bodies;

use std::fs;
use std::path::Path;
use std::time::Instant;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

/// What mutations put in: values at the edge, and pieces that mean something.
const WORDS: &[&str] = &[
    "0",
    "-1",
    "65535",
    "65536",
    "4294967296",
    "18446744073709551616",
    "1e400",
    "\"\"",
    "null",
    "{}",
    "[]",
    "[[",
    "]]",
    "{",
    "}",
    "\"",
    "'",
    "\\u0000",
    "\n",
    "\t",
    "\u{feff}",
    "é",
    "10.0.0.0/0",
    "10.0.0.0/33",
    "255.255.255.255",
    "tcp",
    "*",
    "all",
    "9000-9099",
    "99999h",
    "1ns",
    "true",
    "name",
    "id",
    "vpc",
    "targets",
    "addresses",
    "listener",
    "web",
    "web-nlb",
    "vpce-svc-1",
    "sg-1",
    "vpc-consumer-a",
    "us-east-1b",
    "[[endpoint]]",
    "[target_group.attributes]",
];

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut paths: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// One of the corpus with a few changes: bytes, pieces left out or said twice, words, pieces of others.
fn mutated(rng: &mut SmallRng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = corpus.choose(rng).unwrap().clone();
    for _ in 0..rng.random_range(1..4) {
        let start = rng.random_range(0..=bytes.len());
        let end = rng.random_range(start..=bytes.len().min(start + 40));
        let put: Vec<u8> = match rng.random_range(0..5) {
            0 => vec![],
            1 => bytes[start..end].repeat(2),
            2 => vec![rng.random()],
            3 => WORDS.choose(rng).unwrap().as_bytes().to_vec(),
            _ => {
                let other = corpus.choose(rng).unwrap();
                let from = rng.random_range(0..=other.len());
                other[from..rng.random_range(from..=other.len())].to_vec()
            }
        };
        bytes.splice(start..end, put);
    }
    bytes
}

fn run(target: &str, body: fn(&[u8])) {
    let corpus = corpus(target);
    assert!(corpus.len() >= 5, "{}", corpus.len());
    corpus.iter().for_each(|bytes| body(bytes));
    let mutations =
        std::env::var("PRIVATELINK_MUTATIONS").map_or(3000, |text| text.parse().unwrap());
    let mut rng = SmallRng::seed_from_u64(4);
    let start = Instant::now();
    for _ in 0..mutations {
        let bytes = mutated(&mut rng, &corpus);
        if let Err(panic) = std::panic::catch_unwind(|| body(&bytes)) {
            eprintln!("--- {target}\n{}\n---", String::from_utf8_lossy(&bytes));
            std::panic::resume_unwind(panic);
        }
    }
    println!("{target}: {mutations} mutations in {:.1} s", start.elapsed().as_secs_f64());
}

#[test]
fn config() {
    run("config", bodies::config);
}

#[test]
fn api_body() {
    run("api_body", bodies::api_body);
}

#[test]
fn store() {
    run("store", bodies::store);
}
