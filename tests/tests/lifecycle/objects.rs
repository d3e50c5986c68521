//! What a daemon has made in the kernel: programs, maps and links, by their ids, which are never used anew.

use std::collections::BTreeSet;
use std::fs;

use aya::maps::loaded_maps;
use aya::programs::{loaded_links, loaded_programs};

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Objects {
    pub(crate) programs: BTreeSet<u32>,
    pub(crate) maps: BTreeSet<u32>,
    pub(crate) links: BTreeSet<u32>,
}

impl Objects {
    /// What a process holds open, and the links of its programs, pinned or not.
    pub(crate) fn of(pid: u32) -> Self {
        let mut objects = Self::default();
        for entry in fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap() {
            // The process may have closed it.
            let Ok(text) = fs::read_to_string(entry.unwrap().path()) else { continue };
            for (key, value) in text.lines().filter_map(|line| line.split_once(':')) {
                let of_kind = match key {
                    "prog_id" => &mut objects.programs,
                    "map_id" => &mut objects.maps,
                    "link_id" => &mut objects.links,
                    _ => continue,
                };
                of_kind.insert(value.trim().parse().unwrap());
            }
        }
        let links = loaded_links().filter_map(Result::ok);
        let ours = links.filter(|link| objects.programs.contains(&link.program_id()));
        objects.links.extend(ours.map(|link| link.id()));
        objects
    }

    /// Those of them that the kernel still has. Maps are looked at only once no program is left: whoever looks at an array of
    /// programs that the kernel is about to empty makes it stay for ever (prog_array_map_clear() counts a reference for work that
    /// is pending already).
    pub(crate) fn left(&self) -> Self {
        let programs = loaded_programs().filter_map(Result::ok).map(|program| program.id());
        let programs: BTreeSet<u32> = programs.filter(|id| self.programs.contains(id)).collect();
        let links = loaded_links().filter_map(Result::ok).map(|link| link.id());
        let links = links.filter(|id| self.links.contains(id)).collect();
        let maps = match programs.is_empty() {
            true => {
                let maps = loaded_maps().filter_map(Result::ok).map(|map| map.id());
                maps.filter(|id| self.maps.contains(id)).collect()
            }
            false => self.maps.clone(),
        };
        Self { programs, maps, links }
    }
}
