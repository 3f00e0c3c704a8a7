//! Real-time priority and a fixed core for the control thread, where the system permits them.
//! Otherwise the thread runs without them, and [`RealTime`] holds a message for each request that was not granted.

use serde::{Deserialize, Serialize};
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// Highest priority of a real-time thread on Linux.
const HIGHEST_PRIORITY: u8 = 99;
/// Number of cores in the system's CPU set; a larger index does not fit into the set.
const CORES: usize = 1024;
/// Largest `spin_us`, in microseconds: the longest control period.
const LONGEST_SPIN_US: u64 = 1_000_000;

/// Real-time settings of the control thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RealTimeSettings {
    /// First-in, first-out (`SCHED_FIFO`) priority, 1 to 99; 0 requests none.
    #[serde(default)]
    pub priority: u8,
    /// Core that the control thread is bound to.
    #[serde(default)]
    pub core: Option<usize>,
    /// Time before each period, in microseconds, that is spent polling the clock instead of sleeping.
    #[serde(default = "spin_us")]
    pub spin_us: u64,
}

fn spin_us() -> u64 {
    100
}

impl Default for RealTimeSettings {
    fn default() -> Self {
        Self { priority: 0, core: None, spin_us: spin_us() }
    }
}

impl RealTimeSettings {
    /// Checks that the settings are within what a system can grant.
    ///
    /// # Errors
    /// The setting's name, with the value that was found and the valid values.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        let wrong =
            |field, found: u64, most: u64| Err((field, format!("found {found}; valid is 0 to {most}")));
        if self.priority > HIGHEST_PRIORITY {
            return wrong("priority", self.priority.into(), HIGHEST_PRIORITY.into());
        }
        if let Some(core) = self.core.filter(|core| *core >= CORES) {
            return wrong("core", core as u64, CORES as u64 - 1);
        }
        if self.spin_us > LONGEST_SPIN_US {
            return wrong("spin_us", self.spin_us, LONGEST_SPIN_US);
        }
        Ok(())
    }
}

/// Result of the real-time requests: empty where every request was granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RealTime {
    /// Message for each request that was not granted.
    pub notices: Vec<String>,
}

impl RealTime {
    /// Makes the requests for the calling thread.
    pub(crate) fn ask(settings: &RealTimeSettings) -> Self {
        let mut notices = Vec::new();
        if let Some(id) = settings.core
            && (id >= CORES || !core_affinity::set_for_current(core_affinity::CoreId { id }))
        {
            notices.push(format!(
                "real_time.core {id}: the system does not permit it; any core may run the control thread"
            ));
        }
        if settings.priority > 0
            && let Err(reason) = fifo(settings.priority)
        {
            let priority = settings.priority;
            notices.push(format!(
                "real_time.priority {priority}: {reason}; the control thread runs as any other and may be late \
                 (a limit on rtprio or CAP_SYS_NICE permits it)"
            ));
        }
        Self { notices }
    }
}

fn fifo(priority: u8) -> Result<(), String> {
    let value =
        ThreadPriorityValue::try_from(priority).map_err(|found| format!("{found}: valid is 1 to 99"))?;
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Crossplatform(value), policy)
        .map_err(|error| format!("{error:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_settings_are_refused_by_name() {
        let asked = RealTimeSettings::default;
        assert_eq!(asked().validate(), Ok(()));
        let most = RealTimeSettings { priority: 99, core: Some(1023), spin_us: 1_000_000 };
        assert_eq!(most.validate(), Ok(()));
        for (wrong, field, found) in [
            (RealTimeSettings { priority: 100, ..asked() }, "priority", "found 100; valid is 0 to 99"),
            (RealTimeSettings { core: Some(1024), ..asked() }, "core", "found 1024; valid is 0 to 1023"),
            (RealTimeSettings { spin_us: 1_000_001, ..asked() }, "spin_us", "found 1000001"),
        ] {
            let (at, said) = wrong.validate().unwrap_err();
            assert!(at == field && said.contains(found), "{at}: {said}");
        }
    }

    #[test]
    fn a_core_that_does_not_exist_gives_a_notice_and_no_panic() {
        for core in [1023, 1024, usize::MAX] {
            let settings = RealTimeSettings { core: Some(core), ..RealTimeSettings::default() };
            let granted = RealTime::ask(&settings);
            assert!(granted.notices[0].contains(&format!("real_time.core {core}")), "{granted:?}");
        }
    }
}
