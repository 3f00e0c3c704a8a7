//! What is heard of a plant and of the people around it, on threads of Zenoh's: each thing is put where whoever reads it
//! finds it, with when it came and, by the plant's clock, when it was taken.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aegis_core::Observation;
use aegis_core::control::{ClockOffset, Content, Exchange, Intake, ObservationStamp, Refusal};
use aegis_link::Heard;
use aegis_link::wire::{Moved, OperatorCommand, Phase, Status};
use aegis_runtime::{Clock, CommandMailbox, Health, ObservationSender, ObservationWriter, Snapshot};

use super::snapshot_recorder::SnapshotRecorder;

/// What the hearing threads share.
pub struct PlantListener {
    clock: Clock,
    health: Arc<Health>,
    wishes: Arc<CommandMailbox>,
    /// Process and claim that the control thread's plant has.
    instance: AtomicU64,
    session: AtomicU64,
    episode: AtomicU64,
    /// Somebody wants a reset while the plant is lost: first it has to be claimed.
    reset: AtomicBool,
    /// One more than the interruptions when an operator said that the next episode may begin; 0 where nobody has.
    start: AtomicU64,
    /// Messages that were none.
    malformed: AtomicU64,
    /// What is known of the plant's clock since the claim. Never locked while another is.
    offset: Mutex<ClockOffset>,
    views: Mutex<ListenerState>,
    looker: Mutex<Option<SnapshotRecorder>>,
}

/// Reads where each position stands by an observation, `[channels]`, for what is checked against that.
pub type Standing = Box<dyn Fn(&Observation) -> Option<Vec<f32>> + Send + Sync>;

struct ListenerState {
    standing: Standing,
    intake: Intake,
    /// The observation before was refused for its content: people have been told.
    is_refusing: bool,
    /// When the plant took the observation before was not known: people have been told.
    is_undated: bool,
    /// The newest observation that was accepted, and when the plant took it.
    newest: Option<(Duration, Arc<Observation>)>,
    sightings: ObservationSender,
    views: [ObservationWriter; 2],
}

impl PlantListener {
    /// Nothing is heard yet. What is seen goes to `sightings`, with where the plant stands, and to both policies' `views`.
    pub fn new(
        clock: Clock,
        health: Arc<Health>,
        wishes: Arc<CommandMailbox>,
        sightings: ObservationSender,
        views: [ObservationWriter; 2],
        standing: Standing,
    ) -> Self {
        Self {
            clock,
            health,
            wishes,
            instance: AtomicU64::new(0),
            session: AtomicU64::new(0),
            episode: AtomicU64::new(0),
            reset: AtomicBool::new(false),
            start: AtomicU64::new(0),
            malformed: AtomicU64::new(0),
            offset: Mutex::new(ClockOffset::default()),
            views: Mutex::new(ListenerState {
                standing,
                intake: Intake::default(),
                is_refusing: false,
                is_undated: false,
                newest: None,
                sightings,
                views,
            }),
            looker: Mutex::new(None),
        }
    }

    /// Takes what is heard; called on threads that must not wait long.
    pub fn hear(&self, heard: Heard) {
        let received = self.clock.now();
        match heard {
            Heard::Moved(moved) => self.moved(*moved, received),
            Heard::Status(status) => self.status(&status, received),
            Heard::Operate(operate) => self.obey(operate.wish),
            Heard::Malformed(_) => {
                self.malformed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Passes on what somebody wants.
    pub fn obey(&self, wish: OperatorCommand) {
        match wish {
            OperatorCommand::EStop => self.wishes.e_stop(),
            OperatorCommand::Stop => self.wishes.stop(),
            OperatorCommand::Reset if self.holds() => self.wishes.reset(),
            OperatorCommand::Reset => {
                self.wishes.interrupt();
                self.reset.store(true, Ordering::Release);
            }
            OperatorCommand::Start => self.start.store(self.wishes.interruptions() + 1, Ordering::Release),
        }
    }

    /// Whether the plant that was claimed last is still this run's.
    pub fn holds(&self) -> bool {
        !self.health.is_lost()
    }

    /// The least round trip of heartbeats lately; none where the plant's clock is not known.
    pub fn round_trip(&self) -> Option<Duration> {
        self.health.round_trip()
    }

    /// Whether somebody has wanted a reset since a plant was lost; asked once.
    pub fn takes_reset(&self) -> bool {
        self.reset.swap(false, Ordering::AcqRel)
    }

    /// The interruptions when an operator said that the next episode may begin, where that was since the last call and has
    /// not been interrupted.
    pub fn takes_start(&self) -> Option<u64> {
        let as_of = self.start.swap(0, Ordering::AcqRel).checked_sub(1)?;
        (as_of == self.wishes.interruptions()).then_some(as_of)
    }

    /// The newest observation that a policy may read, and when the plant took it; none before the first.
    pub fn newest(&self) -> Option<(Duration, Arc<Observation>)> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner).newest.clone()
    }

    /// What is seen goes to pictures too from here on.
    pub fn look(&self, looker: SnapshotRecorder) {
        *self.looker.lock().unwrap_or_else(PoisonError::into_inner) = Some(looker);
    }

    /// Messages that were none.
    pub fn malformed(&self) -> u64 {
        self.malformed.load(Ordering::Relaxed)
    }

    /// A plant has been claimed: nothing is known of its clock.
    pub fn claimed(&self, instance: u64, session: u64) {
        // Held until the end, so that no heartbeat of the claim before counts for this one.
        let mut offset = self.offset.lock().unwrap_or_else(PoisonError::into_inner);
        *offset = ClockOffset::default();
        self.instance.store(instance, Ordering::Release);
        self.session.store(session, Ordering::Release);
        self.health.find(self.clock);
    }

    /// An episode begins with this observation, which the plant took at `stamp_ns` of its clock.
    pub fn begin(&self, episode: u64, stamp_ns: u64, observation: Observation) {
        let received = self.clock.now();
        // Held, so that no heartbeat about the episode before stops this one.
        let offset = self.offset.lock().unwrap_or_else(PoisonError::into_inner);
        self.episode.store(episode, Ordering::Release);
        self.health.resume();
        drop(offset);
        let mut shown = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        shown.intake.begin(episode);
        shown.newest = None;
        drop(shown);
        self.show((received, stamp_ns), episode, 0, false, observation);
    }

    fn status(&self, status: &Status, received: Duration) {
        let mut offset = self.offset.lock().unwrap_or_else(PoisonError::into_inner);
        let known = (self.instance.load(Ordering::Acquire), self.session.load(Ordering::Acquire));
        if known.0 == 0 {
            return; // Nothing has been claimed yet: no plant is this run's to lose.
        }
        if status.instance != known.0 {
            return self.health.lose();
        }
        // Held by nobody, or by somebody else: this claim has run out.
        if status.session != known.1 {
            return self.health.lose();
        }
        offset.take(&Exchange {
            sent_ns: status.pulse_stamp_ns,
            arrived_ns: status.pulse_received_ns,
            echoed_ns: status.stamp_ns,
            received,
        });
        self.health.measure(offset.round_trip(received));
        let ours = status.episode == self.episode.load(Ordering::Acquire);
        self.health.beat(self.clock, ours && status.phase == Phase::Stopped);
    }

    fn moved(&self, moved: Moved, received: Duration) {
        if moved.session == self.session.load(Ordering::Acquire) {
            let (episode, sequence, success) = (moved.episode, moved.sequence, moved.success);
            if let Some(looker) = &mut *self.looker.lock().unwrap_or_else(PoisonError::into_inner) {
                looker.take(received, &moved);
            }
            let stamps = (received, moved.stamp_ns);
            self.show(stamps, episode, sequence, success, moved.observation.at(sequence));
        }
    }

    /// Shows an observation that came at `received` and that the plant stamped with `stamp_ns`.
    fn show(
        &self,
        (received, stamp_ns): (Duration, u64),
        episode: u64,
        sequence: u32,
        success: bool,
        observation: Observation,
    ) {
        let mut offset = self.offset.lock().unwrap_or_else(PoisonError::into_inner);
        let known = offset.taken(stamp_ns, received);
        drop(offset);
        let content = content(&observation);
        let mut shown = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        // Of unknown age: as old as can be.
        let taken = known.unwrap_or(Duration::ZERO);
        if known.is_none() && !shown.is_undated {
            tracing::warn!(
                "the age of observation {sequence} is not known: the plant echoes no heartbeat, or its clock was set forward"
            );
        }
        shown.is_undated = known.is_none();
        let accepted = shown.intake.take(episode, sequence, observation.plant_time, content);
        let (mut fault, mut measured) = (None, None);
        match accepted {
            Ok(()) => {
                measured = (shown.standing)(&observation);
                let observation = Arc::new(observation);
                for view in &mut shown.views {
                    view.show(Snapshot { episode, sequence, observation: Arc::clone(&observation), taken });
                }
                shown.newest = Some((taken, observation));
                shown.is_refusing = false;
            }
            // Told by their numbers, which the control thread counts.
            Err(Refusal::Foreign | Refusal::NotNewer) => {}
            Err(Refusal::Content(found, feature)) => {
                fault = Some(found);
                if !std::mem::replace(&mut shown.is_refusing, true) {
                    tracing::warn!("observation {sequence} is refused: {feature}: {found:?}");
                }
            }
        }
        let pictures = content.digest;
        let taken = Some(taken);
        let seen =
            ObservationStamp { episode, sequence, arrived: 1, received, pictures, success, fault, taken };
        shown.sightings.push(seen, measured.as_deref());
    }
}

/// Everything that a policy can read of an observation, by feature.
fn content(observation: &Observation) -> Content {
    let Observation { proprioception, objects, .. } = observation;
    let pose = |pose: &aegis_core::Pose| {
        let ([x, y, z], [w, i, j, k]) = (pose.position, pose.orientation);
        [x, y, z, w, i, j, k]
    };
    let end_effector = pose(&proprioception.end_effector);
    let objects: Vec<f64> = objects.iter().flat_map(|object| pose(&object.pose)).collect();
    Content::of([
        ("joint_positions", &proprioception.joint_positions[..]),
        ("end_effector", &end_effector),
        ("gripper", &proprioception.gripper),
        ("objects", &objects),
    ])
}
