//! Handles of maps beside the object's own.

use std::os::fd::AsFd as _;

use aya::Ebpf;
use aya::maps::{Map, MapData};

use super::error::DatapathError;
use super::object::map_error;

/// Another handle of a map. The object's own stays where it is: a program that is loaded later is told its maps by their
/// descriptors, so none may be closed.
pub(super) fn another(ebpf: &Ebpf, name: &'static str) -> Result<Map, DatapathError> {
    let again = |data: &MapData| {
        let fd = data.fd().as_fd().try_clone_to_owned();
        let fd = fd.map_err(|source| DatapathError::Mapping { map: name, source })?;
        MapData::from_fd(fd).map_err(|error| map_error(name, error))
    };
    match ebpf.map(name) {
        Some(Map::HashMap(data)) => Ok(Map::HashMap(again(data)?)),
        Some(Map::PerCpuArray(data)) => Ok(Map::PerCpuArray(again(data)?)),
        Some(Map::RingBuf(data)) => Ok(Map::RingBuf(again(data)?)),
        _ => Err(DatapathError::Object(name)),
    }
}
