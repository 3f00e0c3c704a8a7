//! Real-time priority and a core of its own for the control thread, where the system permits it.
//! Where it does not, the thread runs without, and somebody is told in plain words.

use serde::{Deserialize, Serialize};
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// The highest priority that Linux has for a real-time thread.
const HIGHEST_PRIORITY: u8 = 99;
/// Cores that the system's set of them has room for; a number beyond it does not fit into the set.
const CORES: usize = 1024;
/// The longest control period, microseconds: more there is not to watch.
const LONGEST_SPIN_US: u64 = 1_000_000;

/// What to ask the system for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RealTimeSettings {
    /// First-in, first-out priority, 1 to 99; 0 asks for none.
    #[serde(default)]
    pub priority: u8,
    /// A core that the control thread keeps to.
    #[serde(default)]
    pub core: Option<usize>,
    /// The last so many microseconds before a period are spent watching the clock instead of sleeping.
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
    /// Refuses what no system can give.
    ///
    /// # Errors
    /// The setting's name, and what was found and would be valid.
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

/// What the system gave, for people: empty where everything that was asked for was granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RealTime {
    /// What is not as it was asked for.
    pub notices: Vec<String>,
}

impl RealTime {
    /// Asks for the calling thread.
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
    fn what_no_system_can_give_is_refused_by_name() {
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
    fn a_core_that_there_is_none_of_is_a_notice_and_no_panic() {
        for core in [1023, 1024, usize::MAX] {
            let settings = RealTimeSettings { core: Some(core), ..RealTimeSettings::default() };
            let granted = RealTime::ask(&settings);
            assert!(granted.notices[0].contains(&format!("real_time.core {core}")), "{granted:?}");
        }
    }
}
