//! Real-time priority and a core of its own for the control thread, where the system permits it.
//! Where it does not, the thread runs without, and somebody is told in plain words.

use serde::{Deserialize, Serialize};
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

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
            && !core_affinity::set_for_current(core_affinity::CoreId { id })
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
