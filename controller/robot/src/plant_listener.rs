//! Receiver of everything that the plant and the operators send. Messages arrive on Zenoh's threads, and each is stored for
//! the thread that reads it. Observations are stored with the time of arrival and the time at which the plant took them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use aegis_core::control::{
    CameraSettings, ClockOffset, Content, ContentFault, Exchange, Intake, LARGEST, ObservationStamp, Refusal,
};
use aegis_core::{Observation, Schema};
use aegis_link::Heard;
use aegis_link::wire::{Moved, OperatorCommand, Phase, Status};
use aegis_runtime::{
    CameraSender, Clock, CommandMailbox, Health, ObservationSender, ObservationWriter, Snapshot,
};

use crate::cameras::{Cameras, DecodedFrame, FrameArrival, PairedObservation};
use crate::frame_inbox::FrameInbox;
use crate::observation_recorder::ObservationRecorder;
use crate::snapshot_recorder::SnapshotRecorder;

/// State shared by the threads that receive messages.
pub struct PlantListener {
    clock: Clock,
    health: Arc<Health>,
    wishes: Arc<CommandMailbox>,
    /// Process identifier (`instance`) and claim (`session`) of the plant that this run has claimed; 0 before the first
    /// claim.
    instance: AtomicU64,
    session: AtomicU64,
    episode: AtomicU64,
    /// Whether an operator sent a reset while the plant was lost. The plant has to be claimed before that reset is obeyed.
    reset: AtomicU64,
    /// One more than the number of interruptions at the moment an operator sent a start; 0 where no start is waiting.
    start: AtomicU64,
    /// Number of messages that could not be decoded.
    malformed: AtomicU64,
    /// Estimate of the plant's clock offset since the claim. Never locked while another lock is held.
    offset: Mutex<ClockOffset>,
    views: Mutex<ListenerState>,
    /// Frames that wait for the thread that decodes them.
    frames: FrameInbox,
    snapshot_recorder: Mutex<Option<SnapshotRecorder>>,
    /// Where observations and frames go to be saved; empty where the robot file does not ask for it.
    observation_recorder: OnceLock<ObservationRecorder>,
}

/// Function that returns the measured pose of an observation, `[channels]`; `None` where nothing is checked against the
/// pose, or where a reading is missing.
pub type Standing = Box<dyn Fn(&Observation) -> Option<Vec<f32>> + Send + Sync>;

struct ListenerState {
    standing: Standing,
    intake: Intake,
    /// Why the previous observation was refused, if it was; a warning has been logged.
    refusal: Option<String>,
    /// The time at which the plant took the previous observation was not known, and a warning has been logged.
    is_undated: bool,
    /// Schema of the episode.
    schema: Arc<Schema>,
    /// The newest accepted observation of the episode, and when the plant took it, on the run's clock.
    newest: Option<(Duration, Arc<Observation>)>,
    sightings: ObservationSender,
    cameras: Cameras,
    views: Vec<View>,
}

/// What a policy's thread is handed.
pub struct View {
    /// Writer of observations for the policy's thread.
    pub writer: ObservationWriter,
    /// Whether the policy reads pictures, and so observations that are paired with frames.
    pub reads_pictures: bool,
}

impl PlantListener {
    /// Makes a listener that has heard nothing. Observation stamps and the measured pose go to `sightings`, stamps of the frames
    /// of these `cameras` to their sender; observations go to both policies' `views`.
    pub(crate) fn new(
        clock: Clock,
        health: Arc<Health>,
        wishes: Arc<CommandMailbox>,
        sightings: ObservationSender,
        (cameras, sender): (Vec<CameraSettings>, CameraSender),
        views: Vec<View>,
        standing: Standing,
    ) -> Self {
        Self {
            clock,
            health,
            wishes,
            instance: AtomicU64::new(0),
            session: AtomicU64::new(0),
            episode: AtomicU64::new(0),
            reset: AtomicU64::new(0),
            start: AtomicU64::new(0),
            malformed: AtomicU64::new(0),
            offset: Mutex::new(ClockOffset::default()),
            views: Mutex::new(ListenerState {
                standing,
                intake: Intake::default(),
                refusal: None,
                is_undated: false,
                schema: Arc::default(),
                newest: None,
                sightings,
                cameras: Cameras::new(cameras.clone(), sender),
                views,
            }),
            frames: FrameInbox::new(cameras.into_iter().map(|camera| camera.name).collect()),
            snapshot_recorder: Mutex::new(None),
            observation_recorder: OnceLock::new(),
        }
    }

    /// Handles a message. It is called on Zenoh's threads, which must not be blocked for long.
    pub fn hear(&self, heard: Heard) {
        let received = self.clock.now();
        match heard {
            Heard::Moved(moved) => self.moved(*moved, received),
            Heard::Frame(frame) => {
                if let Some(recorder) = self.observation_recorder.get()
                    && frame.session == self.session.load(Ordering::Acquire)
                {
                    recorder.frame(received, &frame);
                }
                self.frames.put(*frame, received);
            }
            Heard::Status(status) => self.status(&status, received),
            Heard::Operate(operate) => self.obey(operate.wish),
            Heard::Malformed(_) => {
                self.malformed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Passes an operator command on. A reset while the plant is lost is kept until [`takes_reset`](Self::takes_reset), and
    /// a start until [`takes_start`](Self::takes_start).
    pub fn obey(&self, wish: OperatorCommand) {
        match wish {
            OperatorCommand::EStop => self.wishes.e_stop(),
            OperatorCommand::Stop => self.wishes.stop(),
            OperatorCommand::Reset if self.holds() => self.wishes.reset(),
            OperatorCommand::Reset => {
                self.reset.store(self.wishes.interrupt() + 1, Ordering::Release);
            }
            OperatorCommand::Start => self.start.store(self.wishes.interruptions() + 1, Ordering::Release),
        }
    }

    /// Returns the number of this run's newest claim; 0 before the first.
    pub(crate) fn session(&self) -> u64 {
        self.session.load(Ordering::Acquire)
    }

    /// Returns whether this run still holds its newest claim.
    pub fn holds(&self) -> bool {
        !self.health.is_lost()
    }

    /// Returns the smallest recent round trip of heartbeats; `None` while the plant's clock is not known.
    pub fn round_trip(&self) -> Option<Duration> {
        self.health.round_trip()
    }

    /// Takes the reset that an operator sent while the plant was lost, and returns the number of interruptions at the moment
    /// it was sent. Returns `None` where no reset came since the last call, or where a stop or another reset has come since.
    pub fn takes_reset(&self) -> Option<u64> {
        let as_of = self.reset.swap(0, Ordering::AcqRel).checked_sub(1)?;
        (as_of == self.wishes.interruptions()).then_some(as_of)
    }

    /// Takes the waiting start and returns the number of interruptions at the moment it was sent. Returns `None` where no
    /// start came since the last call, or where a stop or a reset has come since the start.
    pub fn takes_start(&self) -> Option<u64> {
        let as_of = self.start.swap(0, Ordering::AcqRel).checked_sub(1)?;
        (as_of == self.wishes.interruptions()).then_some(as_of)
    }

    /// Returns the newest observation that a policy may read, and when the plant took it, on the run's clock; `None` before
    /// the first observation of the episode.
    pub fn newest(&self) -> Option<(Duration, Arc<Observation>)> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner).newest.clone()
    }

    /// Decodes the next camera frame and hands it on; waits for one at most `timeout`. Called on a thread of its own.
    pub fn take_frame(&self, timeout: Duration) {
        let Some(arrived) = self.frames.next(timeout) else { return };
        if arrived.frame.session != self.session.load(Ordering::Acquire) {
            return;
        }
        let arrival = FrameArrival::from(&arrived);
        let decoded = arrived.frame.decoded().map(DecodedFrame::from);
        let mut offset = self.offset.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = offset.taken(arrival.stamp_ns, arrival.received);
        drop(offset);
        let episode = self.episode.load(Ordering::Acquire);
        let mut shown = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        let paired = shown.cameras.take(&arrival, decoded, taken, episode);
        shown.show_paired(episode, paired);
    }

    /// Returns which cameras have delivered no frame that a policy may read in this episode, in words; `None` where all have.
    pub fn missing_frames(&self) -> Option<String> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner).cameras.missing()
    }

    /// Returns why the previous observation was refused, in words; `None` where a policy may read it.
    pub fn refusal(&self) -> Option<String> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner).refusal.clone()
    }

    /// Passes observations to the snapshot recorder too, from here on.
    pub fn look(&self, snapshot_recorder: SnapshotRecorder) {
        *self.snapshot_recorder.lock().unwrap_or_else(PoisonError::into_inner) = Some(snapshot_recorder);
    }

    /// Passes observations that a policy may read, and every frame, to this recorder too, from here on. Only the first call counts.
    pub(crate) fn save_observations(&self, recorder: ObservationRecorder) {
        let _ = self.observation_recorder.set(recorder);
    }

    /// Returns whether observations and frames are saved.
    pub fn saves_observations(&self) -> bool {
        self.observation_recorder.get().is_some()
    }

    /// Returns the number of messages that could not be decoded.
    pub fn malformed(&self) -> u64 {
        self.malformed.load(Ordering::Relaxed)
    }

    /// Records a new claim and forgets what was known of the plant's clock.
    pub fn claimed(&self, instance: u64, session: u64) {
        // The lock is held until the end, so that no heartbeat of the previous claim counts for this one.
        let mut offset = self.offset.lock().unwrap_or_else(PoisonError::into_inner);
        *offset = ClockOffset::default();
        self.instance.store(instance, Ordering::Release);
        self.session.store(session, Ordering::Release);
        self.health.find(self.clock);
    }

    /// Begins an episode with its first observation, which the plant took at `stamp_ns` of the plant's clock.
    pub fn begin(&self, episode: u64, stamp_ns: u64, observation: Observation) {
        let received = self.clock.now();
        // The lock is held, so that no heartbeat about the previous episode stops this one.
        let offset = self.offset.lock().unwrap_or_else(PoisonError::into_inner);
        self.episode.store(episode, Ordering::Release);
        self.health.resume();
        drop(offset);
        let mut shown = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        shown.intake.begin(episode);
        shown.schema = Arc::clone(&observation.schema);
        shown.cameras.begin(&observation.schema);
        (shown.newest, shown.refusal) = (None, None);
        // Before an observation of the episode can be saved by another thread.
        if let Some(recorder) = self.observation_recorder.get() {
            recorder.begin(episode, &observation);
        }
        drop(shown);
        self.show((received, stamp_ns), episode, 0, false, observation);
    }

    fn status(&self, status: &Status, received: Duration) {
        let mut offset = self.offset.lock().unwrap_or_else(PoisonError::into_inner);
        let known = (self.instance.load(Ordering::Acquire), self.session.load(Ordering::Acquire));
        if known.0 == 0 {
            return; // No plant has been claimed yet, so none can be lost.
        }
        if status.instance != known.0 {
            return self.health.lose();
        }
        // The plant is not claimed, or claimed by another controller: this claim has expired.
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
        if moved.session != self.session.load(Ordering::Acquire) {
            return;
        }
        let Moved { episode, sequence, stamp_ns, success, .. } = moved;
        let shown = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        let schema = Arc::clone(&shown.schema);
        drop(shown);
        match moved.observation.at(sequence, &schema) {
            Ok(observation) => {
                let mut recorder = self.snapshot_recorder.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(recorder) = &mut *recorder {
                    recorder.take(received, episode, &observation, moved.state);
                }
                drop(recorder);
                self.show((received, stamp_ns), episode, sequence, success, observation);
            }
            Err(error) => {
                self.malformed.fetch_add(1, Ordering::Relaxed);
                // Of another episode, it may have another schema.
                if episode != self.episode.load(Ordering::Acquire) {
                    return;
                }
                let mut shown = self.views.lock().unwrap_or_else(PoisonError::into_inner);
                shown.refuse(sequence, error.to_string());
            }
        }
    }

    /// Passes on an observation that arrived at `received`, on the run's clock, and that the plant stamped with `stamp_ns`,
    /// on the plant's clock. The control thread gets its stamp; the policies get its content if it is accepted.
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
        let pictures = content.digest;
        let mut shown = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        // An observation of unknown age counts as old as possible.
        let taken = known.unwrap_or(Duration::ZERO);
        if known.is_none() && !shown.is_undated {
            tracing::warn!(
                "the age of observation {sequence} is not known: the plant echoes no heartbeat, or its clock was set forward"
            );
        }
        shown.is_undated = known.is_none();
        let taken_in = shown.intake.take(episode, sequence, observation.plant_time, content);
        let accepted = taken_in.is_ok();
        let (mut fault, mut measured) = (None, None);
        match taken_in {
            Ok(()) => {
                measured = (shown.standing)(&observation);
                let observation = Arc::new(observation);
                if let Some(recorder) = self.observation_recorder.get() {
                    recorder.observe(received, episode, stamp_ns, &observation);
                }
                for view in shown.views.iter_mut().filter(|view| !view.reads_pictures) {
                    let observation = Arc::clone(&observation);
                    view.writer.show(Snapshot { episode, sequence, observation, taken });
                }
                // What has no known time is paired with nothing.
                let paired =
                    known.and_then(|taken| shown.cameras.observe(episode, sequence, taken, &observation));
                shown.show_paired(episode, paired);
                shown.newest = Some((taken, observation));
                shown.refusal = None;
            }
            // The control thread detects these by episode and sequence number, and counts them.
            Err(Refusal::Foreign | Refusal::NotNewer) => {}
            Err(Refusal::Content(found, feature)) => {
                fault = Some(found);
                shown.refuse(sequence, in_words(found, &feature, &observation));
            }
        }
        let taken = Some(taken);
        let seen =
            ObservationStamp { episode, sequence, arrived: 1, received, pictures, success, fault, taken };
        shown.sightings.push(seen, measured.as_deref(), accepted);
    }
}

impl ListenerState {
    /// Hands an observation with its frames to the policies that read pictures.
    fn show_paired(&mut self, episode: u64, paired: Option<PairedObservation>) {
        let Some(PairedObservation { sequence, observation, taken }) = paired else { return };
        for view in self.views.iter_mut().filter(|view| view.reads_pictures) {
            view.writer.show(Snapshot { episode, sequence, observation: Arc::clone(&observation), taken });
        }
    }

    /// Keeps why an observation is refused, and warns of the first of several.
    fn refuse(&mut self, sequence: u32, reason: String) {
        let refusal = format!("observation {sequence} is refused: {reason}");
        if self.refusal.is_none() {
            tracing::warn!("{refusal}");
        }
        self.refusal = Some(refusal);
    }
}

/// Returns why the content of an observation is refused: the feature, its component, what was found, what would be valid, and
/// where to look.
fn in_words(fault: ContentFault, feature: &str, observation: &Observation) -> String {
    let schema = &observation.schema;
    let values = schema.range(feature).and_then(|range| observation.values.get(range)).unwrap_or_default();
    // Written so that NaN is found.
    let wrong = values.iter().enumerate().find(|(_, value)| {
        let is_plausible = value.abs() <= LARGEST;
        !is_plausible
    });
    match (fault, wrong) {
        (ContentFault::NotFinite | ContentFault::OutOfBounds, Some((index, value))) => {
            let names = schema.feature(feature).map_or(&[][..], |feature| &feature.names);
            let name = names.get(index).map_or(String::new(), |name| format!(" ({name})"));
            format!(
                "{feature}[{index}]{name}: found {value}; valid are finite numbers, at most {LARGEST:e} in size: look at this sensor \
                 and at what the plant's server makes of it"
            )
        }
        _ => format!(
            "{feature}: found {}; valid is a finite time, later than that of the observation before: look at the clock, or the \
             count of steps, of the plant's server",
            observation.plant_time
        ),
    }
}

/// Returns the digest and the plausibility of everything that a policy can read of an observation, by feature.
fn content(observation: &Observation) -> Content {
    let ranges = observation.schema.ranges();
    Content::of(ranges.filter_map(|(feature, range)| Some((&*feature.name, observation.values.get(range)?))))
}

#[cfg(test)]
mod tests {
    use aegis_core::Feature;

    use super::*;

    #[test]
    fn a_refused_observation_is_told_by_feature_component_and_value() {
        let features = vec![
            Feature::vector("gripper", &["left"], "m"),
            Feature::vector("joint_positions", &["shoulder", "elbow"], "rad"),
        ];
        let mut seen = Observation::of(&[("any", &[0.0])]).unwrap();
        (seen.schema, seen.values) =
            (Arc::new(Schema::new(features, Vec::new()).unwrap()), vec![0.0, 0.1, f64::NAN]);
        let said = in_words(ContentFault::NotFinite, "joint_positions", &seen);
        assert!(
            said.starts_with("joint_positions[1] (elbow): found NaN; valid are finite numbers"),
            "{said}"
        );
        seen.values[1] = -1e30;
        let said = in_words(ContentFault::OutOfBounds, "joint_positions", &seen);
        assert!(said.contains("joint_positions[0] (shoulder): found -1") && said.contains("1e6"), "{said}");
        seen.plant_time = -2.0;
        let said = in_words(ContentFault::TimeBackward, "plant_time", &seen);
        assert!(said.starts_with("plant_time: found -2; valid is a finite time, later than"), "{said}");
    }
}
