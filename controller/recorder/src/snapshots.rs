//! Snapshots of a plant during a run, a few each second, on disk beside the run's own record. They serve pictures only: no
//! decision depends on them, and any of them may be missing.

use aegis_core::Pose;
use serde::{Deserialize, Serialize};

use crate::entry_log::{Entry, EntryLog, EntryReader};
use crate::frames::{Layout, MAGIC_BYTES};

/// Name of the file in a run's folder.
pub const SNAPSHOT_FILE: &str = "sights.aegis";

/// One snapshot of a plant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlantSnapshot {
    /// Arrival time of the observation, nanoseconds since the run's clock began.
    pub now_ns: u64,
    /// The plant's episode.
    pub episode: u64,
    /// Control steps since the reset.
    pub step: u32,
    /// Index of the task.
    pub task: u32,
    /// The task in words.
    pub instruction: String,
    /// Pose of the end effector, world frame; `None` where the plant does not offer it.
    pub end_effector: Option<Pose>,
    /// Poses of the movable objects by name, world frame.
    pub objects: Vec<(String, Pose)>,
    /// The plant's whole physical state, in the plant's own layout; empty where the plant does not report it.
    pub state: Vec<f64>,
}

impl Entry for PlantSnapshot {
    // Version 1 has no checksums; only version 3 has an end mark.
    const FORMATS: &'static [([u8; MAGIC_BYTES], Layout)] =
        &[(*b"AEGSSEE3", Layout::Chained), (*b"AEGSSEE2", Layout::Checked), (*b"AEGSSEE1", Layout::Plain)];
    const NAME: &'static str = "snapshot";
}

/// Writer of snapshots.
pub type SnapshotLog = EntryLog<PlantSnapshot>;
/// Reader of snapshots.
pub type SnapshotReader = EntryReader<PlantSnapshot>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_log::RunLogError;

    #[test]
    fn looks_come_back_as_far_as_the_file_goes() {
        let folder = std::env::temp_dir().join(format!("aegis-sights-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(SNAPSHOT_FILE);
        let sight = |step: u32| PlantSnapshot {
            now_ns: u64::from(step) * 50_000_000,
            episode: 1,
            step,
            task: 3,
            instruction: "move the box".into(),
            end_effector: (step != 1).then_some(Pose::IDENTITY),
            objects: vec![("box".into(), Pose::IDENTITY)],
            state: vec![0.5, -0.5],
        };
        let mut log = SnapshotLog::create(&path).unwrap();
        (0..3).for_each(|step| log.append(&sight(step)).unwrap());
        assert!(matches!(SnapshotLog::create(&path), Err(RunLogError::Write { .. })), "never written over");
        let all: Vec<PlantSnapshot> = SnapshotReader::open(&path).unwrap().collect();
        assert_eq!(all, [sight(0), sight(1), sight(2)]);
        let checked = || SnapshotReader::open(&path).unwrap().check();
        let (looks, fault) = checked();
        assert!(looks == 3 && fault.unwrap().contains("without an end mark"), "the run goes on");
        log.finish().unwrap();
        assert_eq!(checked(), (3, None));

        let mut bytes = std::fs::read(&path).unwrap();
        // The file without its end mark, and then also without the last byte of the last snapshot.
        bytes.truncate(bytes.len() - 8);
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(SnapshotReader::open(&path).unwrap().count(), 2);
        let (looks, fault) = checked();
        assert!(looks == 2 && fault.unwrap().contains("within snapshot 2"));
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(SnapshotReader::open(&path).unwrap().count(), 2, "a look that is damaged is not shown");
        let (looks, fault) = checked();
        assert!(looks == 2 && fault.unwrap().contains("damaged: frame 2"));
        std::fs::write(&path, b"AEGSRUN2").unwrap();
        let error = SnapshotReader::open(&path).err().unwrap().to_string();
        assert!(error.contains("begins with AEGSRUN2") && error.contains("AEGSSEE3"), "{error}");
        // Files of the first version have no checksums.
        let look = rmp_serde::to_vec(&sight(7)).unwrap();
        let length = u32::try_from(look.len()).unwrap().to_le_bytes();
        std::fs::write(&path, [&b"AEGSSEE1"[..], &length[..], &look[..]].concat()).unwrap();
        assert_eq!(SnapshotReader::open(&path).unwrap().collect::<Vec<_>>(), [sight(7)]);
        assert_eq!(checked(), (1, None));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
