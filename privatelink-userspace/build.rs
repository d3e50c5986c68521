//! Compiles the XDP program and hands its object to the daemon as `PRIVATELINK_EBPF_OBJECT`.

#[path = "../xtask/src/bpf.rs"]
mod bpf;

fn main() {
    let provided = bpf::provide("privatelink-ebpf", "privatelink-ebpf", "PRIVATELINK_EBPF_OBJECT");
    if let Err(error) = provided {
        println!("cargo::error={error:#}");
        std::process::exit(1);
    }
}
