//! Compiles the benchmark's own eBPF programs and hands their object over as `BENCH_EBPF_OBJECT`.

#[path = "../xtask/src/bpf.rs"]
mod bpf;

fn main() {
    let provided = bpf::provide("privatelink-bench-ebpf", "bench/ebpf", "BENCH_EBPF_OBJECT");
    if let Err(error) = provided {
        println!("cargo::error={error:#}");
        std::process::exit(1);
    }
}
