//! A ROS 2 robot as a plant: joint states in, commands out, and stops that joint states confirm.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aegis_core::{Observation, Plant, PlantError, Schema, Standstill, Start, Transition};
use aegis_link::LinkError;

use crate::command::Commander;
use crate::file::{CommandKind, RosFile};
use crate::graph::Graph;
use crate::joints::{Reading, Rest, reading};
use crate::message::{JointState, decode_bool};
use crate::names::{Kind, Qos, Topic};
use crate::node::{Arrived, Node, RosPublisher, Subscription, TriggerClient, locked};
use crate::refusals::Refusals;
use crate::schema::schema;
use crate::stream::{Admitted, Stream};
use crate::types::RosType;

/// Number of joint states that may wait: those of a control period at 1 Hz of a robot that measures at 1 kHz.
const STATES: usize = 1024;
/// Largest size of a message of joint states, bytes.
const STATE_SIZE: usize = 1 << 16;
/// Largest wait between two looks at a robot that comes to rest.
const INTERVAL: Duration = Duration::from_millis(20);
/// Longest wait at the start for the robot's nodes to be announced.
const DISCOVERY: Duration = Duration::from_secs(5);

/// Topics of a robot, as its file names them.
#[derive(Clone, Debug)]
struct Topics {
    states: Topic,
    commands: Topic,
    success: Option<Topic>,
    reset: Option<Topic>,
}

/// Whether a robot moves by a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Driven {
    /// No command was sent, or a stop was confirmed since.
    No,
    /// No command was sent, and that of an earlier process may still move the robot.
    Perhaps,
    /// A command was sent, and no stop has been confirmed since.
    Yes,
}

impl Driven {
    /// Returns the state of a robot of which nothing is known. Velocities go on where they cease, and zero may always be sent; an arm
    /// comes to its last point, and a hold can move it.
    fn at_start(kind: CommandKind) -> Self {
        if kind.is_position() { Self::No } else { Self::Perhaps }
    }
}

/// A ROS 2 robot as a plant.
pub struct RosPlant {
    file: RosFile,
    schema: Arc<Schema>,
    topics: Topics,
    graph: Arc<Mutex<Graph>>,
    states: Subscription,
    stream: Stream,
    refusals: Refusals,
    publisher: RosPublisher,
    commander: Commander,
    success: Option<(Subscription, Refusals)>,
    client: Option<TriggerClient>,
    rest: Rest,
    latest: Option<Reading>,
    /// Age of the newest observation's joint states when its call began.
    age: Duration,
    /// Why no command is passed on before the next reset.
    fault: Option<String>,
    driven: Driven,
    /// Whether it was said that the joints move by nothing that this program has sent.
    is_told: bool,
    /// Whether a stop was sent that is not confirmed.
    is_stopping: bool,
    task: usize,
    periods: u32,
    is_met: bool,
    warn: Box<dyn FnMut(&str)>,
    clock: Instant,
}

impl RosPlant {
    /// Declares the topics of a robot on its node. `clock` is the origin of times; `warn` is called with refusals of messages, each
    /// kind at most once a second.
    ///
    /// # Errors
    /// Errors that Zenoh reports, and features that no plant can announce.
    pub fn new(
        file: RosFile,
        node: &mut Node,
        clock: Instant,
        warn: impl FnMut(&str) + 'static,
    ) -> Result<Self, LinkError> {
        let name = file.node_name();
        let topics = Topics {
            states: name.topic(&file.joint_states.topic, RosType::JointState),
            commands: name.topic(&file.commands.topic, file.commands.kind.message()),
            success: file.success.as_ref().map(|success| name.topic(&success.topic, RosType::Bool)),
            reset: file.reset.as_ref().map(|reset| name.topic(&reset.service, RosType::Trigger)),
        };
        let schema = schema(&file).map_err(|error| LinkError::Zenoh(error.to_string()))?;
        let states = node.subscribe(&topics.states, Qos::SensorData(STATES as u32), (STATES, STATE_SIZE))?;
        let success = topics.success.as_ref().map(|topic| node.subscribe(topic, Qos::Reliable(10), (64, 64)));
        let success = success.transpose()?.map(|success| (success, Refusals::default()));
        let client = topics.reset.as_ref().map(|topic| node.client(topic)).transpose()?;
        let (kind, channels) = (file.commands.kind, file.commands.channels.clone());
        let rest = Rest::new(file.rest.within, Duration::from_millis(file.rest.lasting_ms));
        Ok(Self {
            schema: Arc::new(schema),
            graph: node.graph(),
            states,
            stream: Stream::new(file.joint_states.stamps),
            refusals: Refusals::default(),
            publisher: node.publisher(&topics.commands)?,
            commander: Commander::new(kind, channels, file.period(), file.reach()),
            success,
            client,
            rest,
            latest: None,
            age: Duration::ZERO,
            fault: None,
            driven: Driven::at_start(kind),
            is_told: false,
            is_stopping: false,
            task: 0,
            periods: 0,
            is_met: false,
            warn: Box::new(warn),
            clock,
            topics,
            file,
        })
    }

    /// Waits for the robot's nodes to be announced, for some seconds. Returns what is still missing, which may come later.
    ///
    /// # Errors
    /// A topic that has another type than the file says: both types with their hashes.
    pub fn discover(&self) -> Result<Option<String>, String> {
        let begin = Instant::now();
        loop {
            let graph = locked(&self.graph);
            let missing = graph.source(&self.topics.states).and_then(|()| graph.sink(&self.topics.commands));
            let mut typed =
                vec![(&self.topics.states, Kind::Publisher), (&self.topics.commands, Kind::Subscription)];
            typed.extend(self.topics.success.iter().map(|topic| (topic, Kind::Publisher)));
            typed.extend(self.topics.reset.iter().map(|topic| (topic, Kind::Service)));
            let mismatch = typed.into_iter().find_map(|(topic, kind)| graph.mismatch(topic, kind));
            drop(graph);
            match (missing, mismatch) {
                (Ok(()), None) => return Ok(None),
                (Err(missing), None) if begin.elapsed() > DISCOVERY => return Ok(Some(missing)),
                (_, Some(mismatch)) if begin.elapsed() > DISCOVERY => return Err(mismatch),
                _ => std::thread::sleep(INTERVAL),
            }
            // Nobody drives yet: what has come is of no use, and refused nothing.
            drop(self.states.take());
        }
    }

    /// Returns when the newest observation's joint states were measured, on the process's clock.
    pub fn taken(&self) -> Option<Duration> {
        self.latest.as_ref().map(|latest| latest.taken)
    }

    /// Takes the messages that have come while nobody drives the robot, and warns once if its joints move by what an earlier process
    /// has sent.
    pub fn idle(&mut self) {
        self.read();
        if self.driven == Driven::Perhaps && !self.is_stopping && !self.is_told && self.rest.has_moved() {
            self.is_told = true;
            (self.warn)(
                "its joints move, by no command of this program; a watchdog's stop, a reset and the end of this program send it zeros",
            );
        }
    }

    /// Takes every message that has arrived.
    fn read(&mut self) {
        let (messages, dropped) = self.states.take();
        if dropped > 0 {
            self.refusals.add(dropped, "more of them came than are taken, or larger ones".into());
        }
        for message in messages {
            match self.reading(&message) {
                Ok(reading) => {
                    self.rest.read(&reading);
                    self.latest = Some(reading);
                    self.refusals.end();
                }
                Err(reason) => self.refusals.add(1, reason),
            }
        }
        let now = self.clock.elapsed();
        let mut warnings = vec![self.refusals.warning(&self.topics.states.name, now)];
        if let (Some((success, refusals)), Some(topic)) = (&mut self.success, &self.topics.success) {
            for message in success.take().0 {
                match decode_bool(&message.payload) {
                    // Once the goal was met it stays so: an operator's pulse is enough.
                    Ok(met) => self.is_met |= met,
                    Err(error) => refusals.add(1, error.to_string()),
                }
            }
            warnings.push(refusals.warning(&topic.name, now));
        }
        warnings.into_iter().flatten().for_each(|warning| (self.warn)(&warning));
    }

    /// Takes the joints out of a message, if it counts.
    fn reading(&mut self, message: &Arrived) -> Result<Reading, String> {
        let attachment = message.attachment.as_ref().map_err(Clone::clone)?;
        let state = JointState::decode(&message.payload).map_err(|error| error.to_string())?;
        let at = message.at.saturating_duration_since(self.clock);
        let mut admitted = self.stream.admit(attachment, state.stamp_ns, at);
        if admitted == Admitted::Stranger {
            locked(&self.graph).source(&self.topics.states)?;
            // The one that published before is gone: its node was started anew, or another one in its place.
            self.fault = Some(format!(
                "topic {}: its publisher was replaced by another process; reset first",
                self.topics.states.name
            ));
            // A hold of the robot that was there before would move the one that is there now.
            self.commander.begin();
            self.rest.begin();
            self.stream.restart();
            admitted = self.stream.admit(attachment, state.stamp_ns, at);
        }
        let joints = &self.file.joint_states;
        match admitted {
            Admitted::New(taken) => reading(&state, &joints.names, joints.velocities, taken),
            Admitted::Old(reason) => Err(reason.into()),
            Admitted::Stranger => Err("it is of another publisher".into()),
        }
    }

    /// Checks that a command may be passed on: the topics are as the file says, and the robot's joints are known.
    fn allow(&self) -> Result<&Reading, String> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let graph = locked(&self.graph);
        graph.source(&self.topics.states)?;
        graph.sink(&self.topics.commands)?;
        drop(graph);
        self.young()
    }

    /// Returns why the newest message of joint states was refused, as the end of a sentence; empty where it was taken.
    fn because(&self) -> String {
        self.refusals.last().map_or(String::new(), |last| format!("; the last message was refused: {last}"))
    }

    /// Returns the newest joint states, unless they are older than the file allows.
    fn young(&self) -> Result<&Reading, String> {
        let (topic, most_ms) = (&self.topics.states.name, self.file.joint_states.max_age_ms);
        let because = self.because();
        let Some(latest) = &self.latest else {
            return Err(format!("topic {topic}: no joint states have come{because}"));
        };
        let age_ms = self.clock.elapsed().saturating_sub(latest.taken).as_millis();
        if age_ms > u128::from(most_ms) {
            return Err(format!(
                "topic {topic}: joint states are {age_ms} ms old; valid is at most {most_ms}{because}"
            ));
        }
        Ok(latest)
    }

    /// Returns the position of each channel's joint, where the channels are positions.
    fn measured(&self, latest: &Reading) -> Vec<f64> {
        let names = &self.file.joint_states.names;
        let place = |name: &str| names.iter().position(|found| found == name);
        let channels = self.file.commands.channels.iter();
        match self.file.commands.kind {
            CommandKind::Trajectory => channels
                .filter_map(|channel| place(&channel.name).map(|place| latest.positions[place]))
                .collect(),
            CommandKind::Velocity | CommandKind::Twist | CommandKind::TwistStamped => Vec::new(),
        }
    }

    /// Sends what stops the robot. Returns whether its joints are at rest since the stop began.
    fn stop(&mut self) -> Result<bool, PlantError> {
        if !std::mem::replace(&mut self.is_stopping, true) {
            self.rest.begin();
        }
        if self.file.commands.kind.is_position()
            && !locked(&self.graph).has(&self.topics.states, Kind::Publisher)
        {
            // No robot is there to be held, and the next one may stand elsewhere.
            self.commander.begin();
            self.rest.begin();
            self.latest = None;
            return Ok(false);
        }
        let measured = self.young().ok().map(|latest| self.measured(latest));
        if let Some(message) = self.commander.stop(measured.as_deref()) {
            self.publisher.put(message).map_err(|error| PlantError::Backend(error.to_string()))?;
        }
        let is_at_rest = self.rest.is_reached();
        if is_at_rest {
            (self.driven, self.is_stopping) = (Driven::No, false);
        }
        Ok(is_at_rest)
    }

    /// Waits until the joints are at rest, for as long as the file says; sends a stop again meanwhile if the robot is driven.
    fn await_rest(&mut self) -> Result<(), PlantError> {
        let wait = Duration::from_millis(self.file.rest.wait_ms);
        let begin = Instant::now();
        self.rest.begin();
        loop {
            self.read();
            let is_at_rest = match self.driven {
                Driven::No => self.rest.is_reached(),
                Driven::Perhaps | Driven::Yes => self.stop()?,
            };
            if is_at_rest {
                return Ok(());
            }
            if begin.elapsed() > wait {
                let known = self.allow().map(|_| ()).err();
                let (within, ms) = (self.file.rest.within, self.file.rest.lasting_ms);
                let moves =
                    format!("its joints have not stayed within {within} for {ms} ms{}", self.because());
                let reason = known.unwrap_or(moves);
                return Err(PlantError::Backend(format!("no rest within {} ms: {reason}", wait.as_millis())));
            }
            self.states.wait(INTERVAL);
        }
    }

    /// Returns what is known of the robot, for a call that began at `begin`.
    fn observation(&mut self, begin: Duration) -> Result<Observation, PlantError> {
        let Some(latest) = &self.latest else {
            let reason = self.refusals.last().unwrap_or("none has come");
            return Err(PlantError::Backend(format!("topic {}: {reason}", self.topics.states.name)));
        };
        self.age = begin.saturating_sub(latest.taken);
        Ok(Observation {
            step: self.periods,
            plant_time: f64::from(self.periods) / self.file.rate_hz,
            task: self.task,
            instruction: self.file.tasks[self.task].as_str().into(),
            schema: Arc::clone(&self.schema),
            values: latest.positions.iter().chain(&latest.velocities).copied().collect(),
            frames: [].into(),
        })
    }

    fn transition(&mut self, begin: Duration) -> Result<Transition, PlantError> {
        self.periods = self.periods.saturating_add(1);
        Ok(Transition { observation: self.observation(begin)?, success: self.is_met })
    }
}

impl Plant for RosPlant {
    /// Begins an episode with the robot at rest where it stands; calls the service that prepares one, if there is one.
    fn reset(&mut self, start: Start) -> Result<Observation, PlantError> {
        let last = self.file.tasks.len() - 1;
        if start.task > last {
            return Err(PlantError::UnknownTask { found: start.task, last });
        }
        // The clock of the robot may have been set, and one wrong stamp must not refuse all that follow. What waits came before.
        self.read();
        self.stream.forget_stamps();
        if self.driven != Driven::No {
            self.await_rest()?;
        }
        if let (Some(client), Some(reset), Some(topic)) =
            (&mut self.client, &self.file.reset, &self.topics.reset)
        {
            let refused = |reason: String| PlantError::Backend(format!("service {}: {reason}", topic.name));
            locked(&self.graph).service(topic).map_err(PlantError::Backend)?;
            let answer = client.call(Duration::from_millis(reset.wait_ms)).map_err(refused)?;
            if !answer.success {
                return Err(refused(format!("it says that it has not worked: {}", answer.message)));
            }
        }
        // What came meanwhile is of before the episode, and nobody has taken it.
        drop(self.states.take());
        (self.fault, self.is_stopping) = (None, false);
        self.stream.restart();
        self.commander.begin();
        self.await_rest()?;
        let measured = self.measured(self.allow().map_err(PlantError::Backend)?);
        self.commander.check_pose(&measured).map_err(PlantError::Backend)?;
        (self.task, self.periods, self.is_met) = (start.task, 0, false);
        self.observation(self.clock.elapsed())
    }

    fn step(&mut self, action: &[f32]) -> Result<Transition, PlantError> {
        let begin = self.clock.elapsed();
        self.read();
        let measured = {
            let latest = self.allow().map_err(PlantError::Backend)?;
            self.measured(latest)
        };
        let message = self.commander.command(action, &measured).map_err(PlantError::Backend)?;
        // A message that fails half-way may have moved the robot.
        (self.driven, self.is_stopping) = (Driven::Yes, false);
        self.publisher.put(message).map_err(|error| PlantError::Backend(error.to_string()))?;
        self.transition(begin)
    }

    fn stand(&mut self, standstill: Standstill) -> Option<Result<Transition, PlantError>> {
        let begin = self.clock.elapsed();
        self.read();
        if standstill == Standstill::Stopping && self.driven != Driven::No {
            if self.driven == Driven::Perhaps
                && !locked(&self.graph).has(&self.topics.commands, Kind::Subscription)
            {
                // No controller is there that an earlier process could have left in motion.
                return None;
            }
            match self.stop() {
                Ok(true) => {}
                Ok(false) => {
                    let reason = match self.allow() {
                        Ok(_) => "the robot is stopping, and its joints still move; it is told to stop again"
                            .into(),
                        Err(reason) => {
                            format!("the robot is not known to stand: {reason}; it is told to stop again")
                        }
                    };
                    return Some(Err(PlantError::Backend(reason)));
                }
                Err(error) => return Some(Err(error)),
            }
        }
        Some(self.transition(begin))
    }

    fn age(&self) -> Duration {
        self.age
    }

    fn state(&self, _out: &mut Vec<f64>) {}
}
